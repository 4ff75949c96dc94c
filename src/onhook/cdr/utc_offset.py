"""Offset of the PBX's wall clock from UTC (yeastar-p-series.md 2.3).

`time_start` has no zone. The integer part of `call_id` is the second, in UTC, in which the call's first channel was
created; the first 14 digits of `uid` are the same second by the PBX's wall clock. Their difference is the offset,
exact, without configuration. Without such a `uid`, the first leg's `time_start` serves; later legs drift, so a call's
offset comes from its earliest leg.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from onhook.cdr.record import OffsetFrom
from onhook.lib.errors import ParseError, UsageError, _

OFFSET_STEP_SECONDS = 15 * 60
"""All zones in use are whole quarters of an hour from UTC."""

OFFSET_SECONDS_MAX = 14 * 3600
OFFSET_REMAINDER_SECONDS_MAX = 60
"""How far the two clocks of one PBX may differ when it creates the ids."""
YEAR_MIN, YEAR_MAX = 1990, 2100
"""No clock is set outside of these years; and arithmetic with zones stays within the calendar."""

OFFSET_CACHE_SIZE = 128
"""There are 113 quarters of an hour within the limits."""

EPOCH_DIGITS = 10
UID_CHARACTERS = 19
"""14 digits of the wall clock and 5 hexadecimal ones (yeastar-p-series.md 2.4)."""

FIRST_LEG_DRIFT_SECONDS_MAX = 2
"""A first leg begins within this of its call; a later leg rarely does."""

_WALL_CLOCK = re.compile(
    r"([0-9]{4})([-/])([0-9]{1,2})\2([0-9]{1,2})[ T]([0-9]{1,2}):([0-9]{2}):([0-9]{2})(?:\.[0-9]+)?(?: ?([AaPp])[Mm])?"
)
_EPOCH_UTC = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - wall clocks are compared as they are


def get_zone(name: str, location: str = "zone") -> ZoneInfo:
    """Return the zone of an IANA name. Raises `UsageError`."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UsageError(
            _("there is no time zone {name!r}", name=name), location=location, hint=_("write one such as Europe/Berlin")
        ) from None


def parse_wall_clock(text: str) -> datetime:
    """Parse a wall clock as a naive datetime: ISO with a blank or `T`, or year-first slashes, `AM`/`PM` optional.

    Raises `ParseError` for anything else: in `04/05/2026` day and month are ambiguous.
    """
    try:
        local = _parse_usual_wall_clock(text) if _is_usual_format(text) else _parse_other_wall_clock(text)
        if not YEAR_MIN <= local.year <= YEAR_MAX:
            raise ValueError(_("the year must be from {first} to {last}", first=YEAR_MIN, last=YEAR_MAX))
        return local
    except ValueError as error:
        raise ParseError(
            _("time_start is not a valid date and time: {value!r} ({error})", value=text[:40], error=error),
            hint=_("check the event; it stays in the quarantine until a version can parse it"),
        ) from None


def _is_usual_format(text: str) -> bool:
    """Return whether the separators are those of `YYYY-MM-DD HH:MM:SS`: `fromisoformat` also reads zones and weeks."""
    return len(text) == 19 and text[4] == text[7] == "-" and text[10] == " " and text[13] == text[16] == ":"


