"""CDR sources of a connected PBX, as the source that gaps are filled from."""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import msgspec

from onhook.appdb.appdb import AppDb
from onhook.appdb.cdr_sources import CdrSource
from onhook.cdr.coverage import Interval
from onhook.lib.clock import Clock
from onhook.pbx.asterisk.files import COLUMNS, collect_calls, parse_rows, starts_before
from onhook.pbx.asterisk.payload import Asterisk
from onhook.pbx.cdr_archive import ArchivedCall, CdrArchive, UnparsedLine
from onhook.pbx.client import TimeWindow
from onhook.pbx.registry import dialects
from onhook.receiver.ingest import Ingestor
from onhook.receiver.pbx_registry import RegisteredPbx
from onhook.sync.appdb_state import AppDbSyncState
from onhook.sync.asterisk_sync import build_parser_config
from onhook.sync.cdr_backfill import CdrBackfill, CdrSourceAccess
from onhook.sync.cdr_files import is_sqlite_file, list_rotated_files, read_lines
from onhook.sync.cdr_tables import CdrTable, read_table_rows
from onhook.sync.contract import CallLookup
from onhook.sync.pbx_sync import PbxSync

UTC_OFFSET_MAX = timedelta(days=1)
"""Largest offset of a local time from UTC."""

CALL_DURATION_MAX = timedelta(days=1)
"""Longest assumed duration of a call (`cdr.coverage`); its CDRs are spread over as much."""

CdrRows = Iterator[Mapping[str, str] | UnparsedLine]


def create_cdr_sync(
    sn: str,
    sources: Callable[[], Sequence[CdrSource]],
    *,
    appdb: AppDb,
    sync_state: AppDbSyncState,
    load_intervals: Callable[[], Awaitable[Sequence[Interval]]],
    call_lookup: CallLookup,
    ingestor: Ingestor,
    clock: Clock,
    jitter: Callable[[], float],
) -> PbxSync:
    """Return the sync of a PBX that fills gaps from its CDR sources. `load_intervals` returns the coverage."""
    cdr_backfill = CdrBackfill(
        archive=create_cdr_archive(sn, sources, appdb),
        ingestor=ingestor,
        sender=RegisteredPbx(sn=sn, dialect=Asterisk.name),
        dialect=dialects()[Asterisk.name],
        call_lookup=call_lookup,
        load_intervals=load_intervals,
        clock=clock,
    )
    return PbxSync(
        access=CdrSourceAccess(clock), backfill_source=cdr_backfill, state=sync_state, registered_at=0.0, jitter=jitter
    )


def create_cdr_archive(sn: str, sources: Callable[[], Sequence[CdrSource]], appdb: AppDb) -> CdrArchive:
    """Return all sources as one, because a PBX may begin a new file in the middle of a call."""

    async def read_calls(window: TimeWindow) -> Iterator[ArchivedCall | UnparsedLine]:
        rows = (row for source in sources() for row in read_cdr_rows(source, window))
        parser_config = msgspec.structs.replace(
            build_parser_config(await appdb.asterisks.get(sn)), zone=(await appdb.pbx(sn)).zone or ""
        )
        return collect_calls(rows, parser_config)

    return read_calls


def expand_rotated_files(source: CdrSource) -> list[CdrSource]:
    """Return a file source with its rotated files; any other source alone. Raises `OnhookError`."""
    path = Path(source.location)
    if source.is_database or is_sqlite_file(path):
        return [source]
    return [CdrSource(location=str(rotated_path), columns=source.columns) for rotated_path in list_rotated_files(path)]


def read_cdr_rows(source: CdrSource, window: TimeWindow) -> CdrRows:
    """Return the rows of the calls that began in a window or close to it. Raises `OnhookError`."""
    since = datetime.fromtimestamp(window.since, UTC).replace(tzinfo=None) - UTC_OFFSET_MAX
    until = datetime.fromtimestamp(window.until, UTC).replace(tzinfo=None) + UTC_OFFSET_MAX + CALL_DURATION_MAX
    path = Path(source.location)
    if source.is_database or is_sqlite_file(path):
        table = CdrTable(location=source.location, name=source.table, password=source.password)
        return read_table_rows(table, COLUMNS, since=str(since), until=str(until))
    # A file is in the order in which calls ended.
    is_too_early = partial(starts_before, columns=source.columns, local_time=since - CALL_DURATION_MAX)
    return parse_rows(read_lines(path, is_too_early), source.columns)
