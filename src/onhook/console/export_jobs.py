"""Progress of exports, by a ticket that the page generates for its download."""

from collections import OrderedDict

import msgspec

TICKETS_MAX = 64
"""Far more than concurrent exports. The oldest is removed."""


class ExportProgress(msgspec.Struct, frozen=True):
    """Records written, and whether the export is complete; `is_broken` where it ended early. An unknown ticket has not
    begun.
    """

    sent_bytes: int = 0
    has_begun: bool = True
    is_done: bool = False
    is_broken: bool = False


class ExportJobs:
    """Progress by ticket."""

    def __init__(self) -> None:
        self._progress_by_ticket: OrderedDict[str, ExportProgress] = OrderedDict()

    def update(self, ticket: str, progress: ExportProgress) -> None:
        """Store the progress of an export; nothing without a ticket."""
        if not ticket:
            return
        self._progress_by_ticket[ticket] = progress
        while len(self._progress_by_ticket) > TICKETS_MAX:
            self._progress_by_ticket.popitem(last=False)

    def get(self, ticket: str) -> ExportProgress:
        """Return the progress."""
        return self._progress_by_ticket.get(ticket) or ExportProgress(has_begun=False)
