"""`onhook subscribe`: who is told when a call ends; it counts at once, also in a running server."""

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
import typer

from onhook.appdb.appdb import AppDb
from onhook.appdb.deliveries import DeliveryState
from onhook.appdb.destination_spec import DestinationSpec, NotifiesOf
from onhook.appdb.destinations import Destination
from onhook.cdr.record_filter import RecordFilter, parse_filter
from onhook.cdr.utc_offset import get_zone
from onhook.cli.addresses import warn_about_private_address
from onhook.cli.destination_options import with_destination_change_options, with_destination_options
from onhook.cli.formats import UNKNOWN, format_local_time, print_table, replace_control_characters
from onhook.cli.log_follow import follow_pending
from onhook.cli.open_appdb import open_appdb
from onhook.cli.options import LIMIT_DEFAULT, DataOption, ZoneOption, load_config, with_filters
from onhook.cli.pbx_card import describe_destination
from onhook.cli.pbx_secrets import SecretFileOption, SecretOption, read_webhook_secret
from onhook.cli.server_lookup import Row, open_data_client
from onhook.config import Config
from onhook.delivery.destinations.registry import destination_kinds
from onhook.delivery.dispatcher import send_test_by_name
from onhook.delivery.issues import count_phrase
from onhook.delivery.status import DestinationTestResult
from onhook.lib.clock import SystemClock
from onhook.lib.errors import NotFound, UsageError
from onhook.runtime.data_files import read_last_seq

app = typer.Typer(
    add_completion=False,
    help="Say which applications are told when a call ends.",
    epilog="Example: onhook subscribe list",
)
secret_app = typer.Typer(
    add_completion=False,
    help="Change the secrets that a subscription is signed with.",
    epilog="Example: onhook subscribe secret add CRM",
)
app.add_typer(secret_app, name="secret")

DELIVERY_ID_MAX = 2**63 - 1
"""No file counts further."""

DestinationName = Annotated[str, typer.Argument(metavar="NAME", help="Name of the subscription.")]
DeliveryNumber = Annotated[
    int, typer.Argument(metavar="NUMBER", min=1, max=DELIVERY_ID_MAX, help="Number of the delivery.")
]
TableOrJsonFormat = Annotated[Literal["table", "json"], typer.Option("--format", help="How to show it.")]


@app.command("add", epilog="Example: onhook subscribe add CRM --url https://crm.example.com/calls --since 7d")
@with_filters
@with_destination_options
def add(
    where: Mapping[str, str],
    wishes: Mapping[str, Any],
    name: Annotated[str, typer.Argument(metavar="NAME", help="What people call it.")],
    *,
    url: Annotated[str, typer.Option("--url", metavar="URL", help="Its webhook.")],
    about: Annotated[NotifiesOf, typer.Option("--about", help="What it is told of.")] = "calls",
    secret: SecretOption = None,
    secret_file: SecretFileOption = None,
    zone: ZoneOption = None,
    data: DataOption = None,
) -> None:
    """Tell an application when a call ends: from now on, or from the first call that --since means."""
    config = load_config(data=data, zone=zone)
    secret_value = read_webhook_secret(secret, secret_file)
    spec = DestinationSpec(url=url, about=about, where=_parse_filters(config, where), **wishes)
    with open_appdb(data, makes=True) as appdb:
        after = None if "since" in where else asyncio.run(read_last_seq(config))
        destination, signing_secret = appdb.subscriptions.add(
            name, spec, secret_value, after=after, at=SystemClock().microseconds()
        )
    start_text = (
        "of alarms from now" if about == "alarms" else "from the first call since then" if after is None else "from now"
    )
    print(f"{destination.name} is told {start_text} on.")
    warn_about_private_address(config, destination)
    if secret_value is None:
        print(f"Its secret, shown this once: {signing_secret}")
    if after is None:
        asyncio.run(follow_pending(config, destination.name))


