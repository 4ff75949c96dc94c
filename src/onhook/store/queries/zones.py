"""A zone's offsets as SQL, exact on days of 23 and 25 hours.

Python knows the zone's changes; a stretch of calls sees few of them, so that a tree of comparisons is enough, and much
faster than asking a calendar for each row.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

STEP_SECONDS = 7 * 86_400
"""No zone was changed twice within a week since 1990; 19 days were seen."""

CHANGES_FROM, CHANGES_UNTIL = 631_152_000, 4_133_980_800
"""1990 to 2101: no call is outside of `cdr.offset.YEAR_MIN` and `YEAR_MAX`."""


class Offset(NamedTuple):
    """From this second since 1970 on, the zone is so many seconds ahead of UTC."""

    since: int
    seconds: int


def offsets(zone: ZoneInfo, first: int, last: int) -> list[Offset]:
    """The zone's offsets from the first to the last of these seconds; the first one holds for all before, too."""
    at = max(first, CHANGES_FROM)
    found = [Offset(at, offset_at(zone, at))]
    while at < min(last, CHANGES_UNTIL):
        after = at + STEP_SECONDS
        if offset_at(zone, after) != found[-1].seconds:
            change = _change(zone, at, after)
            found.append(Offset(change, offset_at(zone, change)))
        at = after
    return found


def offset_at(zone: ZoneInfo, at: int) -> int:
    """How many seconds a zone is ahead of UTC at a second since 1970."""
    ahead = datetime.fromtimestamp(at, UTC).astimezone(zone).utcoffset()
    assert ahead is not None
    return ahead.days * 86_400 + ahead.seconds


def as_sql(moment: str, known: Sequence[Offset], written: Callable[[int], str] = str) -> str:
    """An expression for the offset at `moment`, an expression in seconds since 1970, as a balanced tree of CASE."""
    if len(known) == 1:
        return written(known[0].seconds)
    middle = len(known) // 2
    before, after = (as_sql(moment, half, written) for half in (known[:middle], known[middle:]))
    return f"CASE WHEN {moment} < {known[middle].since} THEN {before} ELSE {after} END"


def _change(zone: ZoneInfo, before: int, after: int) -> int:
    """The first second with another offset."""
    offset = offset_at(zone, before)
    while after - before > 1:
        middle = (before + after) // 2
        if offset_at(zone, middle) == offset:
            before = middle
        else:
            after = middle
    return after
