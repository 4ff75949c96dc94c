"""What the PBX's wall clock is worth in UTC (yeastar-p-series.md 2.3).

`time_start` names no zone. The integer part of `call_id` is the second, in UTC, in which the call's first channel was
made; the first 14 digits of `uid` are the same second by the PBX's wall clock. Their difference is the offset, exact,
with nothing to configure. Where there is no such `uid`, the first leg's `time_start` serves; later legs drift, so a
call's offset comes from its earliest leg.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from onhook.cdr.record import OffsetFrom
from onhook.lib.errors import ParseError, UsageError

OFFSET_STEP_SECONDS = 15 * 60
"""All zones in use are whole quarters of an hour from UTC."""

OFFSET_SECONDS_MAX = 14 * 3600
OFFSET_REMAINDER_SECONDS_MAX = 60
"""How far the two clocks of one PBX may be apart when it makes the ids."""
YEAR_MIN, YEAR_MAX = 1990, 2100
"""Outside of these a clock was never set; and arithmetic with zones stays within what a calendar has."""

OFFSET_CACHE_SIZE = 128
"""There are 113 quarters of an hour within the limits."""

EPOCH_DIGITS = 10
UID_CHARACTERS = 19
"""14 digits of the wall clock and 5 hexadecimal ones (yeastar-p-series.md 2.4)."""

FIRST_LEG_DRIFT_SECONDS_MAX = 2
"""A first leg begins within this of its call; a later leg hardly ever seems to."""

_WALL_CLOCK = re.compile(
    r"([0-9]{4})([-/])([0-9]{1,2})\2([0-9]{1,2})[ T]([0-9]{1,2}):([0-9]{2}):([0-9]{2})(?:\.[0-9]+)?(?: ?([AaPp])[Mm])?"
)
_EPOCH_UTC = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - wall clocks are compared as they are


def get_zone(name: str, location: str = "zone") -> ZoneInfo:
    """The zone of an IANA name. Raises `UsageError`."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UsageError(
            f"there is no time zone {name!r}", location=location, hint="write one such as Europe/Berlin"
        ) from None


def parse_wall_clock(text: str) -> datetime:
    """A wall clock's text as a naive datetime: ISO with a blank or `T`, or year-first slashes, `AM`/`PM` optional.

    Raises `ParseError` for anything else: whether day or month comes first in `04/05/2026` must not be guessed.
    """
    try:
        is_iso_format = len(text) == 19 and text[4] == "-" and text[10] == " "
        local = datetime.fromisoformat(text) if is_iso_format else _parse_other_wall_clock(text)
        if not YEAR_MIN <= local.year <= YEAR_MAX:
            raise ValueError(f"a year from {YEAR_MIN} to {YEAR_MAX} is expected")
        return local
    except ValueError as error:
        raise ParseError(
            f"time_start is not a date and time that exists: {text[:40]!r} ({error})",
            hint="look at the report; it stays here until a version can read it",
        ) from None


def _parse_other_wall_clock(text: str) -> datetime:
    match = _WALL_CLOCK.fullmatch(text.strip())
    if match is None:
        raise ValueError("write the year first, and no zone: which is day and which is month must not be guessed")
    year, _, month, day, hour, minute, second, meridiem = match.groups()
    return datetime(  # noqa: DTZ001 - a wall clock has no zone
        int(year), int(month), int(day), _hour_of_24(int(hour), meridiem), int(minute), int(second)
    )


def normalize_wall_clock(text: str) -> str:
    """The same wall clock as `YYYY-MM-DD HH:MM:SS`, whatever form it came in. Raises `ParseError`."""
    local = str(parse_wall_clock(text))
    return text if text == local else local


def offset_from_uid(uid: str, epoch: int) -> timedelta | None:
    """The offset that `uid` and the second in `call_id` agree on, or None. Exact for every leg, through summer time."""
    timestamp = uid[:14]
    if len(uid) != UID_CHARACTERS or not timestamp.isdecimal():
        return None
    try:
        return offset_between(datetime.fromisoformat(f"{timestamp[:8]}T{timestamp[8:]}"), epoch)
    except ValueError:
        return None