@app.command("list", epilog="Example: onhook subscribe list")
def list_destinations(form: TableOrJsonFormat = "table", zone: ZoneOption = None, data: DataOption = None) -> None:
    """Show all subscriptions, and what is owed to each."""
    config = load_config(data=data, zone=zone)
    rows = asyncio.run(_read_destinations(config))
    if form == "json":
        print(msgspec.json.format(msgspec.json.encode(rows), indent=2).decode())
        return
    headings = ("name", "state", "owed", "parked", "delivered", "failed", "oldest owed", "url")
    print_table([_format_row(row, config) for row in rows], headings)
    for issue in (issue for row in rows for issue in row["plights"]):
        print(replace_control_characters(f"{issue['what']}: {issue['todo']}"))


@app.command("show", epilog="Example: onhook subscribe show CRM")
def show(
    name: DestinationName, form: TableOrJsonFormat = "table", zone: ZoneOption = None, data: DataOption = None
) -> None:
    """Show one subscription: what it asked for, and how it stands."""
    config = load_config(data=data, zone=zone)
    with open_appdb(data) as appdb:
        destination = appdb.subscriptions.get(name)
        secrets = appdb.subscriptions.secrets(name)
    row = asyncio.run(_read_destination(config, destination.name))
    if form == "json":
        print(msgspec.json.format(msgspec.json.encode(row), indent=2).decode())
        return
    for key, value in describe_destination(row, secrets, get_zone(config.zone)):
        print(f"{key:24}{replace_control_characters(value)}")


@app.command("change", epilog="Example: onhook subscribe change CRM --status '!ANSWERED' --timeout 10")
@with_filters
@with_destination_change_options
def change(
    where: Mapping[str, str],
    wishes: Mapping[str, Any],
    name: DestinationName,
    *,
    new_name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Another name.", show_default=False)
    ] = None,
    url: Annotated[
        str | None, typer.Option("--url", metavar="URL", help="Another webhook.", show_default=False)
    ] = None,
    every_call: Annotated[bool, typer.Option("--every-call", help="Take its filters away.")] = False,
    zone: ZoneOption = None,
    data: DataOption = None,
) -> None:
    """Change what a subscription asked for; it goes on where it is. Filters that are given replace all it had."""
    config = load_config(data=data, zone=zone)
    changes = {**wishes, **{key: value for key, value in (("name", new_name), ("url", url)) if value is not None}}
    if where or every_call:
        changes["where"] = _parse_filters(config, where)
    if not changes:
        raise UsageError("nothing is to be changed", todo="give another URL, filter or name")
    with open_appdb(data) as appdb:
        destination = appdb.subscriptions.change(name, changes)
    print(f"{destination.name} is changed.")
    warn_about_private_address(config, destination)


@app.command("pause", epilog="Example: onhook subscribe pause CRM")
def pause(name: DestinationName, data: DataOption = None) -> None:
    """Send nothing for now; what is owed is kept."""
    with open_appdb(data) as appdb:
        print(f"{appdb.subscriptions.set_state(name, 'paused').name} is paused: what is owed is kept.")


@app.command("resume", epilog="Example: onhook subscribe resume CRM")
def resume(name: DestinationName, data: DataOption = None) -> None:
    """Go on after a pause, or after it was disabled."""
    with open_appdb(data) as appdb:
        print(f"{appdb.subscriptions.set_state(name, 'active').name} goes on.")


@app.command("remove", epilog="Example: onhook subscribe remove CRM")
def remove(name: DestinationName, data: DataOption = None) -> None:
    """Tell an application no more, and forget what is owed to it."""
    with open_appdb(data) as appdb:
        print(f"{appdb.subscriptions.remove(name).name} is told no more.")


@app.command("test", epilog="Example: onhook subscribe test CRM")
def send_test(name: DestinationName, data: DataOption = None) -> None:
    """Send a signed test now, and show what was answered. Fails when it was not taken."""
    config = load_config(data=data)
    with open_appdb(data) as appdb:
        result: DestinationTestResult = asyncio.run(
            send_test_by_name(appdb, destination_kinds(config), SystemClock(), name)
        )
    print(f"{name} {replace_control_characters(result.said)} after {result.milliseconds} ms.")
    if result.body:
        print(replace_control_characters(result.body))
    raise typer.Exit(not result.is_taken)


