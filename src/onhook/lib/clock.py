"""The current time: the only place that reads the system clock."""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """A source of the current time; tests pass one that they move themselves."""

    def microseconds(self) -> int:
        """Return the microseconds since 1970-01-01, UTC."""
        ...

    def now(self) -> datetime:
        """Return the same time as an aware datetime in UTC."""
        ...


class SystemClock:
    """The system clock."""

    def microseconds(self) -> int:
        return time.time_ns() // 1000

    def now(self) -> datetime:
        return datetime.now(UTC)
