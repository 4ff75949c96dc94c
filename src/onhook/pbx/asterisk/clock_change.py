"""A change of the PBX's clock during a call: summer time begins or ends, and the wall clock jumps.

CDRs and channel events have wall clocks. Durations are right, times after the change are not comparable with those
before it. Invariant: on the continuous clock, which is the one at the call's first event, events are in order.
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from itertools import pairwise

import msgspec

from onhook.cdr.call_details import CLOCK_SHIFT
from onhook.cdr.utc_offset import call_epoch, find_first_start
from onhook.pbx.asterisk.call import CLOCK_CHANGE_SECONDS_MIN, AsteriskCall, Cdr, Cel
from onhook.pbx.asterisk.call_row import CallRow

_USUAL_SHIFT = timedelta(hours=1)
_TOLERANCE = timedelta(seconds=2)
_FORWARD_HOURS = 4
"""Summer time begins in one of so many hours after midnight, wherever there is one."""

_REST_MAX = timedelta(seconds=30)
"""What else may pass between two events or CDRs, beside the hour: a queue waits before it calls its next agent."""


class ClockChange(msgspec.Struct, frozen=True):
    """By how much the clock was changed (zero: not at all), the number of events before that, the call's first time,
    the first time after the change on the continuous clock, and the channels that began after it.
    """

    shift: timedelta = timedelta()
    event_count: int = 0
    first_at: datetime = datetime.min  # noqa: DTZ901 - a wall clock
    changed_at: datetime = datetime.max  # noqa: DTZ901 - a wall clock
    later_channels: frozenset[str] = frozenset()

    def to_continuous_clock(self, call: AsteriskCall) -> AsteriskCall:
        """Return the call with all its times on the continuous clock."""
        if not self.shift:
            return call
        later_cels = (_moved_event(cel, -self.shift) for cel in call.cels[self.event_count :])
        return msgspec.structs.replace(
            call,
            cdrs=tuple(_moved_cdr(cdr, -self.shift) if self._began_after(cdr) else cdr for cdr in call.cdrs),
            cels=(*call.cels[: self.event_count], *later_cels),
        )

    def to_own_clock(self, row: CallRow) -> CallRow:
        """Return a row with its times by the wall clock at its start, and by how much that was changed before."""
        if not self.shift or row.start < self.changed_at:
            return row
        return msgspec.structs.replace(
            row,
            start=row.start + self.shift,
            cdr=_moved_cdr(row.cdr, self.shift),
            extra={**row.extra, CLOCK_SHIFT: round(self.shift.total_seconds())},
        )

    def _began_after(self, cdr: Cdr) -> bool:
        """Return whether a CDR's start is by the changed clock: not that of a CDR that spans the change, whenever its
        party was called. In the hour that comes twice, only the channel that was called then, or a start before the
        call's own, is certain to show it.
        """
        if cdr.clock_shift:
            return False
        if self.shift > timedelta():
            return cdr.start - self.shift >= self.changed_at - _TOLERANCE
        return cdr.dst_channel.name in self.later_channels or cdr.start < self.first_at - _TOLERANCE


def find_clock_change(call: AsteriskCall) -> ClockChange:
    """Find the jump in the times of the channel events, or of the CDRs where the events are not complete; forwards only
    where a CDR says that there was one, or where nothing at all is in an hour.
    """
    if not call.header.has_all_events:
        return _find_in_cdrs(call)
    gaps = [later.event_time - earlier.event_time for earlier, later in pairwise(call.cels)]
    for cdr in call.cdrs:
        if cdr.clock_shift and gaps:
            possible = [index for index in range(len(gaps)) if _is_within(cdr, call.cels[index : index + 2])]
            talk_indexes = _find_talk(cdr, call.cels)
            possible = [index for index in possible if talk_indexes is None or index in talk_indexes] or possible
            index = _find_jump(gaps, possible or range(len(gaps)), cdr.clock_shift)
            if index is not None:
                return _change_after(call.cels, index, cdr.clock_shift)
    jumps = [index for index, gap in enumerate(gaps) if gap.total_seconds() < -CLOCK_CHANGE_SECONDS_MIN]
    return _change_after(call.cels, jumps[0], -_USUAL_SHIFT) if jumps else _find_hour_left_out(call)


def _find_hour_left_out(call: AsteriskCall) -> ClockChange:
    """Find the hour that the clock left out while nothing happened: all of the call before it ends in the last seconds
    of a full hour, all after it begins in the first seconds of the hour after the next one. That a call waits so long
    between just these times, and no CDR contains the wait, is not known to happen.
    """
    times = sorted([time for cdr in call.cdrs for time in (cdr.start, cdr.end)] + [cel.event_time for cel in call.cels])
    for earlier, later in pairwise(times):
        hour = later.replace(minute=0, second=0) - _USUAL_SHIFT
        is_left_out = earlier <= hour and hour.hour < _FORWARD_HOURS and later - _USUAL_SHIFT - earlier <= _REST_MAX
        if is_left_out and not any(cdr.start <= earlier and cdr.end >= later for cdr in call.cdrs):
            event_count = sum(cel.event_time <= earlier for cel in call.cels)
            return ClockChange(_USUAL_SHIFT, event_count, times[0], hour)
    return ClockChange()


def _find_in_cdrs(call: AsteriskCall) -> ClockChange:
    """Find the change from the CDRs alone: from one during which the clock was changed, or from a start long before the
    call's own. The clock was changed before the first CDR that is certain to have begun after that.
    """
    first_at = find_first_start((cdr.start for cdr in call.cdrs), call_epoch(call.linked_id))
    changed_cdr = min((cdr for cdr in call.cdrs if cdr.clock_shift), key=lambda cdr: cdr.start, default=None)
    earlier_seconds = (first_at - min(cdr.start for cdr in call.cdrs)).total_seconds()
    if changed_cdr is None and earlier_seconds <= CLOCK_CHANGE_SECONDS_MIN:
        return _find_hour_left_out(call)
    shift = -_USUAL_SHIFT if changed_cdr is None else changed_cdr.clock_shift
    change = ClockChange(shift, 0, first_at, first_at if changed_cdr is None else changed_cdr.start)
    later_starts = [cdr.start - shift for cdr in call.cdrs if change._began_after(cdr)]
    return msgspec.structs.replace(change, changed_at=min(later_starts, default=datetime.max))  # noqa: DTZ901


def _is_within(cdr: Cdr, cels: Sequence[Cel]) -> bool:
    """Return whether the clock can have been changed between two events: during the CDR, and on that side of its answer
    on which the CDR shows it.
    """
    earlier, later = cels
    if not cdr.start - _TOLERANCE <= earlier.event_time <= cdr.end:
        return False
    if cdr.answer is None or not cdr.talk:
        return True
    if cdr.was_shifted_before_answer:
        return earlier.event_time <= cdr.answer
    return later.event_time - cdr.clock_shift >= cdr.answer


def _find_talk(cdr: Cdr, cels: Sequence[Cel]) -> Collection[int] | None:
    """Return the indexes of the gaps in which the clock was changed by the talk of a CDR: those of the talk where it is
    shorter or longer by the change, else all others. None where the events do not show the talk.
    """
    begin = _index_of(cels, cdr, "BRIDGE_ENTER", 0)
    end = None if begin is None else _index_of(cels, cdr, "BRIDGE_EXIT", begin)
    if begin is None or end is None or not cdr.talk:
        return None
    shown_talk, talk = cels[end].event_time - cels[begin].event_time, timedelta(seconds=cdr.talk)
    if abs(shown_talk - cdr.clock_shift - talk) <= _TOLERANCE:
        return range(begin, end)
    if abs(shown_talk - talk) <= _TOLERANCE:
        return {index for index in range(len(cels) - 1) if not begin <= index < end}
    return None


def _index_of(cels: Sequence[Cel], cdr: Cdr, name: str, start: int) -> int | None:
    """Return the index of the next event with this name of the channel that was called."""
    return next(
        (
            index
            for index in range(start, len(cels))
            if cels[index].name == name and cels[index].channel == cdr.dst_channel
        ),
        None,
    )


def _find_jump(gaps: Sequence[timedelta], possible: Sequence[int], shift: timedelta) -> int | None:
    """Return the index of the gap in which a CDR's clock was changed: where the clock goes back, or is put forward by
    as much; in a call without any event for longer than the shift, the longest gap.
    """
    if shift < timedelta() and (backward := [index for index in possible if gaps[index] < timedelta()]):
        return min(backward, key=lambda index: gaps[index])
    least = shift - _TOLERANCE if shift > timedelta() else timedelta()
    return max((index for index in possible if gaps[index] >= least), key=lambda index: gaps[index], default=None)


def _change_after(cels: Sequence[Cel], index: int, shift: timedelta) -> ClockChange:
    later_events = cels[index + 1 :]
    return ClockChange(
        shift,
        index + 1,
        cels[0].event_time,
        later_events[0].event_time - shift,
        frozenset(cel.channel.name for cel in later_events if cel.name == "CHAN_START"),
    )


def _moved_event(cel: Cel, by: timedelta) -> Cel:
    return msgspec.structs.replace(cel, event_time=cel.event_time + by)


def _moved_cdr(cdr: Cdr, by: timedelta) -> Cdr:
    return msgspec.structs.replace(cdr, start=cdr.start + by, answer=cdr.answer and cdr.answer + by, end=cdr.end + by)