def _parse_usual_wall_clock(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(_("there is no such day or time")) from None


def _parse_other_wall_clock(text: str) -> datetime:
    match = _WALL_CLOCK.fullmatch(text.strip())
    if match is None:
        raise ValueError(_("the year must come first, without a zone, because day and month would be ambiguous"))
    year, _separator, month, day, hour, minute, second, meridiem = match.groups()
    hour_of_24 = _hour_of_24(int(hour), meridiem)
    try:
        return datetime(int(year), int(month), int(day), hour_of_24, int(minute), int(second))  # noqa: DTZ001 - a wall clock
    except ValueError:
        raise ValueError(_("there is no such day or time")) from None


def normalize_wall_clock(text: str) -> str:
    """Return the wall clock as `YYYY-MM-DD HH:MM:SS`, whatever its format. Raises `ParseError`."""
    local = str(parse_wall_clock(text))
    return text if text == local else local


def offset_from_uid(uid: str, epoch: int) -> timedelta | None:
    """Return the offset between `uid` and the second in `call_id`, or None. Exact for every leg, also in
    summer time.
    """
    timestamp = uid[:14]
    if len(uid) != UID_CHARACTERS or not timestamp.isdecimal():
        return None
    try:
        return offset_between(datetime.fromisoformat(f"{timestamp[:8]}T{timestamp[8:]}"), epoch)
    except ValueError:
        return None


def offset_between(local: datetime, epoch: int) -> timedelta | None:
    """Return a wall clock minus the same second in UTC, in whole quarters of an hour; None if they cannot
    be the same.
    """
    if not epoch:
        return None
    difference = _local_epoch_seconds(local) - epoch
    offset = round(difference / OFFSET_STEP_SECONDS) * OFFSET_STEP_SECONDS
    if abs(difference - offset) > OFFSET_REMAINDER_SECONDS_MAX or abs(offset) > OFFSET_SECONDS_MAX:
        return None
    return timedelta(seconds=offset)


def call_epoch(call_id: str) -> int:
    """Return the second, since 1970 and in UTC, in which the call's first channel was created; 0 if the id has none.

    >>> call_epoch("1651057476.362"), call_epoch("office-1651057476.362"), call_epoch("a1b2")
    (1651057476, 1651057476, 0)
    """
    head, _separator, sequence = call_id.rpartition(".")
    epoch = head if len(head) == EPOCH_DIGITS else head.rpartition("-")[2]
    if len(epoch) != EPOCH_DIGITS or not (epoch.isascii() and epoch.isdecimal() and sequence.isdecimal()):
        return 0
    return int(epoch)


def offset_in_zone(local: datetime, zone: ZoneInfo) -> timedelta:
    """Return the offset of a zone at a wall-clock time; of two in an autumn night, the earlier."""
    return local.replace(tzinfo=zone).utcoffset() or timedelta()


def leg_offsets_in_zone(starts: Sequence[datetime], zone: ZoneInfo) -> list[timedelta]:
    """Return the offset of a zone at the start of each leg of one call. In the hour that comes twice those are chosen
    with which the legs are closest together; where both are, the earlier.
    """
    possible_offsets = [_possible_offsets(local, zone) for local in starts]
    if all(len(offsets) == 1 for offsets in possible_offsets):
        return [offset for (offset,) in possible_offsets]
    possible_times = [
        [to_utc(local, offset) for offset in offsets] for local, offsets in zip(starts, possible_offsets, strict=True)
    ]
    best_times = min(
        (
            [min(time for time in times if time >= first_time) for times in possible_times]
            for first_time in sorted({time for times in possible_times for time in times})
            if all(times[-1] >= first_time for times in possible_times)
        ),
        key=lambda times: (max(times) - min(times), min(times)),
    )
    return [local - time.replace(tzinfo=None) for local, time in zip(starts, best_times, strict=True)]


def _possible_offsets(local: datetime, zone: ZoneInfo) -> list[timedelta]:
    """Return the offsets that a zone may have at a wall clock, that of the earlier time first."""
    first, second = (local.replace(tzinfo=zone, fold=fold).utcoffset() or timedelta() for fold in (0, 1))
    return [first, second] if first > second else [first]


def find_doubts(local: datetime, zone: ZoneInfo) -> tuple[bool, bool]:
    """Return whether a wall clock occurs twice in a zone, as when summer time ends, and whether it never occurs, as
    when it begins.

    >>> find_doubts(datetime(2026, 10, 25, 2, 30), ZoneInfo("Europe/Berlin"))
    (True, False)
    >>> find_doubts(datetime(2026, 3, 29, 2, 30), ZoneInfo("Europe/Berlin"))
    (False, True)
    """
    first, second = (local.replace(tzinfo=zone, fold=fold).utcoffset() or timedelta() for fold in (0, 1))
    return first > second, first < second


@lru_cache(maxsize=OFFSET_CACHE_SIZE)
def format_offset(offset: timedelta) -> str:
    """Format an offset as in ISO 8601.

    >>> format_offset(timedelta(hours=-3, minutes=-30)), format_offset(timedelta())
    ('-03:30', '+00:00')
    """
    minutes = (offset.days * 86_400 + offset.seconds) // 60
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"


def parse_offset(text: str) -> timedelta:
    """Return the offset that `format_offset` wrote.

    >>> parse_offset("-03:30") == timedelta(hours=-3, minutes=-30), parse_offset("+00:00")
    (True, datetime.timedelta(0))
    """
    offset = timedelta(hours=int(text[1:3]), minutes=int(text[4:6]))
    return -offset if text.startswith("-") else offset


def determine_call_offset(
    starts: Sequence[datetime], uids: Sequence[str], epoch: int, zone: ZoneInfo | None
) -> tuple[timedelta, OffsetFrom]:
    """Return the offset when a call began: from any of its `uid`s, else from its earliest leg, else the zone, else UTC.

    `starts` and `uids` are those of its legs, `starts` by the wall clock; `epoch` is the second in `call_id`.
    """
    if zone is not None and (offset := _offset_before_clock_goes_back(starts, epoch, zone)) is not None:
        return offset, "ids"
    for uid in sorted(uids):  # older firmware has a timestamp per leg, and the first leg's is the call's
        offset = offset_from_uid(uid, epoch)
        if offset is not None:
            return offset, "ids"
    first_start = find_first_start(starts, epoch)
    offset = offset_between(first_start, epoch)
    if offset is not None:
        return offset, "ids"
    return (timedelta(), "assumed") if zone is None else (offset_in_zone(first_start, zone), "configured")


def find_first_start(starts: Iterable[datetime], epoch: int) -> datetime:
    """Return the start of a call's first leg by the wall clock: the earliest, but where the clock was put back during
    the call, one that is close to a whole offset after the second in `call_id`.
    """
    return min(starts, key=lambda local: (_drift_seconds(local, epoch) > FIRST_LEG_DRIFT_SECONDS_MAX, local))


def _offset_before_clock_goes_back(starts: Iterable[datetime], epoch: int, zone: ZoneInfo) -> timedelta | None:
    """Return the zone's offset at `epoch` if its clock is put back within the next two seconds and a leg began by it.

    A leg that began just afterwards is then as close to a whole offset, and its wall clock is the earlier one.
    """
    if not epoch:
        return None
    called_at = datetime.fromtimestamp(epoch, zone)
    offset, later_offset = (
        moment.utcoffset() or timedelta()
        for moment in (called_at, datetime.fromtimestamp(epoch + FIRST_LEG_DRIFT_SECONDS_MAX, zone))
    )
    return offset if later_offset < offset and offset in {offset_between(local, epoch) for local in starts} else None


def _drift_seconds(local: datetime, epoch: int) -> int:
    """Return how far a leg began from a whole offset after its call: close to zero for the first leg."""
    drift = (_local_epoch_seconds(local) - epoch) % OFFSET_STEP_SECONDS
    return min(drift, OFFSET_STEP_SECONDS - drift)


def _local_epoch_seconds(local: datetime) -> int:
    """Return a wall clock as if it were in UTC, in seconds since 1970."""
    elapsed = local - _EPOCH
    return elapsed.days * 86_400 + elapsed.seconds


def to_utc(local: datetime, offset: timedelta) -> datetime:
    """Return the UTC time at which a wall clock with this offset shows `local`."""
    return _EPOCH_UTC + (local - _EPOCH - offset)  # four times as fast as setting the zone


def _hour_of_24(hour: int, meridiem: str | None) -> int:
    if meridiem is None:
        return hour
    if not 1 <= hour <= 12:
        raise ValueError(_("an hour with AM or PM is 1 to 12"))
    return hour % 12 + (12 if meridiem in "pP" else 0)
