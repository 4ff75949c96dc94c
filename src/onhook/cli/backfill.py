"""`onhook backfill`: fetch past calls from a PBX."""

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
from onhook.cdr.coverage import Interval
from onhook.cdr.sync_types import BackfillRequest, BackfillResult
from onhook.cdr.utc_offset import get_zone
from onhook.cli.asterisk_pbx import check_source
from onhook.cli.commands import CommandGroup
from onhook.cli.open_appdb import open_appdb
from onhook.cli.options import DataOption, ZoneOption, load_reader_config, option_with_default
from onhook.cli.pbx_secrets import PbxName
from onhook.config import Config
from onhook.console.queries.coverage import parse_backfill_request
from onhook.lib.clock import SystemClock
from onhook.lib.errors import OnhookError, Unavailable
from onhook.lib.messages import _
from onhook.lib.text import replace_control_characters
from onhook.ops.instance_lock import is_server_running
from onhook.ops.manual_backfill import parse_cdr_sources, run_manual_backfill
from onhook.pbx.asterisk.payload import Asterisk
from onhook.pbx.client import TimeWindow
from onhook.pbx.registry import call_list_clients
from onhook.runtime.adapters.ingest import create_ingestor, open_ingestor
from onhook.runtime.data_files import open_files
from onhook.sync.asterisk_sync import find_open_gaps, gap_times
from onhook.sync.contract import BackfillTotals, SyncProgressCallback
from onhook.sync.pbx_sync_manager import (
    CdrSourceSyncSpec,
    SyncDeps,
    build_api_sync_spec,
    create_cdr_sync_from_spec,
    create_list_sync,
    load_list_sync_spec,
    open_pbx_sync,
)

app = CommandGroup(add_completion=False)

POLL_SECONDS = 0.3
"""As often as an eye can follow figures."""

GAPS_PRINTED_MAX = 20
"""Gaps that are printed; `onhook coverage` has all."""

FromOption = Annotated[
    list[str] | None,
    typer.Option(
        "--from",
        metavar="FILE|URL",
        help=_("CDR source of an Asterisk, if not that of --cdr; repeatable, the oldest file first"),
        show_default=False,
    ),
]
ColumnsOption = Annotated[
    str | None,
    typer.Option("--columns", metavar="NAMES", help=_("Columns of a CSV file with a custom order"), show_default=False),
]
TableOption = Annotated[
    str | None, option_with_default("--table", metavar="NAME", help_text=_("Table of the CDR source"), default="cdr")
]

ShowProgress = Callable[[float, str], None]
"""Receives the share done (0 to 1), and the totals."""


@app.command(epilog="Example: onhook backfill Office --since 2026-04-01 --zone Europe/Berlin")
async def backfill(
    name: PbxName,
    since: Annotated[
        str, typer.Option("--since", metavar="TIME", help=_("Calls that began at or after this time"))
    ] = "7d",
    until: Annotated[
        str,
        option_with_default("--until", metavar="TIME", help_text=_("Calls that began before this time"), default="now"),
    ] = "",
    *,
    locations: FromOption = None,
    columns: ColumnsOption = None,
    table: TableOption = None,
    zone: ZoneOption = None,
    data: DataOption = None,
) -> None:
    """Fetch past calls from the API or the CDR source of a PBX, and store those that are missing. An interrupted run
    continues where it was.
    """
    config = load_reader_config(data, zone)
    async with open_appdb(data) as appdb:
        pbx = await appdb.pbx(name)
        request = parse_backfill_request(since, until, get_zone(config.zone), SystemClock().now())
        sources = await _parse_sources(locations, columns, table, data) if locations else []
        with _progress(pbx.name) as show_progress:
            if sources:
                on_progress = _progress_callback(request.until, show_progress)
                result = await _run_manual_backfill(
                    config, appdb, pbx, sources=sources, request=request, on_progress=on_progress
                )
            else:
                result = await _run_requested_backfill(config, appdb, pbx, request, show_progress)
        if not result.error:
            gaps = await find_open_gaps(appdb, pbx.sn, SystemClock().now()) if pbx.dialect == Asterisk.name else []
            _print_result(pbx, result, gaps)
        if sources:
            action = f"back-fill {pbx.name} from {len(sources)} given CDR sources"
            await appdb.audit.add_action(action, now_us=SystemClock().microseconds())
    _check_result(result)


async def _parse_sources(
    locations: Sequence[str], columns: str | None, table: str | None, data: str | None
) -> Sequence[CdrSource]:
    """Return the sources, their hosts checked. Raises `UsageError`."""
    sources = parse_cdr_sources(locations, columns, table)
    for source in sources:
        await check_source(source, data)
    return sources


