"""The contract of a connection that Onhook opens to a PBX, and over which the PBX reports calls as they end.

A connection is a state machine: input is received bytes and the time, output is raw events to store and bytes to send.
The caller does the input and output, reconnects when the connection ends, and does not depend on the PBX.
"""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from onhook.cdr.queue_states import QueueState
from onhook.pbx.client import NumberName


class ClockReading(msgspec.Struct, frozen=True):
    """One reading of two clocks: monotonic seconds, and Unix seconds in UTC."""

    monotonic_seconds: float
    unix_seconds: float


class ConnectionUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """The result of received bytes or of elapsed time.

    `raw_events` are bodies to store, in order. `is_ready` is true once: the login succeeded and the PBX reports every
    call from now on. `end_reason` says why the connection is no longer usable, `is_refused` that the PBX rejected the
    login, so that an early retry would do harm. `log_messages` are sentences for the log. `detected_config`, if not
    empty, is passed to the next connection to this PBX. `names` are those of all numbers of the PBX, None where they
    were not read.
    """

    raw_events: tuple[bytes, ...] = ()
    is_ready: bool = False
    end_reason: str = ""
    is_refused: bool = False
    log_messages: tuple[str, ...] = ()
    detected_config: str = ""
    names: tuple[NumberName, ...] | None = None


class ConnectionProtocol(Protocol):
    """One connection to one PBX."""

    via: str
    """Name of this channel in the ledger."""

    def receive_data(self, data: bytes, now: ClockReading) -> ConnectionUpdate:
        """Handle received bytes. Never raises, whatever the bytes."""
        ...

    def on_tick(self, now: ClockReading) -> ConnectionUpdate:
        """Handle the passing of time; called about once a second."""
        ...

    def data_to_send(self) -> bytes:
        """Return the bytes to send now; empty if there are none."""
        ...

    def connection_lost(self) -> tuple[bytes, ...]:
        """Handle the loss of the connection; return the raw events of everything received and not yet returned."""
        ...

    def pending_since(self) -> float | None:
        """Return the monotonic time at which the oldest data not yet returned was received; None if there is none."""
        ...

    def queue_states(self, now: ClockReading) -> Sequence[QueueState] | None:
        """Return the queues with their callers at this moment; None while the PBX does not report them."""
        ...
