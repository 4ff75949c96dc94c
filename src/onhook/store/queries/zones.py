"""A zone's offsets as SQL, exact on days of 23 and 25 hours.

Python knows the zone's changes; a range of calls has few of them, so a tree of comparisons is enough, and much faster
than a calendar look-up for each row.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

STEP_SECONDS = 7 * 86_400
"""No zone changed twice within a week since 1990; the shortest distance was 19 days."""

TRANSITIONS_FROM, TRANSITIONS_UNTIL = 631_152_000, 4_133_980_800
"""1990 to 2101: no call is outside of `cdr.utc_offset.YEAR_MIN` and `YEAR_MAX`."""


class ZoneOffset(NamedTuple):
    """Offset of a zone, in seconds ahead of UTC, from this second since 1970 on."""

    since: int
    seconds: int


def list_offsets(zone: ZoneInfo, first_second: int, last_second: int) -> list[ZoneOffset]:
    """Return the zone's offsets from the first to the last of these seconds; the first one applies to all times before,
    too.
    """
    second = max(first_second, TRANSITIONS_FROM)
    result = [ZoneOffset(second, offset_at(zone, second))]
    while second < min(last_second, TRANSITIONS_UNTIL):
        next_second = second + STEP_SECONDS
        if offset_at(zone, next_second) != result[-1].seconds:
            transition = _find_transition(zone, second, next_second)
            result.append(ZoneOffset(transition, offset_at(zone, transition)))
        second = next_second
    return result


def offset_at(zone: ZoneInfo, second: int) -> int:
    """Return how many seconds a zone is ahead of UTC at a second since 1970."""
    offset = datetime.fromtimestamp(second, UTC).astimezone(zone).utcoffset()
    assert offset is not None
    return offset.days * 86_400 + offset.seconds


def offset_sql(time: str, zone_offsets: Sequence[ZoneOffset], render: Callable[[int], str] = str) -> str:
    """Return an expression for the offset at `time`, an expression in seconds since 1970, as a balanced
    tree of CASE.
    """
    if len(zone_offsets) == 1:
        return render(zone_offsets[0].seconds)
    middle = len(zone_offsets) // 2
    before_sql, after_sql = (offset_sql(time, part, render) for part in (zone_offsets[:middle], zone_offsets[middle:]))
    return f"CASE WHEN {time} < {zone_offsets[middle].since} THEN {before_sql} ELSE {after_sql} END"


def _find_transition(zone: ZoneInfo, start: int, end: int) -> int:
    """Return the first second with another offset."""
    offset = offset_at(zone, start)
    while end - start > 1:
        middle = (start + end) // 2
        if offset_at(zone, middle) == offset:
            start = middle
        else:
            end = middle
    return end
