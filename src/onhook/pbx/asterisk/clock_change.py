"""A change of the PBX's clock during a call: summer time begins or ends, and the wall clock jumps.

CDRs and channel events have wall clocks. Durations are right, times after the change are not comparable with those
before it. Invariant: on the continuous clock, which is the one at the call's first event, events are in order.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import pairwise

import msgspec

from onhook.pbx.asterisk.call import CLOCK_CHANGE_SECONDS_MIN, AsteriskCall, Cel
from onhook.pbx.asterisk.rows import CallRow

_USUAL_SHIFT = timedelta(hours=1)
_TOLERANCE = timedelta(seconds=2)


class ClockChange(msgspec.Struct, frozen=True):
    """By how much the clock was changed (zero: not at all), the first event's time, and the first time after the change
    on the continuous clock.
    """

    shift: timedelta = timedelta()
    first_at: datetime = datetime.min  # noqa: DTZ901 - a wall clock
    changed_at: datetime = datetime.max  # noqa: DTZ901 - a wall clock

    def continuous_events(self, cels: Sequence[Cel]) -> tuple[Cel, ...]:
        """Return the events with their times on the continuous clock."""
        if not self.shift:
            return tuple(cels)
        index = next(index for index, gap in enumerate(_gaps(cels), 1) if _is_change(gap, self.shift))
        return (*cels[:index], *(_moved_event(cel, -self.shift) for cel in cels[index:]))

    def to_first_clock(self, row: CallRow) -> CallRow:
        """Return a row that began after the change with its times on the continuous clock."""
        return _moved_row(row, -self.shift) if self.shift and self._began_after(row) else row

    def to_own_clock(self, row: CallRow) -> CallRow:
        """Return a row with its times by the wall clock at its start."""
        return _moved_row(row, self.shift) if self.shift and row.start >= self.changed_at else row

    def _began_after(self, row: CallRow) -> bool:
        """Return whether a row's start is by the changed clock. In the hour that comes twice, only a start before the
        call's own is certain to be.
        """
        if self.shift > timedelta():
            return row.start >= self.changed_at + self.shift - _TOLERANCE
        return row.start < self.first_at - _TOLERANCE


def find_clock_change(call: AsteriskCall) -> ClockChange:
    """Find the jump in the times of the channel events; forwards only where a CDR says that there was one."""
    reported_shifts = [cdr.clock_shift for cdr in call.cdrs if cdr.clock_shift]
    for shift in (*reported_shifts, -_USUAL_SHIFT):
        for index, gap in enumerate(_gaps(call.cels), 1):
            if _is_change(gap, shift):
                return ClockChange(shift, call.cels[0].event_time, call.cels[index].event_time - shift)
    return ClockChange()


def _gaps(cels: Sequence[Cel]) -> Iterable[timedelta]:
    return (later.event_time - earlier.event_time for earlier, later in pairwise(cels))


def _is_change(gap: timedelta, shift: timedelta) -> bool:
    """Return whether the clock was changed between two events."""
    return gap >= shift - _TOLERANCE if shift > timedelta() else gap.total_seconds() < -CLOCK_CHANGE_SECONDS_MIN


def _moved_event(cel: Cel, by: timedelta) -> Cel:
    return msgspec.structs.replace(cel, event_time=cel.event_time + by)


def _moved_row(row: CallRow, by: timedelta) -> CallRow:
    cdr = row.cdr
    moved_cdr = msgspec.structs.replace(
        cdr, start=cdr.start + by, answer=cdr.answer and cdr.answer + by, end=cdr.end + by
    )
    return msgspec.structs.replace(row, start=row.start + by, cdr=moved_cdr)
