"""`onhook destination`: destinations of call notifications; changes have effect at once, also in a running server."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

import msgspec
import typer

from onhook.appdb.appdb import AppDb
from onhook.appdb.delivery_rows import DeliveryState
from onhook.appdb.destination_spec import OPERATIONAL, DestinationSpec, PayloadFormat
from onhook.appdb.destinations import Destination
from onhook.cdr.record_filter import RecordFilter, parse_filter
from onhook.cdr.utc_offset import get_zone
from onhook.cli import destination_log, destination_secrets
from onhook.cli.commands import CommandGroup
from onhook.cli.destination_card import describe_destination
from onhook.cli.destination_options import with_destination_change_options, with_destination_options
from onhook.cli.destination_secrets import DestinationName, print_standard_webhooks_secrets
from onhook.cli.filter_options import with_filters
from onhook.cli.formats import encode_json, format_local_time, format_optional_time, print_table
from onhook.cli.open_appdb import open_appdb
from onhook.cli.options import (
    LIMIT_DEFAULT,
    DataOption,
    ZoneOption,
    load_config,
    load_reader_config,
    load_reader_zone,
    option_with_default,
    print_note,
)
from onhook.cli.pbx_secrets import SecretFileOption, SecretOption, read_webhook_secret
from onhook.cli.pending_progress import follow_pending
from onhook.cli.server_lookup import Row, open_data_client
from onhook.config import Config
from onhook.delivery.address_check import check_change, check_destination
from onhook.delivery.destinations.opening import destination_opener
from onhook.delivery.destinations.recipes import get_recipe
from onhook.delivery.dispatcher import send_test_by_name
from onhook.delivery.status import DestinationTestResult, display_state
from onhook.lib.clock import SystemClock
from onhook.lib.errors import NotFound, UsageError
from onhook.lib.messages import _, _n
from onhook.lib.text import UNKNOWN, replace_control_characters
from onhook.lib.timestamps import format_time
from onhook.runtime.data_files import read_last_seq

app = CommandGroup(
    add_completion=False,
    help=_("Manage destinations that are notified when a call ends."),
    epilog="Example: onhook destination list",
)
app.add_typer(destination_secrets.app, name="secret")
app.command("log", epilog="Example: onhook destination log CRM --state failed --since today")(destination_log.show_log)
app.command("resend", epilog="Example: onhook destination resend CRM --attempt 17")(destination_log.resend)

DELIVERY_ID_MAX = 2**63 - 1
"""No file has a higher number."""

DeliveryNumber = Annotated[
    int, typer.Argument(metavar="NUMBER", min=1, max=DELIVERY_ID_MAX, help=_("Number of the delivery"))
]
TableOrJsonFormat = Annotated[Literal["table", "json"], typer.Option("--format", help=_("Output format"))]


@app.command("add", epilog="Example: onhook destination add CRM --url https://crm.example.com/calls --since 7d")
@with_filters
@with_destination_options
async def add(
    filters: Mapping[str, str],
    spec_values: Mapping[str, Any],
    name: Annotated[str, typer.Argument(metavar="NAME", help=_("Name of the destination"))],
    *,
    url: Annotated[str, typer.Option("--url", metavar="URL", help=_("URL of its webhook, or address of its server"))],
    recipe: Annotated[
        str | None,
        typer.Option("--recipe", metavar="NAME", help=_("Settings for a known system"), show_default=False),
    ] = None,
    secret: SecretOption = None,
    secret_file: SecretFileOption = None,
    zone: ZoneOption = None,
    data: DataOption = None,
) -> None:
    """Add a destination. Calls are sent from now on, or from --since on."""
    config = load_reader_config(data, zone)
    secret_value = read_webhook_secret(secret, secret_file)
    record_filter = _parse_filters(config, filters)
    settings = spec_values if recipe is None else get_recipe(recipe).apply(spec_values)
    spec = DestinationSpec(url=url, filter=record_filter, **settings)
    warnings = await check_destination(config, spec)
    async with open_appdb(data, create=True) as appdb:
        after = None if "since" in filters else await read_last_seq(config)
        destination, signing_secret = await appdb.destinations.add(
            name, spec, secret_value, after=after, now_us=SystemClock().microseconds()
        )
    print(_describe_start(destination, is_since_given=after is None))
    _print_notes(warnings)
    if secret_value is None and signing_secret:
        print(_("Signing secret, shown this once: {signing_secret}", signing_secret=signing_secret))
    elif destination.with_standard_webhooks:
        print_standard_webhooks_secrets([signing_secret])
    if after is None:
        await follow_pending(config, destination.name)


@app.command("list", epilog="Example: onhook destination list")
async def list_destinations(
    output_format: TableOrJsonFormat = "table", zone: ZoneOption = None, data: DataOption = None
) -> None:
    """List all destinations, with their pending notifications."""
    config = load_reader_config(data, zone)
    rows = await _read_destinations(config)
    if output_format == "json":
        print(msgspec.json.format(encode_json(rows), indent=2))
        return
    headings = ("name", "state", "pending", "failed", "succeeded attempts", "failed attempts", "oldest pending", "url")
    print_table([_format_row(row, config) for row in rows], headings)
    for issue in (issue for row in rows for issue in row["issues"]):
        print(replace_control_characters(f"{issue['detail']}: {issue['hint']}"))


@app.command("show", epilog="Example: onhook destination show CRM")
async def show(
    name: DestinationName, output_format: TableOrJsonFormat = "table", zone: ZoneOption = None, data: DataOption = None
) -> None:
    """Show one destination: its settings and its status."""
    config = load_reader_config(data, zone)
    async with open_appdb(data) as appdb:
        destination = await appdb.destinations.get(name)
        secrets = await appdb.destinations.secrets(name)
    row = await _read_destination(config, destination.name)
    if output_format == "json":
        print(msgspec.json.format(encode_json(row), indent=2))
        return
    for key, value in describe_destination(row, secrets, get_zone(config.zone)):
        print(f"{key:24}{replace_control_characters(value)}")


@app.command("change", epilog="Example: onhook destination change CRM --status '!ANSWERED' --timeout 10")
@with_filters
@with_destination_change_options
async def change(
    filters: Mapping[str, str],
    spec_values: Mapping[str, Any],
    name: DestinationName,
    *,
    new_name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help=_("New name"), show_default=False)
    ] = None,
    url: Annotated[
        str | None, typer.Option("--url", metavar="URL", help=_("New URL of its webhook"), show_default=False)
    ] = None,
    every_call: Annotated[bool, typer.Option("--every-call", help=_("Remove its filters"))] = False,
    zone: ZoneOption = None,
    data: DataOption = None,
) -> None:
    """Change a destination; delivery continues where it is. Given filters replace all earlier ones."""
    config = load_reader_config(data, zone)
    changes = {**spec_values, **{key: value for key, value in (("name", new_name), ("url", url)) if value is not None}}
    if filters or every_call:
        changes["filter"] = _parse_filters(config, filters)
    if not changes:
        raise UsageError(_("there is nothing to change"), hint=_("give another URL, filter or name"))
    async with open_appdb(data) as appdb:
        old = await appdb.destinations.get(name)
        if "fields" in changes:
            changes["fields"] = old.fields | changes["fields"]
        # The secrets are in a file that can be read here.
        warnings = await check_change(config, old, changes, may_move_secrets=True)
        destination = await appdb.destinations.change(name, changes)
        secrets = await appdb.destinations.secret_texts(destination.destination_id)
    print(_('Destination "{destination_name}" changed.', destination_name=destination.name))
    _print_notes(warnings)
    if destination.with_standard_webhooks and not old.with_standard_webhooks:
        print_standard_webhooks_secrets(secrets)


@app.command("pause", epilog="Example: onhook destination pause CRM")
async def pause(name: DestinationName, data: DataOption = None) -> None:
    """Pause a destination; pending notifications are kept."""
    async with open_appdb(data) as appdb:
        print(
            _(
                'Destination "{name}" paused. Pending notifications are kept.',
                name=(await appdb.destinations.set_state(name, "paused")).name,
            )
        )


@app.command("resume", epilog="Example: onhook destination resume CRM")
async def resume(name: DestinationName, data: DataOption = None) -> None:
    """Resume a destination after a pause, or after it was disabled."""
    async with open_appdb(data) as appdb:
        print(
            _(
                'Destination "{name}" resumed.',
                name=(await appdb.destinations.set_state(name, "active")).name,
            )
        )


@app.command("remove", epilog="Example: onhook destination remove CRM")
async def remove(name: DestinationName, data: DataOption = None) -> None:
    """Delete a destination and its pending notifications."""
    async with open_appdb(data) as appdb:
        await appdb.destinations.remove(name)
    print(_('Destination "{name}" deleted.', name=name))


@app.command("test", epilog="Example: onhook destination test CRM")
async def send_test(
    name: DestinationName,
    *,
    sample: Annotated[bool, typer.Option("--sample", help=_("Send a sample event"))] = False,
    data: DataOption = None,
) -> None:
    """Send a signed test now, and show the response. Fails when the test was not accepted."""
    config = load_config(data=data)
    async with open_appdb(data) as appdb:
        result: DestinationTestResult = await send_test_by_name(
            appdb, destination_opener(config), SystemClock(), name, is_sample=sample, log_days=config.log_days
        )
    text = (
        _("Test succeeded after {duration_ms} ms: {detail}.")
        if result.accepted
        else _("Test failed after {duration_ms} ms: {detail}.")
    )
    print(text.format(duration_ms=result.duration_ms, detail=replace_control_characters(result.detail)))
    if result.hint:
        print_note(result.hint)
    if result.body:
        print(replace_control_characters(result.body))
    raise typer.Exit(not result.accepted)


@app.command("preview", epilog="Example: onhook destination preview CRM")
async def preview(
    name: DestinationName,
    *,
    call_id: Annotated[
        str, typer.Option("--call-id", metavar="ID", help=_("This call instead of the newest one"), show_default=False)
    ] = "",
    payload_format: Annotated[
        PayloadFormat | None,
        option_with_default("--payload-format", help_text=_("Event format"), default="that of the destination"),
    ] = None,
    data: DataOption = None,
) -> None:
    """Show the notification of a call as it would be sent now; nothing is sent."""
    async with await open_data_client(load_config(data=data)) as client:
        row = await client.preview(name, call_id, payload_format)
    print("\n".join(map(replace_control_characters, row["text"].split("\n"))))
    if not row["is_matching"]:
        print_note(_("the filters of the destination do not select this call"))


@app.command("replay", epilog="Example: onhook destination replay CRM --since yesterday --until today")
@with_filters
async def replay(
    filters: Mapping[str, str], name: DestinationName, *, zone: ZoneOption = None, data: DataOption = None
) -> None:
    """Send matching records again, beside new ones. --since is required."""
    config = load_reader_config(data, zone)
    count = await _replay(config, name, filters)
    print(_n("1 record is sent again to {name}.", "{count:,} records are sent again to {name}.", count, name=name))
    await follow_pending(config, name)


@app.command("retry", epilog="Example: onhook destination retry CRM")
async def retry(
    name: DestinationName,
    *,
    delivery: Annotated[
        int | None, typer.Option("--delivery", metavar="NUMBER", help=_("Only this delivery"), show_default=False)
    ] = None,
    data: DataOption = None,
) -> None:
    """Retry all retrying and failed deliveries now."""
    async with open_appdb(data) as appdb:
        destination, now_us = await appdb.destinations.get(name), SystemClock().microseconds()
        if delivery is None:
            count = await appdb.deliveries.retry_all(destination.destination_id, now_us=now_us)
            print(_n("1 notification is retried.", "{count:,} notifications are retried.", count))
        else:
            await appdb.deliveries.retry(await _require_own_delivery(destination, appdb, delivery), now_us=now_us)
            print(_("Delivery {delivery} retried.", delivery=delivery))


@app.command("deliveries", epilog="Example: onhook destination deliveries CRM --state failed")
async def deliveries(
    name: DestinationName,
    *,
    delivery_state: Annotated[
        DeliveryState | None,
        option_with_default("--state", help_text=_("Only deliveries in this state"), default="all"),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help=_("Maximum number"))] = LIMIT_DEFAULT,
    zone: ZoneOption = None,
    data: DataOption = None,
) -> None:
    """List deliveries that did not succeed at once: retrying, failed, or delivered after several attempts."""
    reader_zone = load_reader_zone(data, zone)
    async with open_appdb(data) as appdb:
        page = await appdb.deliveries.page((await appdb.destinations.get(name)).destination_id, delivery_state, limit)
    rows = [
        [
            str(listed_delivery.delivery_id),
            listed_delivery.state,
            listed_delivery.call_id,
            str(listed_delivery.seq),
            str(listed_delivery.attempts),
            format_time(listed_delivery.pending_since, reader_zone),
            format_optional_time(listed_delivery.due_at, reader_zone),
        ]
        for listed_delivery in page
    ]  # fmt: skip
    headings = ("delivery", "state", "call id", "seq", "attempts", "pending since", "next attempt")
    print_table(rows, headings, is_filtered=delivery_state is not None)


@app.command("delivery", epilog="Example: onhook destination delivery 17")
async def delivery(number: DeliveryNumber, zone: ZoneOption = None, data: DataOption = None) -> None:
    """Show the attempts of a delivery, and the notification as it is sent."""
    reader_zone = load_reader_zone(data, zone)
    async with open_appdb(data) as appdb:
        stored_delivery, body = await appdb.deliveries.get(number), await appdb.deliveries.body(number)
        attempts = await appdb.deliveries.attempts(number)
    print(
        _(
            "{state}, call {call_id}, raw event {seq}",
            state=stored_delivery.state,
            call_id=replace_control_characters(stored_delivery.call_id),
            seq=stored_delivery.seq,
        )
    )
    rows = [
        [
            format_time(attempt.attempted_at, reader_zone),
            f"{attempt.duration_ms} ms",
            attempt.detail,
            " ".join(attempt.body.split()),
        ]
        for attempt in attempts
    ]
    print_table(rows, ("time", "duration", "result", "response body"))
    print(replace_control_characters(body.decode(errors="replace")))


@app.command("discard", epilog="Example: onhook destination discard CRM --delivery 17")
async def discard(
    name: DestinationName,
    *,
    delivery: Annotated[
        int | None, typer.Option("--delivery", metavar="NUMBER", help=_("Only this delivery"), show_default=False)
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help=_("All failed deliveries"))] = False,
    data: DataOption = None,
) -> None:
    """Discard one delivery, or all failed ones; the calls stay."""
    if (delivery is None) is not failed:
        raise UsageError(_("no delivery is given"), hint=_("give either --delivery NUMBER or --failed"))
    async with open_appdb(data) as appdb:
        destination = await appdb.destinations.get(name)
        if delivery is None:
            count = await appdb.deliveries.discard_failed(destination.destination_id)
            print(_n("1 failed notification is discarded.", "{count:,} failed notifications are discarded.", count))
        else:
            await appdb.deliveries.discard(
                await _require_own_delivery(destination, appdb, delivery), now_us=SystemClock().microseconds()
            )
            print(_("Delivery {delivery} discarded.", delivery=delivery))


def _print_notes(warnings: Iterable[str]) -> None:
    for warning in warnings:
        print_note(warning)


def _describe_start(destination: Destination, *, is_since_given: bool) -> str:
    if destination.notifies_of in OPERATIONAL:
        return _(
            'Destination "{name}" added. It receives {subject} from now on.',
            name=destination.name,
            subject=destination.notifies_of,
        )
    if is_since_given:
        return _('Destination "{name}" added. It receives calls since the given time.', name=destination.name)
    return _('Destination "{name}" added. It receives calls from now on.', name=destination.name)


async def _require_own_delivery(destination: Destination, appdb: AppDb, delivery: int) -> int:
    """Return the delivery if it belongs to this destination. Raises `NotFound`."""
    if (await appdb.deliveries.get(delivery)).destination_id != destination.destination_id:
        raise NotFound(
            _("{destination_name} has no delivery {delivery}", destination_name=destination.name, delivery=delivery),
            hint=_("`onhook destination deliveries` lists them"),
        )
    return delivery


def _parse_filters(config: Config, filters: Mapping[str, str]) -> RecordFilter:
    """Return the filter, parsed now, so that `7d` stays the time that it is today."""
    return parse_filter(filters, get_zone(config.zone), SystemClock().now())


async def _read_destinations(config: Config) -> list[Row]:
    async with await open_data_client(config) as client:
        return await client.destinations()


async def _read_destination(config: Config, name: str) -> Row:
    async with await open_data_client(config) as client:
        return await client.destination(name)


async def _replay(config: Config, name: str, filters: Mapping[str, str]) -> int:
    async with await open_data_client(config) as client:
        return await client.replay(name, filters)


def _format_row(row: Row, config: Config) -> list[str]:
    oldest = row["oldest_pending_at"]
    counts = [str(row[name]) for name in ("pending", "failed", "attempts_succeeded", "attempts_failed")]
    return [
        row["name"],
        display_state(row["state"], is_full=row["is_full"], is_failing=row["failing_since"] is not None),
        *counts,
        format_local_time(oldest, get_zone(config.zone)) if oldest else UNKNOWN,
        row["url"],
    ]
