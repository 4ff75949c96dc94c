"""`onhook backfill`: ask a PBX for the calls that it still knows."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from onhook.appdb.appdb import AppDb
from onhook.appdb.cdr_sources import CdrSource
from onhook.appdb.pbxs import Pbx
from onhook.cdr.sync_types import Outcome, Wish
from onhook.cdr.utc_offset import zone_named
from onhook.cli.open_appdb import open_settings
from onhook.cli.options import DataOption, ZoneOption, configured
from onhook.cli.pbx_secrets import Name
from onhook.config import Config
from onhook.console.api.coverage import parse_backfill_request
from onhook.lib.clock import SystemClock
from onhook.lib.errors import OnhookError, Unavailable
from onhook.ops.instance_lock import is_running
from onhook.ops.manual_backfill import named_sources, read_by_hand
from onhook.pbx.asterisk.payload import Asterisk
from onhook.pbx.client import Window
from onhook.runtime.adapters.ingest import door_of, open_door
from onhook.runtime.data_files import open_files
from onhook.sync.api_backfill import BackfillTotals
from onhook.sync.asterisk_sync import known_gaps, shown
from onhook.sync.pbx_sync import SyncProgressCallback
from onhook.sync.pbx_sync_manager import House, WantedArchive, archive_cared_for, cared_for, wanted_for

app = typer.Typer(add_completion=False)

LOOK_SECONDS = 0.3
"""As often as an eye can follow figures."""

GAPS_TOLD = 20
"""Of an Asterisk, one by one; `onhook coverage` has all."""

FromOption = Annotated[
    list[str] | None,
    typer.Option(
        "--from",
        metavar="FILE|URL",
        help="Where an Asterisk keeps its CDRs, if not where --cdr said; may be repeated, the oldest file first.",
        show_default=False,
    ),
]
ColumnsOption = Annotated[
    str | None,
    typer.Option("--columns", metavar="NAMES", help="The columns of a CSV file of your own.", show_default=False),
]
TableOption = Annotated[
    str | None, typer.Option("--table", metavar="NAME", help="The table there.", show_default="cdr")
]

Show = Callable[[float, str], None]
"""Is told how much is done (0 to 1), and what was found."""


@app.command(epilog="Example: onhook backfill Office --since 2026-04-01 --zone Europe/Berlin")
def backfill(
    name: Name,
    since: Annotated[str, typer.Option("--since", metavar="TIME", help="Calls that began from then on.")] = "7d",
    until: Annotated[
        str, typer.Option("--until", metavar="TIME", help="Calls that began before then.", show_default="now")
    ] = "",
    *,
    places: FromOption = None,
    columns: ColumnsOption = None,
    table: TableOption = None,
    zone: ZoneOption = None,
    data: DataOption = None,
) -> None:
    """Ask a PBX for its calls, or read where it keeps them, and keep those that are not here. One that was stopped goes
    on where it was."""
    config = configured(data=data, zone=zone)
    with open_settings(data) as settings:
        pbx = settings.pbx(name)
        wish = parse_backfill_request(since, until, zone_named(config.zone), SystemClock().now())
        with _progress(pbx.name) as show:
            if places:
                sources, tell = named_sources(places, columns, table), _teller(wish.until, show)
                outcome = asyncio.run(_read_by_hand(config, settings, pbx, sources=sources, wish=wish, tell=tell))
            else:
                outcome = _asked_for(config, settings, pbx, wish, show)
        gaps = known_gaps(settings, pbx.sn, SystemClock().now()) if pbx.dialect == Asterisk.name else []
    _tell(pbx, outcome)
    for gap in gaps[:GAPS_TOLD]:
        print(f"calls may still be missing from {shown(gap)}: {gap.why}")


def _asked_for(config: Config, settings: AppDb, pbx: Pbx, wish: Wish, show: Show) -> Outcome:
    settings.check_can_be_asked(pbx)
    settings.receiving.keep_wish(pbx.sn, wish)
    if is_running(config):
        return asyncio.run(_followed(settings, config, pbx, wish.asked_at, show))
    return asyncio.run(_done_here(config, pbx, _teller(wish.until, show)))


async def _read_by_hand(
    config: Config, settings: AppDb, pbx: Pbx, *, sources: Sequence[CdrSource], wish: Wish, tell: SyncProgressCallback
) -> Outcome:
    async with open_door(config) as accept:
        return await read_by_hand(settings, pbx, accept=accept, sources=sources, wish=wish, tell=tell)


async def _followed(settings: AppDb, config: Config, pbx: Pbx, asked_at: int, show: Show) -> Outcome:
    """The server does it; we look how far it has come."""
    while True:
        outcome = settings.receiving.outcome(pbx.sn)
        if outcome is not None and outcome.asked_at == asked_at:
            return outcome
        progress = settings.receiving.progress(pbx.sn)
        if progress is not None:
            show((progress.done_until - progress.since) / max(1, progress.asked_at - progress.since), "")
        if not is_running(config):
            raise Unavailable("the server was stopped", todo="give the command again: it goes on where it was")
        await asyncio.sleep(LOOK_SECONDS)


async def _done_here(config: Config, pbx: Pbx, tell: SyncProgressCallback) -> Outcome:
    """No server runs, so we do it, and put the calls into the store."""
    clock = SystemClock()
    async with open_files(config, makes=True) as files:
        accept = door_of(settings=files.settings, ledger=files.ledger, clock=clock)
        house = House(data=config.data, settings=files.settings, store=files.store, clock=clock, accept=accept)
        source = files.settings.sources.of(pbx.sn)
        try:
            if source is None:
                outcome = await _asked(house, pbx, tell)
            else:
                outcome = await archive_cared_for(house, WantedArchive(pbx.sn, source)).grant_wish(tell)
        finally:
            await accept.close()
    assert outcome is not None, "the wish was kept before"
    return outcome


async def _asked(house: House, pbx: Pbx, tell: SyncProgressCallback) -> Outcome | None:
    api = house.settings.apis.needed(pbx.sn, pbx.name)
    async with cared_for(house, wanted_for(pbx, api)) as cared:
        try:
            return await cared.caretaker.grant_wish(tell)
        finally:
            await cared.account.farewell()


def _teller(until: int | None, show: Show) -> SyncProgressCallback:
    """Shows how far it has come of what was asked for."""
    now = round(SystemClock().now().timestamp())

    def tell(found: BackfillTotals, window: Window) -> None:
        length = max(1, min(window.until, until or now) - window.since)
        show((found.done_until - window.since) / length, f"{found.new} new")

    return tell


def _tell(pbx: Pbx, outcome: Outcome) -> None:
    if outcome.error:
        raise OnhookError(outcome.error)
    print(
        f"{pbx.name} listed {outcome.rows} records: {outcome.new} new, {outcome.changed} changed, {outcome.same} here"
        f" already, {outcome.unreadable} that could not be read."
    )
    if outcome.trouble:
        raise OnhookError(f"the list was not whole: {outcome.trouble}", todo="give the command again")


@contextlib.contextmanager
def _progress(name: str) -> Iterator[Show]:
    """How far it has come, on a terminal; nothing in a pipe."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(name, total=1.0)
        yield lambda share, found: progress.update(task, completed=min(1.0, share), description=f"{name} {found}")
