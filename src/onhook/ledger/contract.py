"""Contract of the ledger: all raw events, append-only and numbered, until the retention period deletes them. All other
call data is derived from the ledger.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, Protocol

import msgspec


class LedgerEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A raw event before it has a number: the bytes that the PBX sent.

    `received_at` is in microseconds since 1970, UTC. `dialect` names the parser of the body. `key` is equal for exact
    repeats. `signature` is the unchanged header, `peer` the address of the sender; both may be empty. `further_sns` are
    other serial numbers of the same sender, under which an earlier one may have been stored; they are not stored.
    """

    sn: str
    dialect: str
    via: str
    received_at: int
    key: bytes
    body: bytes
    signature: str = ""
    peer: str = ""
    further_sns: tuple[str, ...] = ()


class RawEvent(LedgerEntry, frozen=True, kw_only=True):
    """An entry with its number. Numbers grow and are never reused."""

    seq: int


class RewrittenContent(msgspec.Struct, frozen=True):
    """What an entry is replaced by."""

    dialect: str
    body: bytes


ErasureState = Literal["rewritten", "finished"]
"""`rewritten`: no event has the number any longer, and the files of ledger and application database do not either. The
store may have it in parts of its file that are not in use, until it is made anew: `finished`.
"""

CONTROL_DIALECT = "control"
"""The dialect of control entries, which no PBX has: see `ledger.control_entries`."""

CONTROL_BODY_BYTES_MAX = 1024 * 1024
"""Far more than the facts of a PBX, or the numbers of one deletion."""


AppendOutcome = Literal["new", "duplicate", "deleted", "unavailable"]
"""`duplicate` is an exact repeat of a raw event, `deleted` one of a raw event that was deleted: it is not stored. An
entry that is `unavailable` could not be stored, or not in time: the sender tries again.
"""


REPEAT_DAYS_MIN = 30
"""For at least so long every ledger recognises an exact repeat: PBXs retry for minutes, and people import old files
again. Later ones change no call either: the store recognises its own legs.
"""


class AppendResult(msgspec.Struct, frozen=True):
    """What became of an entry, and its number: a repeat has the number of the first one; 0 where that was deleted, or
    the entry is unavailable.
    """

    seq: int
    outcome: AppendOutcome


class CounterKey(msgspec.Struct, frozen=True):
    """A request that was counted but not stored. `kind` is a verdict of `receiver`, `label` the event type or the
    reason; `sn` may be that of an unknown PBX.
    """

    kind: str
    sn: str
    label: str


class Counter(CounterKey, frozen=True):
    """Number of these requests, the times of the first and the last (microseconds since 1970, UTC), and the address of
    the last sender, empty where it is not known.
    """

    count: int
    first_at: int
    last_at: int
    last_peer: str = ""


class Ledger(Protocol):
    """A durable, numbered log of raw events. Many processes may append and read at the same time."""

    async def append(self, entries: Sequence[LedgerEntry]) -> list[AppendResult]:
        """Append entries in this order, each by itself: a result for each. On return those that are stored survive a
        power failure. An exact repeat is recognised for at least REPEAT_DAYS_MIN; one of a raw event that was stored
        under a further serial number at least where that was deleted or rewritten.

        Raises `Unavailable` when none can be stored now (disk full, locked for too long).
        """
        ...

    async def append_control(self, bodies: Sequence[bytes], *, last_control_seq: int, now_us: int) -> int:
        """Append control entries in this order, up to 1,000 all or none, if the last control entry still has this
        number (0: there is none). Return the number of the last one, or 0 where another one was appended meanwhile: the
        caller reads it and decides anew. `now_us` is in microseconds since 1970, UTC. Raises `Unavailable`.
        """
        ...

    async def control_entries(self, after_seq: int, limit: int) -> list[RawEvent]:
        """Return the next control entries after a number, in order; at most `limit`, fewer where bodies are large, none
        at the end. `read` returns them too.
        """
        ...

    async def last_control_seq(self) -> int:
        """Return the number of the last control entry; 0 where there is none."""
        ...

    async def has_events(self) -> bool:
        """Return whether there is an event of a PBX: an entry that is no control entry."""
        ...

    async def read(self, after_seq: int, limit: int) -> list[RawEvent]:
        """Return the next raw events after a number, in order: at most `limit`, fewer where bodies are large, none at
        the end.
        """
        ...

    async def get(self, seqs: Sequence[int]) -> list[RawEvent]:
        """Return the raw events with these numbers, in order of number; unknown numbers are left out."""
        ...

    async def delete(self, seqs: Sequence[int]) -> None:
        """Delete these raw events, whose retention period is over; the last raw event always stays. An exact repeat of
        a deleted raw event is recognised for ever. Raises `Unavailable` when they cannot be deleted now.
        """
        ...

    async def rewrite(self, contents: Mapping[int, RewrittenContent]) -> None:
        """Replace the contents of entries by their numbers; number, key and times stay, so that a repeat of what a PBX
        sent is recognised as before. The signature goes with what it signed. Raises `Unavailable`.
        """
        ...

    async def erasure_states(self) -> dict[int, ErasureState]:
        """Return how far the control entries `Erased` are, by their numbers, without those that have just begun."""
        ...

    async def set_erasure_state(self, seqs: Iterable[int], state: ErasureState) -> None:
        """Note how far control entries are. Raises `Unavailable`."""
        ...

    async def erasure_position(self) -> int:
        """Return the number up to which all events of calls with an erasure were rewritten."""
        ...

    async def set_erasure_position(self, seq: int) -> None:
        """Note that number. Raises `Unavailable`."""
        ...

    async def overwrite_deleted(self) -> None:
        """Overwrite what was deleted or replaced, so that no bytes of it are left in the files. Raises `Unavailable`
        where a reader is still using some of it.
        """
        ...

    async def last_seq(self) -> int:
        """Return the highest number so far; of an empty ledger the number after which it begins, mostly 0."""
        ...

    async def begin_seq(self) -> int:
        """Return the number after which a ledger begins that replaced a lost one; 0 for any other one."""
        ...

    async def identity(self) -> str:
        """Return what no other ledger has, and each copy of this one: it says nothing about the events."""
        ...

    async def wait(self, after_seq: int, timeout_seconds: float) -> bool:
        """Wait until there is a raw event after a number, by whichever process it was appended; return whether there
        is one. It may return early: a reader waits again. Raises `Unavailable`.
        """
        ...

    async def add_counts(
        self, counts: Mapping[CounterKey, int], now_us: int, peers: Mapping[CounterKey, str] | None = None
    ) -> None:
        """Add to the counters (`now_us` in microseconds since 1970, UTC); `peers` are the addresses of last senders.

        Not durable: a crash may lose the latest counts. Each `kind` has at most 1,000 counters; the least recently
        updated ones are merged under the label `others`.
        """
        ...

    async def subtract_counts(self, counts: Mapping[CounterKey, int]) -> None:
        """Subtract from counters that exist, as of events that are no longer kept; one that falls to 0 is deleted."""
        ...

    async def counters(self) -> list[Counter]:
        """Return the counters, the latest first; where there are more than 1,000, the latest of each kind."""
        ...

    async def close(self) -> None:
        """Close the files or connections."""
        ...