@app.command("replay", epilog="Example: onhook subscribe replay CRM --since yesterday --until today")
@with_filters
def replay(
    where: Mapping[str, str], name: DestinationName, *, zone: ZoneOption = None, data: DataOption = None
) -> None:
    """Send again what matches, beside what is new. --since is needed."""
    config = load_config(data=data, zone=zone)
    print(f"{count_phrase(asyncio.run(_replay(config, name, where)), 'record')} sent again to {name}.")
    asyncio.run(follow_pending(config, name))


@app.command("retry", epilog="Example: onhook subscribe retry CRM")
def retry(
    name: DestinationName,
    *,
    delivery: Annotated[
        int | None, typer.Option("--delivery", metavar="NUMBER", help="Only this one.", show_default=False)
    ] = None,
    data: DataOption = None,
) -> None:
    """Try all that waits or is parked, now."""
    with open_appdb(data) as appdb:
        destination, now_us = appdb.subscriptions.get(name), SystemClock().microseconds()
        if delivery is None:
            print(
                count_phrase(appdb.deliveries.retry_all(destination.subscription_id, at=now_us), "event")
                + " tried again now."
            )
        else:
            appdb.deliveries.retry(_require_own_delivery(destination, appdb, delivery), at=now_us)
            print(f"Delivery {delivery} is tried again now.")


@app.command("deliveries", epilog="Example: onhook subscribe deliveries CRM --state parked")
def deliveries(
    name: DestinationName,
    *,
    in_state: Annotated[
        DeliveryState | None, typer.Option("--state", help="Only those in this state.", show_default="all")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="How many at most.")] = LIMIT_DEFAULT,
    zone: ZoneOption = None,
    data: DataOption = None,
) -> None:
    """Show events that did not go through at once: those that wait, are parked, or went through in the end."""
    reader_zone = get_zone(load_config(data=data, zone=zone).zone)
    with open_appdb(data) as appdb:
        page = appdb.deliveries.page(appdb.subscriptions.get(name).subscription_id, in_state, limit)
    rows = [
        [
            str(listed_delivery.delivery_id),
            listed_delivery.state,
            listed_delivery.call_id,
            str(listed_delivery.seq),
            str(listed_delivery.attempts),
            format_local_time(listed_delivery.owed_at.isoformat(), reader_zone),
            format_local_time(listed_delivery.due_at.isoformat(), reader_zone) if listed_delivery.due_at else UNKNOWN,
        ]
        for listed_delivery in page
    ]  # fmt: skip
    print_table(rows, ("delivery", "state", "call id", "seq", "attempts", "owed since", "next try"))


@app.command("delivery", epilog="Example: onhook subscribe delivery 17")
def delivery(number: DeliveryNumber, zone: ZoneOption = None, data: DataOption = None) -> None:
    """Show the attempts of one of them, and the event as it is sent."""
    reader_zone = get_zone(load_config(data=data, zone=zone).zone)
    with open_appdb(data) as appdb:
        stored_delivery, body = appdb.deliveries.get(number), appdb.deliveries.body(number)
        attempts = appdb.deliveries.attempts(number)
    print(
        f"{stored_delivery.state}, call {replace_control_characters(stored_delivery.call_id)},"
        f" report {stored_delivery.seq}"
    )
    rows = [
        [
            format_local_time(attempt.at.isoformat(), reader_zone),
            f"{attempt.milliseconds} ms",
            attempt.said,
            " ".join(attempt.body.split()),
        ]
        for attempt in attempts
    ]
    print_table(rows, ("at", "took", "came to", "answer began"))
    print(replace_control_characters(body.decode(errors="replace")))


