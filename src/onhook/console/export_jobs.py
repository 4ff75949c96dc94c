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
        self._progress_by_ticket: OrderedDict[str, ExportProgress] = OrderedDict()

    def update(self, ticket: str, progress: ExportProgress) -> None:
        """Keep how far an export has come; without a ticket nobody asks."""
        if not ticket:
            return
        self._progress_by_ticket[ticket] = progress
        while len(self._progress_by_ticket) > TICKETS_MAX:
            self._progress_by_ticket.popitem(last=False)

    def get(self, ticket: str) -> ExportProgress:
        """How far it has come."""
        return self._progress_by_ticket.get(ticket) or ExportProgress(has_begun=False)
