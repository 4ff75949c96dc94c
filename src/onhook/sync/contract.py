"""Contracts of the sync of one PBX: access to it, the source of its past calls, its stored calls and state.

`SyncState` has one part for each module that uses it, so that a rule's shell declares what it reads and writes.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Literal, Protocol

import msgspec

from onhook.cdr.coverage import Interval
from onhook.cdr.record import Record
from onhook.cdr.sync_types import (
    AlarmKind,
    BackfillProgress,
    BackfillRequest,
    BackfillResult,
    PbxStatus,
    PushChannelStatus,
)
from onhook.pbx.client import SystemFacts, TimeWindow

BACKFILL = "backfill"
"""The ledger's name of the channel of a back-fill."""


class BackfillTotals(msgspec.Struct, frozen=True, kw_only=True):
    """Result of a back-fill so far. `missed` are calls that ended after a given time and that the push channel did not
    deliver.

    `reach_since` and `reach_until` (Unix seconds) are the range that was read, by the end of calls; None when
    everything requested was read.
    """

    rows: int = 0
    counted: int = 0
    new: int = 0
    changed: int = 0
    same: int = 0
    unreadable: int = 0
    missed: int = 0
    done_until: int = 0
    incomplete_reason: str = ""
    reach_since: int | None = None
    reach_until: int | None = None


BackfillProgressCallback = Callable[[BackfillTotals], Awaitable[None]]
"""Callback for the progress after each stored page."""

SyncProgressCallback = Callable[[BackfillTotals, TimeWindow], None]
"""Callback for the totals so far and their window."""


class PbxAccess(Protocol):
    """Access to a PBX: its API, or its CDR source."""

    alarm_kinds: Sequence[AlarmKind]
    """Alarms that begin when access fails, and end when it works; the first is the default."""

    @property
    def error_kind(self) -> AlarmKind | Literal[""]:
        """Return the kind of the current problem, or an empty text."""
        ...

    def now(self) -> float:
        """Return the Unix seconds."""
        ...


class BackfillSource(Protocol):
    """Source that gaps are filled from: `ApiBackfill` or `CdrBackfill`."""

    async def get_facts(self) -> SystemFacts:
        """Return the PBX's system information. Raises `OnhookError`."""
        ...

    async def backfill(
        self,
        window: TimeWindow,
        facts: SystemFacts,
        *,
        missed_window: TimeWindow,
        on_progress: BackfillProgressCallback,
    ) -> BackfillTotals:
        """Store the calls that began in a window and are not stored yet. Raises `OnhookError`."""
        ...

    async def count_records(self, window: TimeWindow, facts: SystemFacts) -> int | None:
        """Return how many records began in a window, or None if the source cannot count. Raises `OnhookError`."""
        ...


class CallLookup(Protocol):
    """Look-up of stored calls of a PBX."""

    async def find_legs(self, keys: Sequence[tuple[str, str]]) -> Sequence[Record]:
        """Return all records of the calls with these (`sn`, `call_id`)."""
        ...

    async def find_call_ids(self, sn: str, uids: Sequence[str], window: TimeWindow) -> Mapping[str, str]:
        """Return the `call_id` of the stored calls with these `uid`s."""
        ...


IntervalChange = Callable[[list[Interval]], Sequence[Interval]]
"""Returns the intervals to store, from the stored ones."""


class CoverageStore(Protocol):
    """Stored coverage of one PBX."""

    async def intervals(self) -> list[Interval]: ...

    async def change_intervals(self, change: IntervalChange) -> None:
        """Store what `change` makes of the current intervals; nothing changes them in between."""
        ...


class SyncAlarms(Protocol):
    """Alarms of one PBX."""

    async def pbx_argument(self) -> str:
        """Return the name of the PBX as an argument of a command in a hint, quoted for a shell."""
        ...

    async def raise_alarm(self, kind: AlarmKind, detail: str, hint: str) -> None:
        """Raise an alarm, or count another occurrence."""
        ...

    async def end_alarm(self, kind: AlarmKind) -> None:
        """End an alarm, if there is one."""
        ...


class ClockState(SyncAlarms, Protocol):
    """Stored clock and time zone of one PBX."""

    async def pbx_status(self) -> PbxStatus | None: ...

    async def save_pbx_status(self, pbx_status: PbxStatus) -> None: ...

    async def expected_offset_seconds(self, time: datetime) -> int | None:
        """Return the offset of the PBX's local time in its configured time zone, or None without one."""
        ...


class DayComparisonState(CoverageStore, SyncAlarms, Protocol):
    """Stored records of one PBX, for comparing days."""

    async def count_records(self, since: datetime, until: datetime) -> int:
        """Return how many stored records began in that time."""
        ...


class BackfillState(ClockState, DayComparisonState, Protocol):
    """Stored state that a back-fill reads and writes."""

    async def backfill_progress(self) -> BackfillProgress | None: ...

    async def save_backfill_progress(self, progress: BackfillProgress | None) -> None: ...


class SyncState(BackfillState, Protocol):
    """All stored state of one PBX, and its alarms."""

    async def backfill_request(self) -> BackfillRequest | None:
        """Return the unfinished back-fill that a user requested, or None."""
        ...

    async def finish_backfill_request(self, result: BackfillResult) -> None:
        """Remove the request and store its result."""
        ...

    async def save_push_channel(self, status: PushChannelStatus) -> None:
        """Store the state of the push channel."""
        ...