def offset_between(local: datetime, epoch: int) -> timedelta | None:
    """A wall clock against the same second in UTC, in whole quarters of an hour; None where they cannot be the same."""
    if not epoch:
        return None
    difference = _local_epoch_seconds(local) - epoch
    offset = round(difference / OFFSET_STEP_SECONDS) * OFFSET_STEP_SECONDS
    if abs(difference - offset) > OFFSET_REMAINDER_SECONDS_MAX or abs(offset) > OFFSET_SECONDS_MAX:
        return None
    return timedelta(seconds=offset)


def call_epoch(call_id: str) -> int:
    """The second, since 1970 and in UTC, in which the call's first channel was made; 0 where the id does not tell.

    >>> call_epoch("1651057476.362"), call_epoch("office-1651057476.362"), call_epoch("a1b2")
    (1651057476, 1651057476, 0)
    """
    head, _, sequence = call_id.rpartition(".")
    epoch = head if len(head) == EPOCH_DIGITS else head.rpartition("-")[2]
    if len(epoch) != EPOCH_DIGITS or not (epoch.isascii() and epoch.isdecimal() and sequence.isdecimal()):
        return 0
    return int(epoch)


def offset_in_zone(local: datetime, zone: ZoneInfo) -> timedelta:
    """The offset of a zone at a wall-clock time; of the two meanings in an autumn night, the earlier."""
    return local.replace(tzinfo=zone).utcoffset() or timedelta()


@lru_cache(maxsize=OFFSET_CACHE_SIZE)
def format_offset(offset: timedelta) -> str:
    """As ISO 8601 writes it.

    >>> format_offset(timedelta(hours=-3, minutes=-30)), format_offset(timedelta())
    ('-03:30', '+00:00')
    """
    minutes = (offset.days * 86_400 + offset.seconds) // 60
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"


def determine_call_offset(
    starts: Sequence[datetime], uids: Sequence[str], epoch: int, zone: ZoneInfo | None
) -> tuple[timedelta, OffsetFrom]:
    """The offset when a call began: from any of its `uid`s, else from its earliest leg, else the zone, else UTC.

    `starts` and `uids` are those of its legs, `starts` by the wall clock; `epoch` is what `call_id` says.
    """
    for uid in sorted(uids):  # an older one has a stamp per leg, and the first leg's is the call's
        offset = offset_from_uid(uid, epoch)
        if offset is not None:
            return offset, "ids"
    first_start = min(starts, key=lambda local: (_drift_seconds(local, epoch) > FIRST_LEG_DRIFT_SECONDS_MAX, local))
    offset = offset_between(first_start, epoch)
    if offset is not None:
        return offset, "ids"
    return (timedelta(), "assumed") if zone is None else (offset_in_zone(first_start, zone), "configured")


def _drift_seconds(local: datetime, epoch: int) -> int:
    """How far a leg began from a whole offset after its call: next to nothing for the first leg."""
    drift = (_local_epoch_seconds(local) - epoch) % OFFSET_STEP_SECONDS
    return min(drift, OFFSET_STEP_SECONDS - drift)


def _local_epoch_seconds(local: datetime) -> int:
    """A wall clock as if it were in UTC, in seconds since 1970."""
    elapsed = local - _EPOCH
    return elapsed.days * 86_400 + elapsed.seconds


def to_utc(local: datetime, offset: timedelta) -> datetime:
    """The moment that a wall clock with this offset shows as `local`."""
    return _EPOCH_UTC + (local - _EPOCH - offset)  # four times as fast as setting the zone


def _hour_of_24(hour: int, meridiem: str | None) -> int:
    if meridiem is None:
        return hour
    if not 1 <= hour <= 12:
        raise ValueError("an hour with AM or PM is 1 to 12")
    return hour % 12 + (12 if meridiem in "pP" else 0)
