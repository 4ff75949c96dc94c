"""The contract of a conversation: a PBX that we connect to ourselves, and that tells of calls as they end.

A conversation is a state machine: it is given the bytes that came and the time, and answers with reports to be kept and
bytes to be sent. Whoever runs it does the input and output, connects again when it ends, and knows nothing of the PBX.
"""

from typing import Protocol

import msgspec


class ClockReading(msgspec.Struct, frozen=True):
    """One moment: seconds of a clock that only goes forward, and seconds since 1970, UTC."""

    monotonic_seconds: float
    unix_seconds: float


class ConnectionUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """What came of some bytes, or of some time that passed.

    `raw_events` are bodies to be kept, in order. `is_ready` is true once: the PBX has let us in and tells of every call
    from now on. `end_reason` says why the connection is of no more use, and `is_refused` that the PBX does not want us,
    so that trying again soon would do harm. `log_messages` are sentences for the log. `detected_config`, where it is
    not empty, is to be told to the next conversation with this PBX.
    """

    raw_events: tuple[bytes, ...] = ()
    is_ready: bool = False
    end_reason: str = ""
    is_refused: bool = False
    log_messages: tuple[str, ...] = ()
    detected_config: str = ""


class ConnectionProtocol(Protocol):
    """One connection to one PBX."""

    via: str
    """What the ledger calls this way in."""

    def receive_data(self, data: bytes, now: ClockReading) -> ConnectionUpdate:
        """What these bytes say; whatever they are, it returns."""
        ...

    def on_tick(self, now: ClockReading) -> ConnectionUpdate:
        """What the passing of time brings: to be asked about once a second."""
        ...

    def data_to_send(self) -> bytes:
        """What is to be sent now; empty where nothing is."""
        ...

    def connection_lost(self) -> tuple[bytes, ...]:
        """The connection is gone: the reports of all that was heard and not handed out yet."""
        ...

    def pending_since(self) -> float | None:
        """When, by the running clock, the oldest thing was heard that is not handed out yet; None where nothing is."""
        ...
