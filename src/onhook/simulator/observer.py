"""Contract of an observer of a simulated PBX's calls: its web API and its sockets.

The simulator does not depend on the implementation.
"""

from typing import Protocol

from onhook.cdr.call_details import CallDetails


class SimulationObserver(Protocol):
    """Observer that is called in the order of events and must not wait."""

    def record_made(self, details: CallDetails) -> None:
        """Add a record. The PBX knows it from now on, whatever the faults of its event."""
        ...

    def record_sent(self, details: CallDetails, body: bytes) -> None:
        """Handle the event of a record, which may be late, a repeat or corrupted; a `body` that is not empty
        replaces it.
        """
        ...