async def _run_requested_backfill(
    config: Config, appdb: AppDb, pbx: Pbx, request: BackfillRequest, show_progress: ShowProgress
) -> BackfillResult:
    await appdb.require_backfill_source(pbx)
    await appdb.sync_states.save_backfill_request(pbx.sn, request)
    if is_server_running(config):
        return await _follow_server(appdb, config, pbx, request.requested_at, show_progress)
    return await _run_offline(config, pbx, _progress_callback(request.until, show_progress))


async def _run_manual_backfill(
    config: Config,
    appdb: AppDb,
    pbx: Pbx,
    *,
    sources: Sequence[CdrSource],
    request: BackfillRequest,
    on_progress: SyncProgressCallback,
) -> BackfillResult:
    async with open_ingestor(config) as ingestor:
        return await run_manual_backfill(
            appdb, pbx, ingestor=ingestor, sources=sources, request=request, on_progress=on_progress
        )


async def _follow_server(
    appdb: AppDb, config: Config, pbx: Pbx, requested_at: int, show_progress: ShowProgress
) -> BackfillResult:
    """Request the back-fill from the running server, and show its progress."""
    while True:
        result = await appdb.sync_states.backfill_result(pbx.sn)
        if result is not None and result.requested_at == requested_at:
            return result
        progress = await appdb.sync_states.backfill_progress(pbx.sn)
        if progress is not None:
            show_progress((progress.done_until - progress.since) / max(1, progress.started_at - progress.since), "")
        if not is_server_running(config):
            raise Unavailable(_("the server was stopped"), hint=_("run the command again: it continues where it was"))
        await asyncio.sleep(POLL_SECONDS)


async def _run_offline(config: Config, pbx: Pbx, on_progress: SyncProgressCallback) -> BackfillResult:
    """Back-fill without a server, and update the store."""
    clock = SystemClock()
    async with open_files(config, create=True) as files:
        ingestor = create_ingestor(appdb=files.appdb, ledger=files.ledger, clock=clock)
        deps = SyncDeps(appdb=files.appdb, store=files.store, clock=clock, ingestor=ingestor)
        source = await files.appdb.cdr_sources.get(pbx.sn)
        try:
            if source is None:
                result = await _backfill_from_api(deps, pbx, on_progress)
            else:
                result = await create_cdr_sync_from_spec(
                    deps, CdrSourceSyncSpec(pbx.sn, source)
                ).run_requested_backfill(on_progress)
        finally:
            await ingestor.close()
    assert result is not None, "the request was saved before"
    return result


async def _backfill_from_api(deps: SyncDeps, pbx: Pbx, on_progress: SyncProgressCallback) -> BackfillResult | None:
    credentials = await deps.appdb.pbx_credentials.require(pbx.sn, pbx.name)
    if pbx.dialect in call_list_clients():
        pbx_sync = create_list_sync(deps, await load_list_sync_spec(deps.appdb, pbx, credentials))
        return await pbx_sync.run_requested_backfill(on_progress)
    async with open_pbx_sync(deps, build_api_sync_spec(pbx, credentials)) as sync_tasks:
        try:
            return await sync_tasks.pbx_sync.run_requested_backfill(on_progress)
        finally:
            await sync_tasks.session.revoke_tokens()


def _progress_callback(until: int | None, show_progress: ShowProgress) -> SyncProgressCallback:
    """Return a callback that shows the progress."""
    now = round(SystemClock().now().timestamp())

    def on_progress(totals: BackfillTotals, window: TimeWindow) -> None:
        length = max(1, min(window.until, until or now) - window.since)
        show_progress((totals.done_until - window.since) / length, f"{totals.new} new")

    return on_progress


def _print_result(pbx: Pbx, result: BackfillResult, gaps: Sequence[Interval]) -> None:
    print(
        _(
            "{pbx_name} listed {rows} records: {new} new, {changed} changed, {same} already stored,"
            " {unreadable} that could not be parsed.",
            pbx_name=pbx.name,
            rows=result.rows,
            new=result.new,
            changed=result.changed,
            same=result.same,
            unreadable=result.unreadable,
        )
    )
    for gap in gaps[:GAPS_PRINTED_MAX]:
        # The reason may quote the PBX.
        reason = replace_control_characters(gap.reason)
        print(_("calls may still be missing from {since} to {until} UTC: {reason}", reason=reason, **gap_times(gap)))


def _check_result(result: BackfillResult) -> None:
    """Raise `OnhookError` when the back-fill failed, or the list was incomplete."""
    if result.error:
        raise OnhookError(result.error)
    if result.incomplete_reason:
        raise OnhookError(
            _("the list was incomplete: {incomplete_reason}", incomplete_reason=result.incomplete_reason),
            hint=_("run the command again"),
        )


@contextlib.contextmanager
def _progress(name: str) -> Iterator[ShowProgress]:
    """Show the progress on a terminal; nothing in a pipe."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(name, total=1.0)
        yield lambda share, summary: progress.update(task, completed=min(1.0, share), description=f"{name} {summary}")
