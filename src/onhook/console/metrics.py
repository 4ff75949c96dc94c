"""Counters of the console, for `/metrics`."""


class ResponseCounters:
    """Responses by status; bounded, because there are few statuses."""

    def __init__(self) -> None:
        self._counts_by_status: dict[int, int] = {}

    def record_response(self, status: int) -> None:
        """Count one response."""
        self._counts_by_status[status] = self._counts_by_status.get(status, 0) + 1

    def counts_by_status(self) -> dict[int, int]:
        """Return the number of responses by status, since the start."""
        return dict(sorted(self._counts_by_status.items()))
