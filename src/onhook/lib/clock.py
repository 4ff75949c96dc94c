"""What time it is: the only place that asks the machine."""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Anything that knows the time; tests hand in one that they move themselves."""

    def microseconds(self) -> int:
        """Microseconds since 1970-01-01, UTC."""
        ...

    def now(self) -> datetime:
        """The same moment as an aware datetime in UTC."""
        ...


class SystemClock:
    """The machine's own clock."""

    def microseconds(self) -> int:
        """Microseconds since 1970-01-01, UTC."""
        return time.time_ns() // 1000

    def now(self) -> datetime:
        """The moment as an aware datetime in UTC."""
        return datetime.now(UTC)
