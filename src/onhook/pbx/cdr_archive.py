"""The contract of a CDR archive: calls from a PBX's own storage, converted to raw events.

The reader depends neither on the PBX nor on its storage: it passes a time window and gets calls, each with all its
legs.
"""

from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime

import msgspec

from onhook.pbx.client import TimeWindow


class UnparsedLine(msgspec.Struct, frozen=True):
    """A line that contains no call: its location, the reason, and its text, escaped, if there is any; `hint` is what to
    do at the PBX where the reason is there.
    """

    location: str
    reason: str
    line: str = ""
    hint: str = ""


class ArchivedCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call from an archive: its raw event body, and its start and end in UTC if the call id contains them."""

    body: bytes
    began_at: datetime | None
    ended_at: datetime | None


CdrArchive = Callable[[TimeWindow], Awaitable[Iterator[ArchivedCall | UnparsedLine]]]
"""Return the calls that began in a window, and possibly others. The first call is the oldest one in the archive, or
older than the window. Iterating blocks: it runs in a thread. Raises `OnhookError`.
"""
