"""The contract of every dialect: how one kind of PBX says that a call ended.

`peek` is quick and never fails: intake calls it before anybody knows whether the sender may speak.
`parse` is thorough: the projector calls it on what was kept. `format` makes the bytes that such a PBX would send.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

import msgspec

from onhook.cdr.call_details import CallDetails

EnvelopeKind = Literal["details", "other_event", "test_message", "unparsable", "not_json"]


class Envelope(msgspec.Struct, frozen=True):
    """What intake needs to know of a body before it is verified.

    `sn` is empty where the body names none. `label` names the event for the counts, such as `30012`.
    `key` (16 bytes) is equal for exact repeats of one report and different for all others; its first four bytes
    grow with the time of the call, so that neighbours in time are neighbours in an index.
    `not_json` is a body that is nothing like a report at all; `unparsable` one that seems to mean a call.
    """

    kind: EnvelopeKind
    sn: str
    label: str
    key: bytes


class Dialect(Protocol):
    """One kind of PBX."""

    name: str
    """What the ledger calls this dialect; never changed once a report was kept under it."""

    def peek(self, body: bytes) -> Envelope:
        """Tell what a body seems to be; whatever the bytes, it returns and stays within microseconds."""
        ...

    def parse(self, body: bytes) -> Sequence[CallDetails]:
        """All call details that a kept body says. Raises `ParseError` with a reason that a person can act on."""
        ...

    def format(self, details: CallDetails, sn: str, payload_format: str) -> bytes:
        """The body of the event that says these details, shaped as `payload_format`. Raises `UsageError` for
        another."""
        ...


Dialects = Mapping[str, Dialect]
"""By name."""
