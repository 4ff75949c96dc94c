"""Filling the gaps of an Asterisk from the CDRs that it keeps itself.

What was heard before is a repeat, and changes nothing; so this may be stopped and begun again at any moment.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from onhook.cdr.filter import Filter
from onhook.clock import SystemClock
from onhook.config import Config
from onhook.errors import Unavailable, UsageError
from onhook.hub.asterisks import reading
from onhook.hub.dialects import all_dialects
from onhook.hub.door import SettingsDoor
from onhook.intake.accept import Accept
from onhook.intake.archive import is_table_file, lines_of, rows_of_table
from onhook.intake.door import Declared
from onhook.ledger.sqlite import SqliteLedger
from onhook.pbx.asterisk.files import KeptCall, Unread, calls_of_rows, row_of, rows_of_lines
from onhook.pbx.asterisk.payload import Asterisk
from onhook.settings.asterisks import AsteriskGap, Asterisks, Reached
from onhook.settings.moments import microseconds
from onhook.settings.settings import Settings

VIA = "file"

BATCH_CALLS = 256
"""Kept together, in one commit."""

MARGIN = timedelta(minutes=2)
"""Around a gap: its begin is known to some seconds, and the PBX's clock may be off. What is read twice is kept once."""

SETTLED = timedelta(seconds=15)
"""A call that ended less than this ago may have a CDR that is not written yet; it is left to the next time."""

UNREAD_MAX = 20
"""Lines that are told one by one."""

Progress = Callable[[int], None]


class Filled(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it. `left` are gaps that the files do not reach over, with why."""

    read: int
    new: int
    unread: tuple[Unread, ...]
    unread_count: int
    filled: tuple[AsteriskGap, ...]
    left: tuple[tuple[AsteriskGap, str], ...]


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """A file in which an Asterisk keeps CDRs; `columns` are needed for a CSV file of one's own order."""

    path: Path
    columns: tuple[str, ...] = ()
    table: str = "cdr"


async def back_fill(
    config: Config, settings: Settings, name: str, *, sources: Sequence[Source], stretch: Filter | None, told: Progress
) -> Filled:
    """Fill the gaps of the PBX with this name, beside a server that may run. Raises `OnhookError`."""
    clock, reached = SystemClock(), settings.asterisks.of(settings.pbx(name).sn)
    ledger = SqliteLedger(config.ledger_file)
    try:
        door = SettingsDoor(settings, tell_trouble=lambda error: None)
        accept = Accept(ledger=ledger, door=door, dialects=all_dialects(), clock=clock)
        work = Backfill(asterisks=settings.asterisks, accept=accept, reached=reached, now=clock.now())
        filled = await work.run(sources, stretch, told)
        await accept.close()
        return filled
    finally:
        await ledger.close()


class Backfill:
    """One run, for one PBX. `stretch` is what was asked for, or None for the open gaps."""

    def __init__(self, *, asterisks: Asterisks, accept: Accept, reached: Reached, now: datetime) -> None:
        self._asterisks = asterisks
        self._accept = accept
        self._reached = reached
        self._now = now
        self._count = self._new = self._unread_count = 0
        self._unread: list[Unread] = []
        self._earliest: datetime | None = None
        self._latest: datetime | None = None

    async def run(self, sources: Sequence[Source], stretch: Filter | None, progress: Progress) -> Filled:
        """Read all sources; keep the calls of the gaps, or of the stretch. Raises `UsageError`, `OnhookError`."""
        gaps = self._asterisks.gaps(self._reached.sn)
        if stretch is None and not gaps:
            raise UsageError(
                "there is no gap to be filled", where=self._reached.sn, todo="say --since to read the files anyway"
            )
        batch: list[KeptCall] = []
        for call in self._calls(sources):
            if _is_wanted(call, gaps, stretch, self._now):
                batch.append(call)
            if len(batch) >= BATCH_CALLS:
                await self._keep(batch)
                batch.clear()
                progress(self._count)
        await self._keep(batch)
        return self._filled(gaps, stretch)

    def _calls(self, sources: Sequence[Source]) -> Iterator[KeptCall]:
        """Of all files as if they were one: the PBX may have begun a new one in the middle of a call."""
        rows = (row for source in sources for row in _rows(source))
        for one in calls_of_rows(rows, reading(self._reached)):
            if isinstance(one, Unread):
                self._unread_count += 1
                if len(self._unread) < UNREAD_MAX:
                    self._unread.append(one)
                continue
            if one.began is not None and one.ended is not None:
                self._earliest = min(self._earliest or one.began, one.began)
                self._latest = max(self._latest or one.ended, one.ended)
            yield one

    async def _keep(self, calls: Sequence[KeptCall]) -> None:
        declared = Declared(sn=self._reached.sn, dialect=Asterisk.name)
        verdicts = await asyncio.gather(*(self._accept.keep(declared, call.body, VIA) for call in calls))
        for verdict in verdicts:
            if verdict in ("unavailable", "too_many"):
                raise Unavailable("the ledger cannot be written now", todo="look at the disk, and begin again")
        self._count += len(verdicts)
        self._new += sum(verdict != "repeat" for verdict in verdicts)

    def _filled(self, gaps: Sequence[AsteriskGap], stretch: Filter | None) -> Filled:
        """Who says which stretch the files are good for answers for it."""
        judged = [(gap, "" if stretch and _is_within(gap, stretch) else self._why_not(gap)) for gap in gaps]
        filled = tuple(gap for gap, why in judged if not why)
        self._asterisks.fill([gap.gap_id for gap in filled], microseconds(self._now))
        return Filled(
            read=self._count,
            new=self._new,
            unread=tuple(self._unread),
            unread_count=self._unread_count,
            filled=filled,
            left=tuple((gap, why) for gap, why in judged if why),
        )

    def _why_not(self, gap: AsteriskGap) -> str:
        """Why these files do not fill a gap: they must begin before it does, and go on after it."""
        if self._earliest is None or self._latest is None:
            return "the files have no call"
        if self._earliest > gap.since:
            return "the files begin after it did: name older ones too"
        if gap.until > self._now - SETTLED:
            return "its last CDRs may not be written yet: try again in a moment"
        if self._latest < gap.until:
            return "the files have no call after it yet: try again later"
        return ""


def _rows(source: Source) -> Iterator[Mapping[str, str] | Unread]:
    if is_table_file(source.path):
        return (row_of(row) for row in rows_of_table(source.path, source.table))
    return rows_of_lines(lines_of(source.path), source.columns)


def _is_within(gap: AsteriskGap, stretch: Filter) -> bool:
    is_late_enough = stretch.since is None or stretch.since <= gap.since
    return is_late_enough and (stretch.until is None or gap.until <= stretch.until)


def _is_wanted(call: KeptCall, gaps: Sequence[AsteriskGap], stretch: Filter | None, now: datetime) -> bool:
    if call.began is None or call.ended is None:
        # Its id tells no time: it is kept once, whatever was asked for.
        return True
    if call.ended > now - SETTLED:
        return False
    if stretch is not None:
        is_late_enough = stretch.since is None or call.ended >= stretch.since
        return is_late_enough and (stretch.until is None or call.began < stretch.until)
    return any(gap.since - MARGIN <= call.ended and call.began <= gap.until + MARGIN for gap in gaps)
