"""`onhook destination log` and `resend`: every attempt of a destination, with what was sent; and one sent again."""

from collections.abc import Mapping
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

import msgspec
import typer

from onhook.appdb.appdb import AppDb
from onhook.appdb.delivery_rows import HttpExchange
from onhook.appdb.destination_log import AttemptContent, LogFilter, LoggedAttempt, LogState
from onhook.cdr.record_filter import parse_time
from onhook.cli.destination_secrets import DestinationName
from onhook.cli.formats import encode_json, print_table
from onhook.cli.open_appdb import open_appdb
from onhook.cli.options import LIMIT_DEFAULT, DataOption, ZoneOption, load_reader_zone, option_with_default
from onhook.lib.clock import SystemClock
from onhook.lib.messages import _
from onhook.lib.text import UNKNOWN, replace_control_characters
from onhook.lib.timestamps import format_time

ATTEMPT_ID_MAX = 2**63 - 1
"""No file has a higher number."""

AttemptNumberOption = Annotated[
    int | None,
    typer.Option(
        "--attempt", metavar="NUMBER", min=1, max=ATTEMPT_ID_MAX, help=_("Only this attempt"), show_default=False
    ),
]


async def show_log(
    name: DestinationName,
    *,
    attempt: AttemptNumberOption = None,
    log_state: Annotated[
        LogState | None,
        option_with_default("--state", help_text=_("Only attempts in this state"), default="all"),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="TIME", help=_("Attempts at or after this time"), show_default=False),
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="TIME", help=_("Attempts before this time"), show_default=False)
    ] = None,
    call_id: Annotated[
        str, typer.Option("--call-id", metavar="ID", help=_("Attempts of this call"), show_default=False)
    ] = "",
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=1, help=_("Maximum number, the latest first"))
    ] = LIMIT_DEFAULT,
    output_format: Annotated[Literal["table", "json"], typer.Option("--format", help=_("Output format"))] = "table",
    zone: ZoneOption = None,
    data: DataOption = None,
) -> None:
    """List the attempts of a destination, successful ones too; with --attempt one of them and what was sent."""
    reader_zone = load_reader_zone(data, zone)
    async with open_appdb(data) as appdb:
        destination_id = (await appdb.destinations.get(name)).destination_id
        if attempt is not None:
            await _print_attempt(appdb, destination_id, attempt, output_format, reader_zone)
            return
        now = SystemClock().now()
        log_filter = LogFilter(
            state=log_state,
            since=parse_time(since, reader_zone, now, name="since") if since else None,
            until=parse_time(until, reader_zone, now, name="until") if until else None,
            call_id=call_id,
        )
        page = await appdb.destination_log.page(destination_id, log_filter, limit)
    if output_format == "json":
        print(msgspec.json.format(encode_json(page.data), indent=2))
        return
    headings = ("attempt", "time", "state", "duration", "result", "call id", "seq")
    rows = [_format_row(logged, reader_zone) for logged in page.data]
    print_table(rows, headings, is_filtered=log_filter != LogFilter())


async def resend(
    name: DestinationName,
    *,
    attempt: Annotated[
        int,
        typer.Option("--attempt", metavar="NUMBER", min=1, max=ATTEMPT_ID_MAX, help=_("Number of the attempt")),
    ],
    data: DataOption = None,
) -> None:
    """Send the notification of an attempt again, as it was."""
    async with open_appdb(data) as appdb:
        destination = await appdb.destinations.get(name)
        delivery_id = await appdb.destination_log.resend(
            destination.destination_id, attempt, now_us=SystemClock().microseconds()
        )
    print(_("The notification is sent again: delivery {delivery_id}.", delivery_id=delivery_id))


async def _print_attempt(
    appdb: AppDb, destination_id: int, attempt_id: int, output_format: str, zone: ZoneInfo
) -> None:
    logged = await appdb.destination_log.get(destination_id, attempt_id)
    content = await appdb.destination_log.content(destination_id, attempt_id)
    if output_format == "json":
        members = {"attempt": logged, **msgspec.structs.asdict(content)}
        print(msgspec.json.format(encode_json(members), indent=2))
        return
    for line in _describe_attempt(logged, content, zone):
        print(replace_control_characters(line))


def _describe_attempt(logged: LoggedAttempt, content: AttemptContent, zone: ZoneInfo) -> list[str]:
    """Return the lines of an attempt: its result, the request with its headers, and the response with its headers."""
    exchange = content.exchange
    result = _(
        "{state} after {duration} ms: {detail}", state=logged.state, duration=logged.duration_ms, detail=logged.detail
    )
    subject = _("test") if logged.is_test else _("call {call_id}, raw event {seq}", **_call_values(logged))
    lines = [f"{format_time(logged.attempted_at, zone)}  {result}", subject, ""]
    if exchange is not None:
        lines += [f"{exchange.method} {exchange.url}".strip(), *_header_lines(exchange.request_headers), ""]
    lines += _notification_of(content, exchange).split("\n")
    if content.is_cut or (exchange is not None and exchange.is_body_cut):
        lines.append(_("(cut off: it is too long for the log)"))
    if exchange is not None and exchange.response_headers:
        lines += ["", logged.detail, *_header_lines(exchange.response_headers)]
    return [*lines, "", *content.response.split("\n")] if content.response else lines


def _call_values(logged: LoggedAttempt) -> dict[str, str]:
    return {"call_id": logged.call_id, "seq": str(logged.seq) if logged.seq else UNKNOWN}


def _notification_of(content: AttemptContent, exchange: HttpExchange | None) -> str:
    """Return the body as it was sent."""
    return content.notification if exchange is None or exchange.body is None else exchange.body


def _header_lines(headers: Mapping[str, str]) -> list[str]:
    return [f"{name}: {value}" for name, value in headers.items()]


def _format_row(logged: LoggedAttempt, zone: ZoneInfo) -> list[str]:
    return [
        str(logged.attempt_id),
        format_time(logged.attempted_at, zone),
        logged.state,
        f"{logged.duration_ms} ms",
        logged.detail,
        _("test") if logged.is_test else logged.call_id,
        str(logged.seq) if logged.seq else UNKNOWN,
    ]
