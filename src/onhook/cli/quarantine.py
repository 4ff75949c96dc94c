"""`onhook quarantine`: events that could not be parsed."""

import base64
from typing import Annotated

import msgspec
import typer

from onhook.cdr.utc_offset import get_zone
from onhook.cli.commands import CommandGroup
from onhook.cli.formats import format_local_time, print_table
from onhook.cli.options import LIMIT_DEFAULT, DataOption, ZoneOption, load_config, load_reader_config, print_note
from onhook.cli.server_lookup import open_data_client
from onhook.config import Config
from onhook.lib.errors import UsageError
from onhook.lib.messages import _
from onhook.lib.text import replace_control_characters

app = CommandGroup(
    add_completion=False,
    help=_("Show and retry events that could not be parsed."),
    epilog="Example: onhook quarantine list",
)

RETRY_ALL_MAX = 100_000
"""With --all; for more use `onhook rebuild`."""

SEQ_MAX = 2**63 - 1
"""No ledger has a higher number."""

HEADINGS = ("seq", "sn", "via", "received", "reason")

RawEventSeq = Annotated[int, typer.Argument(metavar="SEQ", min=1, max=SEQ_MAX, help=_("Number of the event"))]
LimitOption = Annotated[int, typer.Option("--limit", metavar="N", min=1, help=_("Maximum number, the earliest first"))]


@app.command("list", epilog="Example: onhook quarantine list --limit 10")
async def list_quarantine(limit: LimitOption = LIMIT_DEFAULT, zone: ZoneOption = None, data: DataOption = None) -> None:
    """List quarantined events, with the reasons."""
    await _list(load_reader_config(data, zone), limit)


@app.command("show", epilog="Example: onhook quarantine show 17")
async def show(seq: RawEventSeq, data: DataOption = None) -> None:
    """Show one event with its bytes."""
    await _show(load_config(data=data), seq)


@app.command("retry", epilog="Example: onhook quarantine retry --all")
async def retry(
    seqs: Annotated[
        list[int] | None, typer.Argument(metavar="SEQ...", min=1, max=SEQ_MAX, help=_("Numbers of events"))
    ] = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help=_("All quarantined events"))] = False,
    data: DataOption = None,
) -> None:
    """Parse events again, as after an upgrade. Fails when one still cannot be parsed."""
    if not seqs and not everything:
        raise UsageError(_("no event is named"), hint=_("give the numbers of events, or --all"))
    if seqs and everything:
        raise UsageError(_("both numbers and --all are given"), hint=_("leave one of the two out"))
    unparsed_count = await _retry(load_config(data=data), seqs or [])
    raise typer.Exit(1 if unparsed_count else 0)


async def _list(config: Config, limit: int) -> None:
    zone = get_zone(config.zone)
    async with await open_data_client(config) as client:
        rows = [
            [str(row["seq"]), row["sn"], row["via"], format_local_time(row["received_at"], zone), row["reason"]]
            async for row in client.quarantine(limit)
        ]
    print_table(rows, HEADINGS)


async def _show(config: Config, seq: int) -> None:
    async with await open_data_client(config) as client:
        details = await client.quarantined_raw_event(seq)
    raw_event = details["raw_event"]
    for name in ("seq", "sn", "dialect", "via", "received_at", "peer", "is_signed"):
        print(f"{name:12}{replace_control_characters(str(raw_event[name]))}")
    print(f"{'reason':12}{replace_control_characters(details['reason'])}\n")
    print(_format_body(base64.b64decode(raw_event["body_base64"])))


async def _retry(config: Config, seqs: list[int]) -> int:
    unparsed_count = 0
    async with await open_data_client(config) as client:
        selected_seqs = seqs or [int(row["seq"]) async for row in client.quarantine(RETRY_ALL_MAX)]
        if not selected_seqs:
            print_note(_("no event is in the quarantine"))
        for seq in selected_seqs:
            row = await client.retry(seq)
            unparsed_count += not row["is_parsed"]
            print(f"{seq}  {'parsed' if row['is_parsed'] else replace_control_characters(row['reason'])}")
    return unparsed_count


def _format_body(body: bytes) -> str:
    """Return the body as text where it is one, indented where it is JSON; control characters are escaped."""
    try:
        text = msgspec.json.format(body.decode(), indent=2)
    except (UnicodeDecodeError, msgspec.DecodeError):
        text = body.decode(errors="backslashreplace")
    return "".join(
        character if character.isprintable() or character == "\n" else repr(character)[1:-1] for character in text
    )
