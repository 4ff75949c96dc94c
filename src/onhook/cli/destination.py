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
from onhook.cdr.record_filter import Filter, parse_filter
from onhook.cdr.utc_offset import zone_named
from onhook.cli.addresses import hint_at_address
from onhook.cli.destination_options import with_changed_wishes, with_wishes
from onhook.cli.formats import UNKNOWN, local, printable, show_table
from onhook.cli.log_follow import follow
from onhook.cli.open_appdb import open_settings
from onhook.cli.options import LIMIT_DEFAULT, DataOption, ZoneOption, configured, with_filters
from onhook.cli.pbx_card import card
from onhook.cli.pbx_secrets import SecretFileOption, SecretOption, secret_text
from onhook.cli.server_lookup import Row, reach
from onhook.config import Config
from onhook.delivery.destinations.registry import all_sinks
from onhook.delivery.dispatcher import send_test_by_name
from onhook.delivery.issues import count_phrase
from onhook.delivery.status import DestinationTestResult
from onhook.lib.clock import SystemClock
from onhook.lib.errors import NotFound, UsageError
from onhook.runtime.data_files import last_number

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

DELIVERY_MAX = 2**63 - 1
"""No file counts further."""

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the subscription.")]
Number = Annotated[int, typer.Argument(metavar="NUMBER", min=1, max=DELIVERY_MAX, help="Number of the delivery.")]
SubscriptionFormat = Annotated[Literal["table", "json"], typer.Option("--format", help="How to show it.")]


@app.command("add", epilog="Example: onhook subscribe add CRM --url https://crm.example.com/calls --since 7d")
@with_filters
@with_wishes
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
    config = configured(data=data, zone=zone)
    text = secret_text(secret, secret_file)
    wished = DestinationSpec(url=url, about=about, where=_filters(config, where), **wishes)
    with open_settings(data, makes=True) as settings:
        after = None if "since" in where else asyncio.run(last_number(config))
        one, signed_with = settings.subscriptions.add(name, wished, text, after=after, at=SystemClock().microseconds())
    told = (
        "of alarms from now" if about == "alarms" else "from the first call since then" if after is None else "from now"
    )
    print(f"{one.name} is told {told} on.")
    hint_at_address(config, one)
    if text is None:
        print(f"Its secret, shown this once: {signed_with}")
    if after is None:
        asyncio.run(follow(config, one.name))


@app.command("list", epilog="Example: onhook subscribe list")
def list_subscriptions(form: SubscriptionFormat = "table", zone: ZoneOption = None, data: DataOption = None) -> None:
    """Show all subscriptions, and what is owed to each."""
    config = configured(data=data, zone=zone)
    rows = asyncio.run(_standings(config))
    if form == "json":
        print(msgspec.json.format(msgspec.json.encode(rows), indent=2).decode())
        return
    heads = ("name", "state", "owed", "parked", "delivered", "failed", "oldest owed", "url")
    show_table([_line(row, config) for row in rows], heads)
    for plight in (plight for row in rows for plight in row["plights"]):
        print(printable(f"{plight['what']}: {plight['todo']}"))


@app.command("show", epilog="Example: onhook subscribe show CRM")
def show(name: Name, form: SubscriptionFormat = "table", zone: ZoneOption = None, data: DataOption = None) -> None:
    """Show one subscription: what it asked for, and how it stands."""
    config = configured(data=data, zone=zone)
    with open_settings(data) as settings:
        one = settings.subscriptions.get(name)
        secrets = settings.subscriptions.secrets(name)
    row = asyncio.run(_shown(config, one.name))
    if form == "json":
        print(msgspec.json.format(msgspec.json.encode(row), indent=2).decode())
        return
    for key, value in card(row, secrets, zone_named(config.zone)):
        print(f"{key:24}{printable(value)}")


