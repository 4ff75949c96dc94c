"""Contract of an observer of a simulated PBX's calls: its web API, which knows all calls, and its sockets.

The simulator does not depend on the implementation.
"""

from typing import Protocol

from onhook.cdr.call_details import CallDetails


class SimulationObserver(Protocol):
    """Called in the order of events; must not wait."""

    def record_made(self, details: CallDetails) -> None:
        """A record was made. The PBX knows it from now on, whatever the faults of its event."""
        ...

    def record_sent(self, details: CallDetails, body: bytes) -> None:
        """The event of a record is sent, maybe late, again, or corrupted: then `body` is not empty, and is sent."""
        ...
