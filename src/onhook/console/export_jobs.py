"""How far exports have come: by a ticket that a page makes up, so that it can tell of its own download."""

from collections import OrderedDict

import msgspec

TICKETS_MAX = 64
"""Remembered at once; far more than exports that are made. The oldest goes."""


class ExportProgress(msgspec.Struct, frozen=True):
    """How much was handed over, and whether that was all; `is_broken` where it ended before its end. It has not begun
    where nobody came with the ticket yet."""

    sent_bytes: int = 0
    has_begun: bool = True
    is_done: bool = False
    is_broken: bool = False


class ExportJobs:
    """Progress by ticket."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, ExportProgress] = OrderedDict()

    def note(self, ticket: str, progress: ExportProgress) -> None:
        """Keep how far an export has come; without a ticket nobody asks."""
        if not ticket:
            return
        self._known[ticket] = progress
        while len(self._known) > TICKETS_MAX:
            self._known.popitem(last=False)

    def of(self, ticket: str) -> ExportProgress:
        """How far it has come."""
        return self._known.get(ticket) or ExportProgress(has_begun=False)
