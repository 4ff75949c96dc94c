"""Who else is told of a made-up PBX's calls: its web API, which knows them all, and its sockets, which get events.

The contract, so that the simulator need not know what stands behind it.
"""

from typing import Protocol

from onhook.cdr.call_details import CallDetails


class SimulationObserver(Protocol):
    """Told in the order in which things happen; it must not wait."""

    def record_made(self, details: CallDetails) -> None:
        """A record was made. The PBX knows it from now on, whatever befalls the report of it."""
        ...

    def record_sent(self, details: CallDetails, body: bytes) -> None:
        """The report of a record goes out, maybe late, again, or spoilt: then `body` is not empty, and is what goes."""
        ...
