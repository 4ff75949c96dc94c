"""The contract of an archive: the calls that a PBX keeps itself, as reports that say the same.

Whoever reads it knows neither the PBX nor how it keeps them: a window goes in, calls come out, each with all its legs.
"""

from collections.abc import Callable, Iterator
from datetime import datetime

import msgspec

from onhook.pbx.client import TimeWindow


class UnparsedLine(msgspec.Struct, frozen=True):
    """A line that says no call: where it stands, why, and the line itself, where it has one."""

    location: str
    reason: str
    line: str = ""


class ArchivedCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call as an archive has it: the body that says it, and when it began and ended, in UTC, where its id tells."""

    body: bytes
    began_at: datetime | None
    ended_at: datetime | None


CdrArchive = Callable[[TimeWindow], Iterator[ArchivedCall | UnparsedLine]]
"""The calls of a window, by when they began, and perhaps others; the first is the oldest that the archive has, or older
than the window. Raises `OnhookError`."""