@app.command("drop", epilog="Example: onhook subscribe drop CRM --delivery 17")
def discard(
    name: DestinationName,
    *,
    delivery: Annotated[
        int | None, typer.Option("--delivery", metavar="NUMBER", help="This one.", show_default=False)
    ] = None,
    parked: Annotated[bool, typer.Option("--parked", help="All that are parked.")] = False,
    data: DataOption = None,
) -> None:
    """Owe one event no more, or all that are parked; the calls stay."""
    if (delivery is None) is not parked:
        raise UsageError("it is not said what to drop", todo="give either --delivery NUMBER or --parked")
    with open_appdb(data) as appdb:
        destination = appdb.subscriptions.get(name)
        if delivery is None:
            print(
                count_phrase(appdb.deliveries.drop_parked(destination.subscription_id), "parked event")
                + " owed no more."
            )
        else:
            appdb.deliveries.drop(_require_own_delivery(destination, appdb, delivery), at=SystemClock().microseconds())
            print(f"Delivery {delivery} is owed no more.")


@secret_app.command("add", epilog="Example: onhook subscribe secret add CRM --label 'from May on'")
def add_secret(
    name: DestinationName,
    *,
    secret: SecretOption = None,
    secret_file: SecretFileOption = None,
    label: Annotated[str, typer.Option("--label", metavar="TEXT", help="What it is for.")] = "webhook",
    data: DataOption = None,
) -> None:
    """Have a new secret beside the old: X-Signature is by the oldest, Standard Webhooks by all of them."""
    secret_value = read_webhook_secret(secret, secret_file)
    with open_appdb(data) as appdb:
        new_secret, signing_secret = appdb.subscriptions.add_secret(
            name, secret_value, at=SystemClock().microseconds(), label=label
        )
    print(f"Secret {new_secret.secret_id} ({new_secret.label}) is there.")
    if secret_value is None:
        print(f"Shown this once: {signing_secret}")


@secret_app.command("remove", epilog="Example: onhook subscribe secret remove CRM 1")
def remove_secret(
    name: DestinationName,
    secret_id: Annotated[int, typer.Argument(metavar="NUMBER", help="As `onhook subscribe show` lists it.")],
    data: DataOption = None,
) -> None:
    """Sign with a secret no more."""
    with open_appdb(data) as appdb:
        appdb.subscriptions.remove_secret(name, secret_id)
    print(f"Secret {secret_id} signs no more.")


def _require_own_delivery(one: Destination, settings: AppDb, delivery: int) -> int:
    """The delivery, if it is of this subscription. Raises `NotFound`."""
    if settings.deliveries.get(delivery).subscription_id != one.subscription_id:
        raise NotFound(f"{one.name} has no delivery {delivery}", todo="`onhook subscribe deliveries` lists them")
    return delivery


def _parse_filters(config: Config, where: Mapping[str, str]) -> RecordFilter:
    """Read now, so that `7d` stays the moment that it is today."""
    return parse_filter(where, get_zone(config.zone), SystemClock().now())


async def _read_destinations(config: Config) -> list[Row]:
    async with await open_data_client(config) as client:
        return await client.subscriptions()


async def _read_destination(config: Config, name: str) -> Row:
    async with await open_data_client(config) as client:
        return await client.subscription(name)


async def _replay(config: Config, name: str, where: Mapping[str, str]) -> int:
    async with await open_data_client(config) as client:
        return await client.replay(name, where)


def _format_row(row: Row, config: Config) -> list[str]:
    destination, status = row["subscription"], row["standing"]
    oldest = status["oldest_owed_at"]
    state = "failing" if destination["state"] == "active" and destination["failing_since"] else destination["state"]
    state = "full" if status["is_full"] else state
    counts = [str(status["owed"]), str(status["parked"]), str(destination["delivered"]), str(destination["failed"])]
    return [
        destination["name"],
        state,
        *counts,
        format_local_time(oldest, get_zone(config.zone)) if oldest else UNKNOWN,
        destination["url"],
    ]
