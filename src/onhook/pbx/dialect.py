"""The contract of a dialect: how one kind of PBX reports that a call ended.

`peek` is fast and never fails: the intake calls it before the sender is verified. `parse` is thorough: the projector
calls it on stored bodies. `format` returns the bytes that such a PBX would send.
"""

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, Protocol

import msgspec

from onhook.cdr.call_details import CallDetails
from onhook.cdr.leg_joining import LegLinks

EnvelopeKind = Literal["details", "other_event", "test_message", "unparsable", "not_json"]


class Envelope(msgspec.Struct, frozen=True):
    """The facts about a body that the intake needs before verification.

    `sn` is empty if the body contains none. `label` names the event for the counts, such as `30012`. `key` (16 bytes)
    is equal for exact repeats of one event and different for all others; its first four bytes grow with the time of the
    call, so that neighbours in time are neighbours in an index. `not_json` is a body unlike any event; `unparsable` is
    one that seems to contain a call.
    """

    kind: EnvelopeKind
    sn: str
    label: str
    key: bytes


class PartlyParsedCalls(list[CallDetails]):
    """The calls of a body of which other parts could not be parsed; `reason` says why. They are calls, and the raw
    event is in the quarantine besides.
    """

    def __init__(self, details: Iterable[CallDetails], reason: str) -> None:
        super().__init__(details)
        self.reason = reason


class Dialect(Protocol):
    """One kind of PBX."""

    name: str
    """Name of this dialect in the ledger; never changed once an event was stored under it."""

    def peek(self, body: bytes) -> Envelope:
        """Classify a body. Never raises, whatever the bytes, and takes microseconds."""
        ...

    def parse(self, body: bytes) -> Sequence[CallDetails]:
        """Return all call details in a stored body, as `PartlyParsedCalls` if a part of it has none. Raises
        `ParseError`, with a reason that a user can act on, if all of it has none.
        """
        ...

    def format(self, details: CallDetails, sn: str, payload_format: str) -> bytes:
        """Return the event body with these details in the given payload format. Raises `UsageError` for an
        unknown format.
        """
        ...


class LegDialect(Dialect):
    """A kind of PBX that reports each leg by itself: a leg is a raw event, and a call is made of several. A leg names
    no PBX and has no signature, so that its sender is identified before `peek`, by address, path or password.

    Its classes inherit from it: `isinstance` by the methods of a protocol takes longer than to parse an event.
    """

    @abstractmethod
    def recognizes(self, body: bytes) -> bool:
        """Return whether a body seems to contain a leg, readable or not: a look at the first bytes."""

    @abstractmethod
    def read_links(self, body: bytes) -> LegLinks:
        """Return what the leg in a body says about others. Raises `ParseError`."""

    @abstractmethod
    def parse_legs(self, bodies: Sequence[bytes]) -> Sequence[CallDetails]:
        """Return the call details of the legs of one call, in any order, with any repeats. Raises `ParseError`."""


class LineDialect(Dialect):
    """A kind of PBX that writes lines of text to a connection, one event in each. A line names no PBX and has no
    signature: its sender is identified by the connection. Its classes inherit from it, as those of `LegDialect`.
    """

    @abstractmethod
    def is_line(self, line: bytes) -> bool:
        """Return whether bytes seem to be a line of such a PBX, readable or not, and not of another program."""


class FileDialect(Dialect):
    """A kind of PBX that leaves files with rows of many calls, and sends nothing. Its classes inherit from it, as those
    of `LegDialect`.
    """

    @abstractmethod
    def is_file(self, content: bytes) -> bool:
        """Return whether the content of a file is one of such a PBX: a look at its begin."""

    @abstractmethod
    def split_file(self, content: bytes) -> Iterable[bytes]:
        """Return the bodies of the raw events of such a file, the same for the same content; one may have none."""


class OrderedDialect(Dialect):
    """A kind of PBX whose values have no names in its events: their order is a setting of the PBX. Its classes inherit
    from it, as those of `LegDialect`.
    """

    @abstractmethod
    def parse_in_order(self, body: bytes, order: Sequence[str]) -> Sequence[CallDetails]:
        """Return what `parse` returns, of a body with values in this order. Raises `ParseError`."""


Dialects = Mapping[str, Dialect]
"""Dialects by name."""