@app.command("change", epilog="Example: onhook subscribe change CRM --status '!ANSWERED' --timeout 10")
@with_filters
@with_changed_wishes
def change(
    where: Mapping[str, str],
    wishes: Mapping[str, Any],
    name: Name,
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
    config = configured(data=data, zone=zone)
    changes = {**wishes, **{key: value for key, value in (("name", new_name), ("url", url)) if value is not None}}
    if where or every_call:
        changes["where"] = _filters(config, where)
    if not changes:
        raise UsageError("nothing is to be changed", todo="give another URL, filter or name")
    with open_settings(data) as settings:
        one = settings.subscriptions.change(name, changes)
    print(f"{one.name} is changed.")
    hint_at_address(config, one)


@app.command("pause", epilog="Example: onhook subscribe pause CRM")
def pause(name: Name, data: DataOption = None) -> None:
    """Send nothing for now; what is owed is kept."""
    with open_settings(data) as settings:
        print(f"{settings.subscriptions.set_state(name, 'paused').name} is paused: what is owed is kept.")


@app.command("resume", epilog="Example: onhook subscribe resume CRM")
def resume(name: Name, data: DataOption = None) -> None:
    """Go on after a pause, or after it was disabled."""
    with open_settings(data) as settings:
        print(f"{settings.subscriptions.set_state(name, 'active').name} goes on.")


@app.command("remove", epilog="Example: onhook subscribe remove CRM")
def remove(name: Name, data: DataOption = None) -> None:
    """Tell an application no more, and forget what is owed to it."""
    with open_settings(data) as settings:
        print(f"{settings.subscriptions.remove(name).name} is told no more.")


@app.command("test", epilog="Example: onhook subscribe test CRM")
def send_test(name: Name, data: DataOption = None) -> None:
    """Send a signed test now, and show what was answered. Fails when it was not taken."""
    config = configured(data=data)
    with open_settings(data) as settings:
        tried: DestinationTestResult = asyncio.run(send_test_by_name(settings, all_sinks(config), SystemClock(), name))
    print(f"{name} {printable(tried.said)} after {tried.milliseconds} ms.")
    if tried.body:
        print(printable(tried.body))
    raise typer.Exit(not tried.is_taken)


@app.command("replay", epilog="Example: onhook subscribe replay CRM --since yesterday --until today")
@with_filters
def replay(where: Mapping[str, str], name: Name, *, zone: ZoneOption = None, data: DataOption = None) -> None:
    """Send again what matches, beside what is new. --since is needed."""
    config = configured(data=data, zone=zone)
    print(f"{count_phrase(asyncio.run(_replay(config, name, where)), 'record')} sent again to {name}.")
    asyncio.run(follow(config, name))


@app.command("retry", epilog="Example: onhook subscribe retry CRM")
def retry(
    name: Name,
    *,
    delivery: Annotated[
        int | None, typer.Option("--delivery", metavar="NUMBER", help="Only this one.", show_default=False)
    ] = None,
    data: DataOption = None,
) -> None:
    """Try all that waits or is parked, now."""
    with open_settings(data) as settings:
        one, at = settings.subscriptions.get(name), SystemClock().microseconds()
        if delivery is None:
            print(
                f"{count_phrase(settings.deliveries.retry_all(one.subscription_id, at=at), 'event')} tried again now."
            )
        else:
            settings.deliveries.retry(_of(one, settings, delivery), at=at)
            print(f"Delivery {delivery} is tried again now.")


@app.command("deliveries", epilog="Example: onhook subscribe deliveries CRM --state parked")
def deliveries(
    name: Name,
    *,
    in_state: Annotated[
        DeliveryState | None, typer.Option("--state", help="Only those in this state.", show_default="all")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="How many at most.")] = LIMIT_DEFAULT,
    zone: ZoneOption = None,
    data: DataOption = None,
) -> None:
    """Show events that did not go through at once: those that wait, are parked, or went through in the end."""
    reader_zone = zone_named(configured(data=data, zone=zone).zone)
    with open_settings(data) as settings:
        found = settings.deliveries.page(settings.subscriptions.get(name).subscription_id, in_state, limit)
    rows = [
        [
            str(one.delivery_id), one.state, one.call_id, str(one.seq), str(one.attempts),
            local(one.owed_at.isoformat(), reader_zone),
            local(one.due_at.isoformat(), reader_zone) if one.due_at else UNKNOWN,
        ]
        for one in found
    ]  # fmt: skip
    show_table(rows, ("delivery", "state", "call id", "seq", "attempts", "owed since", "next try"))


