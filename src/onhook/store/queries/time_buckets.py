"""Starts of hours, days, weeks and months by the clock of a zone, clock changes included."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from onhook.store.queries.zones import ZoneOffset, list_offsets
from onhook.store.rows import epoch_seconds


def boundaries(by: str, zone: ZoneInfo, since: int, until: int) -> Iterator[int]:
    """Yield the seconds since 1970 at which an hour, day, week or month begins after `since`, about up to `until`; in
    order.

    `all` has none. Weeks begin on Monday.
    """
    if by == "hour":
        yield from _hour_starts(list_offsets(zone, since, until), until)
    elif by != "all":
        yield from _day_starts(by, zone, since, until)


def _hour_starts(zone_offsets: list[ZoneOffset], until: int) -> Iterator[int]:
    """Yield full hours by the wall clock. A change of half an hour begins an hour of its own."""
    for index, offset in enumerate(zone_offsets):
        end = zone_offsets[index + 1].since if index + 1 < len(zone_offsets) else until
        second = offset.since
        while second < end:
            yield second
            second += 3600 - (second + offset.seconds) % 3600


def _day_starts(by: str, zone: ZoneInfo, since: int, until: int) -> Iterator[int]:
    day = _local_date(zone, since)
    last_day = _local_date(zone, until)
    while day < last_day:
        day = _next_start(by, day)
        yield epoch_seconds(datetime.combine(day, time(), zone).astimezone(UTC))


def _next_start(by: str, day: date) -> date:
    if by == "month":
        return date(day.year + day.month // 12, day.month % 12 + 1, 1)
    return day + timedelta(days=7 - day.weekday() if by == "week" else 1)


def _local_date(zone: ZoneInfo, second: int) -> date:
    return datetime.fromtimestamp(second, UTC).astimezone(zone).date()
