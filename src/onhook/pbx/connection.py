"""The contract of a conversation: a PBX that we connect to ourselves, and that tells of calls as they end.

A conversation is a state machine: it is given the bytes that came and the time, and answers with reports to be kept and
bytes to be sent. Whoever runs it does the input and output, connects again when it ends, and knows nothing of the PBX.
"""

from typing import Protocol

import msgspec


class Now(msgspec.Struct, frozen=True):
    """One moment: seconds of a clock that only goes forward, and seconds since 1970, UTC."""

    running: float
    epoch: float


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """What came of some bytes, or of some time that passed.

    `reports` are bodies to be kept, in order. `is_ready` is true once: the PBX has let us in and tells of every call
    from now on. `ended` says why the connection is of no more use, and `is_refused` that the PBX does not want us, so
    that trying again soon would do harm. `news` are sentences for the log. `learned`, where it is not empty, is to be
    told to the next conversation with this PBX.
    """

    reports: tuple[bytes, ...] = ()
    is_ready: bool = False
    ended: str = ""
    is_refused: bool = False
    news: tuple[str, ...] = ()
    learned: str = ""


class Conversation(Protocol):
    """One connection to one PBX."""

    via: str
    """What the ledger calls this way in."""

    def received(self, data: bytes, now: Now) -> Heard:
        """What these bytes say; whatever they are, it returns."""
        ...

    def ticked(self, now: Now) -> Heard:
        """What the passing of time brings: to be asked about once a second."""
        ...

    def to_send(self) -> bytes:
        """What is to be sent now; empty where nothing is."""
        ...

    def cut(self) -> tuple[bytes, ...]:
        """The connection is gone: the reports of all that was heard and not handed out yet."""
        ...

    def held_since(self) -> float | None:
        """When, by the running clock, the oldest thing was heard that is not handed out yet; None where nothing is."""
        ...
