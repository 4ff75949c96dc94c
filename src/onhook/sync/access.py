"""What a PBX that we connect to keeps itself, as the archive that gaps are filled from."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from onhook.appdb.appdb import AppDb
from onhook.appdb.cdr_sources import CdrSource
from onhook.cdr.coverage import Interval
from onhook.lib.clock import Clock
from onhook.pbx.asterisk.files import COLUMNS, began_before, calls_of_rows, rows_of_lines
from onhook.pbx.asterisk.payload import Asterisk
from onhook.pbx.cdr_archive import Archive, KeptCall, Unread
from onhook.pbx.client import Window
from onhook.pbx.registry import dialects
from onhook.receiver.ingest import Ingestor
from onhook.receiver.pbx_registry import RegisteredPbx
from onhook.sync.adapters import AppDbSyncState
from onhook.sync.api_backfill import CallLookup
from onhook.sync.asterisk_sync import build_parser_config
from onhook.sync.cdr_backfill import CdrBackfill, CdrSourceAccess
from onhook.sync.cdr_files import is_sqlite_file, list_rotated_files, read_lines
from onhook.sync.cdr_tables import CdrTable, read_table_rows
from onhook.sync.pbx_sync import PbxSync

UTC_OFFSET_MAX = timedelta(days=1)
"""No wall clock is farther from UTC."""

CALL_DURATION_MAX = timedelta(days=1)
"""No call is taken to last longer (`cdr.coverage`); its CDRs are spread over as much."""

CdrRows = Iterator[Mapping[str, str] | Unread]


def create_cdr_sync(
    sn: str,
    sources: Callable[[], Sequence[CdrSource]],
    *,
    settings: AppDb,
    notes: AppDbSyncState,
    heard: Callable[[], Sequence[Interval]],
    known: CallLookup,
    accept: Ingestor,
    clock: Clock,
    chance: Callable[[], float],
) -> PbxSync:
    """Whoever fills the gaps of a PBX from what it keeps itself. `heard` tells when a call should have been heard."""
    cdr_backfill = CdrBackfill(
        archive=create_cdr_archive(sn, sources, settings),
        accept=accept,
        sender=RegisteredPbx(sn=sn, dialect=Asterisk.name),
        dialect=dialects()[Asterisk.name],
        known=known,
        stretches=heard,
        clock=clock,
    )
    return PbxSync(account=CdrSourceAccess(clock), filler=cdr_backfill, notes=notes, declared_at=0.0, chance=chance)


def create_cdr_archive(sn: str, sources: Callable[[], Sequence[CdrSource]], settings: AppDb) -> Archive:
    """All sources as if they were one: a PBX may begin a new file in the middle of a call."""

    def read_calls(window: Window) -> Iterator[KeptCall | Unread]:
        rows = (row for source in sources() for row in read_cdr_rows(source, window))
        return calls_of_rows(rows, build_parser_config(settings.asterisks.of(sn)))

    return read_calls


def expand_rotated_files(source: CdrSource) -> list[CdrSource]:
    """A file with those that a rotation has left of it; anything else as it is. Raises `OnhookError`."""
    path = Path(source.place)
    if source.is_database or is_sqlite_file(path):
        return [source]
    return [CdrSource(place=str(rotated_path), columns=source.columns) for rotated_path in list_rotated_files(path)]


def read_cdr_rows(source: CdrSource, window: Window) -> CdrRows:
    """The rows of the calls that began in a window, and some around it. Raises `OnhookError`."""
    since = datetime.fromtimestamp(window.since, UTC).replace(tzinfo=None) - UTC_OFFSET_MAX
    until = datetime.fromtimestamp(window.until, UTC).replace(tzinfo=None) + UTC_OFFSET_MAX + CALL_DURATION_MAX
    path = Path(source.place)
    if source.is_database or is_sqlite_file(path):
        table = CdrTable(place=source.place, name=source.table, password=source.password)
        return read_table_rows(table, COLUMNS, since=str(since), until=str(until))
    # A file is in the order in which calls ended.
    is_too_early = partial(began_before, columns=source.columns, moment=since - CALL_DURATION_MAX)
    return rows_of_lines(read_lines(path, is_too_early), source.columns)
