"""Where hours, days, weeks and months begin by the clocks of a zone, also where clocks are changed."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from onhook.store.queries.zones import Offset, offsets
from onhook.store.rows import seconds


def boundaries(by: str, zone: ZoneInfo, since: int, until: int) -> Iterator[int]:
    """The seconds since 1970 at which an hour, day, week or month begins after `since`, about up to `until`; in order.

    `all` has none. Weeks begin on Monday.
    """
    if by == "hour":
        yield from _hours(offsets(zone, since, until), until)
    elif by != "all":
        yield from _days(by, zone, since, until)


def _hours(known: list[Offset], until: int) -> Iterator[int]:
    """Full hours by the wall clock. A clock that is changed by half an hour begins an hour of its own."""
    for place, offset in enumerate(known):
        end = known[place + 1].since if place + 1 < len(known) else until
        at = offset.since
        while at < end:
            yield at
            at += 3600 - (at + offset.seconds) % 3600


def _days(by: str, zone: ZoneInfo, since: int, until: int) -> Iterator[int]:
    day = _local(zone, since)
    last = _local(zone, until)
    while day < last:
        day = _next(by, day)
        yield seconds(datetime.combine(day, time(), zone).astimezone(UTC))


def _next(by: str, day: date) -> date:
    if by == "month":
        return date(day.year + day.month // 12, day.month % 12 + 1, 1)
    return day + timedelta(days=7 - day.weekday() if by == "week" else 1)


def _local(zone: ZoneInfo, at: int) -> date:
    return datetime.fromtimestamp(at, UTC).astimezone(zone).date()
