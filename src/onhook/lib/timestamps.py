"""Times as stored: whole microseconds since 1970, UTC; and as a reader sees them, in a zone."""

from datetime import UTC, datetime, timedelta, tzinfo

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_datetime(microseconds: int) -> datetime:
    """Return the time this many microseconds after 1970."""
    return _EPOCH + timedelta(microseconds=microseconds)


def to_microseconds(time: datetime) -> int:
    """Return the microseconds since 1970; exact, as a float would not be."""
    return (time - _EPOCH) // _MICROSECOND


def format_time(time: datetime, zone: tzinfo) -> str:
    """Return a time in the reader's zone, to the second, with its offset.

    >>> format_time(to_datetime(1777309480_000_000), UTC)
    '2026-04-27 17:04:40+00:00'
    """
    return time.astimezone(zone).isoformat(sep=" ", timespec="seconds")