@app.command("delivery", epilog="Example: onhook subscribe delivery 17")
def delivery(number: Number, zone: ZoneOption = None, data: DataOption = None) -> None:
    """Show the attempts of one of them, and the event as it is sent."""
    reader_zone = zone_named(configured(data=data, zone=zone).zone)
    with open_settings(data) as settings:
        one, body = settings.deliveries.get(number), settings.deliveries.body(number)
        attempts = settings.deliveries.attempts(number)
    print(f"{one.state}, call {printable(one.call_id)}, report {one.seq}")
    rows = [
        [local(each.at.isoformat(), reader_zone), f"{each.milliseconds} ms", each.said, " ".join(each.body.split())]
        for each in attempts
    ]
    show_table(rows, ("at", "took", "came to", "answer began"))
    print(printable(body.decode(errors="replace")))


@app.command("drop", epilog="Example: onhook subscribe drop CRM --delivery 17")
def drop(
    name: Name,
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
    with open_settings(data) as settings:
        one = settings.subscriptions.get(name)
        if delivery is None:
            print(f"{count_phrase(settings.deliveries.drop_parked(one.subscription_id), 'parked event')} owed no more.")
        else:
            settings.deliveries.drop(_of(one, settings, delivery), at=SystemClock().microseconds())
            print(f"Delivery {delivery} is owed no more.")


@secret_app.command("add", epilog="Example: onhook subscribe secret add CRM --label 'from May on'")
def add_secret(
    name: Name,
    *,
    secret: SecretOption = None,
    secret_file: SecretFileOption = None,
    label: Annotated[str, typer.Option("--label", metavar="TEXT", help="What it is for.")] = "webhook",
    data: DataOption = None,
) -> None:
    """Have a new secret beside the old: X-Signature is by the oldest, Standard Webhooks by all of them."""
    text = secret_text(secret, secret_file)
    with open_settings(data) as settings:
        added, made = settings.subscriptions.add_secret(name, text, at=SystemClock().microseconds(), label=label)
    print(f"Secret {added.secret_id} ({added.label}) is there.")
    if text is None:
        print(f"Shown this once: {made}")


@secret_app.command("remove", epilog="Example: onhook subscribe secret remove CRM 1")
def remove_secret(
    name: Name,
    secret_id: Annotated[int, typer.Argument(metavar="NUMBER", help="As `onhook subscribe show` lists it.")],
    data: DataOption = None,
) -> None:
    """Sign with a secret no more."""
    with open_settings(data) as settings:
        settings.subscriptions.remove_secret(name, secret_id)
    print(f"Secret {secret_id} signs no more.")


def _of(one: Destination, settings: AppDb, delivery: int) -> int:
    """The delivery, if it is of this subscription. Raises `NotFound`."""
    if settings.deliveries.get(delivery).subscription_id != one.subscription_id:
        raise NotFound(f"{one.name} has no delivery {delivery}", todo="`onhook subscribe deliveries` lists them")
    return delivery


def _filters(config: Config, where: Mapping[str, str]) -> Filter:
    """Read now, so that `7d` stays the moment that it is today."""
    return parse_filter(where, zone_named(config.zone), SystemClock().now())


async def _standings(config: Config) -> list[Row]:
    async with await reach(config) as way:
        return await way.subscriptions()


async def _shown(config: Config, name: str) -> Row:
    async with await reach(config) as way:
        return await way.subscription(name)


async def _replay(config: Config, name: str, where: Mapping[str, str]) -> int:
    async with await reach(config) as way:
        return await way.replay(name, where)


def _line(row: Row, config: Config) -> list[str]:
    one, standing = row["subscription"], row["standing"]
    oldest = standing["oldest_owed_at"]
    state = "failing" if one["state"] == "active" and one["failing_since"] else one["state"]
    state = "full" if standing["is_full"] else state
    counts = [str(standing["owed"]), str(standing["parked"]), str(one["delivered"]), str(one["failed"])]
    return [one["name"], state, *counts, local(oldest, zone_named(config.zone)) if oldest else UNKNOWN, one["url"]]
