"""What a PBX that we connect to keeps itself, as the archive that gaps are filled from."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from onhook.appdb.appdb import Settings
from onhook.appdb.cdr_sources import Source
from onhook.cdr.coverage import Stretch
from onhook.lib.clock import Clock
from onhook.pbx.asterisk.files import COLUMNS, began_before, calls_of_rows, rows_of_lines
from onhook.pbx.asterisk.payload import Asterisk
from onhook.pbx.cdr_archive import Archive, KeptCall, Unread
from onhook.pbx.client import Window
from onhook.pbx.registry import all_dialects
from onhook.receiver.ingest import Accept
from onhook.receiver.pbx_registry import Declared
from onhook.sync.adapters import SettingsNotes
from onhook.sync.api_backfill import Known
from onhook.sync.asterisk_sync import reading
from onhook.sync.cdr_backfill import ArchiveAccess, ArchiveFiller
from onhook.sync.cdr_files import is_table_file, lines_of, rotated
from onhook.sync.cdr_tables import Table, rows_of_table
from onhook.sync.pbx_sync import Caretaker

ZONE = timedelta(days=1)
"""No wall clock is farther from UTC."""

CALL = timedelta(days=1)
"""No call is taken to last longer (`cdr.coverage`); its CDRs are spread over as much."""

Rows = Iterator[Mapping[str, str] | Unread]


def caretaker_of_archive(
    sn: str,
    sources: Callable[[], Sequence[Source]],
    *,
    settings: Settings,
    notes: SettingsNotes,
    heard: Callable[[], Sequence[Stretch]],
    known: Known,
    accept: Accept,
    clock: Clock,
    chance: Callable[[], float],
) -> Caretaker:
    """Whoever fills the gaps of a PBX from what it keeps itself. `heard` tells when a call should have been heard."""
    filler = ArchiveFiller(
        archive=archive_of(sn, sources, settings),
        accept=accept,
        sender=Declared(sn=sn, dialect=Asterisk.name),
        dialect=all_dialects()[Asterisk.name],
        known=known,
        stretches=heard,
        clock=clock,
    )
    return Caretaker(account=ArchiveAccess(clock), filler=filler, notes=notes, declared_at=0.0, chance=chance)


def archive_of(sn: str, sources: Callable[[], Sequence[Source]], settings: Settings) -> Archive:
    """All sources as if they were one: a PBX may begin a new file in the middle of a call."""

    def calls(window: Window) -> Iterator[KeptCall | Unread]:
        rows = (row for source in sources() for row in rows_of(source, window))
        return calls_of_rows(rows, reading(settings.asterisks.of(sn)))

    return calls


def with_rotated(source: Source) -> list[Source]:
    """A file with those that a rotation has left of it; anything else as it is. Raises `OnhookError`."""
    path = Path(source.place)
    if source.is_database or is_table_file(path):
        return [source]
    return [Source(place=str(one), columns=source.columns) for one in rotated(path)]


def rows_of(source: Source, window: Window) -> Rows:
    """The rows of the calls that began in a window, and some around it. Raises `OnhookError`."""
    since = datetime.fromtimestamp(window.since, UTC).replace(tzinfo=None) - ZONE
    until = datetime.fromtimestamp(window.until, UTC).replace(tzinfo=None) + ZONE + CALL
    path = Path(source.place)
    if source.is_database or is_table_file(path):
        table = Table(place=source.place, name=source.table, password=source.password)
        return rows_of_table(table, COLUMNS, since=str(since), until=str(until))
    # A file is in the order in which calls ended.
    is_before = partial(began_before, columns=source.columns, moment=since - CALL)
    return rows_of_lines(lines_of(path, is_before), source.columns)
