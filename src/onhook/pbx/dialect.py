"""The contract of every dialect: how one kind of PBX says that a call ended.

`glance` is quick and never fails: intake calls it before anybody knows whether the sender may speak.
`read` is thorough: the projector calls it on what was kept. `write` makes the bytes that such a PBX would send.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

import msgspec

from onhook.cdr.call_details import CallDetails

Kind = Literal["details", "other", "test", "unreadable", "rubbish"]


class Glance(msgspec.Struct, frozen=True):
    """What intake needs to know of a body before it is verified.

    `sn` is empty where the body names none. `label` names the event for the counts, such as `30012`.
    `key` (16 bytes) is equal for exact repeats of one report and different for all others; its first four bytes
    grow with the time of the call, so that neighbours in time are neighbours in an index.
    `rubbish` is a body that is nothing like a report at all; `unreadable` one that seems to mean a call.
    """

    kind: Kind
    sn: str
    label: str
    key: bytes


class Dialect(Protocol):
    """One kind of PBX."""

    name: str
    """What the ledger calls this dialect; never changed once a report was kept under it."""

    def glance(self, body: bytes) -> Glance:
        """Tell what a body seems to be; whatever the bytes, it returns and stays within microseconds."""
        ...

    def read(self, body: bytes) -> Sequence[CallDetails]:
        """All call details that a kept body says. Raises `Unreadable` with a reason that a person can act on."""
        ...

    def write(self, details: CallDetails, sn: str, profile: str) -> bytes:
        """The body of the event that says these details, shaped as `profile`. Raises `UsageError` for another."""
        ...


Dialects = Mapping[str, Dialect]
"""By name."""
