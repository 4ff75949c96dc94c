"""Hours of each day in which a person is not to be disturbed. Pure."""

from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec


class QuietHours(msgspec.Struct, frozen=True, kw_only=True):
    """From the hour `begin`, included, to `end`, excluded, as clocks show them in a zone; over midnight where it begins
    later than it ends. Equal ones are no hours.
    """

    begin: int = 0
    end: int = 0
    zone: str = "UTC"

    def contains(self, time: datetime) -> bool:
        """Return whether a time is one of these hours.

        >>> night = QuietHours(begin=22, end=7, zone="Europe/Berlin")
        >>> [night.contains(datetime.fromisoformat(f"2026-07-01T{hour}:30+02:00")) for hour in ("21", "22", "06", "07")]
        [False, True, True, False]
        """
        hour = time.astimezone(ZoneInfo(self.zone)).hour
        if self.begin <= self.end:
            return self.begin <= hour < self.end
        return hour >= self.begin or hour < self.end
