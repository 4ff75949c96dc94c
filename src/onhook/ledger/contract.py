"""Contract of the ledger: all raw events, append-only and numbered, until the retention period deletes them. All other
call data is derived from the ledger.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

import msgspec


class LedgerEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A raw event before it has a number: the bytes that the PBX sent.

    `received_at` is in microseconds since 1970, UTC. `dialect` names the parser of the body. `key` is equal for exact
    repeats. `signature` is the unchanged header, `peer` the address of the sender; both may be empty.
    """

    sn: str
    dialect: str
    via: str
    received_at: int
    key: bytes
    body: bytes
    signature: str = ""
    peer: str = ""


class RawEvent(LedgerEntry, frozen=True, kw_only=True):
    """An entry with its number. Numbers grow and are never reused."""

    seq: int


AppendOutcome = Literal["new", "duplicate", "deleted"]
"""`duplicate` is an exact repeat of a raw event, `deleted` one of a raw event that was deleted: it is not stored."""


class AppendResult(msgspec.Struct, frozen=True):
    """What became of an entry, and its number: a repeat has the number of the first one, or 0 where that was
    deleted.
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
    """Number of these requests, and the times of the first and the last (microseconds since 1970, UTC)."""

    count: int
    first_at: int
    last_at: int


class Ledger(Protocol):
    """A durable, numbered log of raw events. Many processes may append and read at the same time."""

    async def append(self, entries: Sequence[LedgerEntry]) -> list[AppendResult]:
        """Append all entries in this order, or none. On return they survive a power failure.

        Raises `Unavailable` when they cannot be stored now (disk full, locked for too long).
        """
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

    async def last_seq(self) -> int:
        """Return the highest number so far; of an empty ledger the number after which it begins, mostly 0."""
        ...

    async def wait(self, after_seq: int, timeout_seconds: float) -> bool:
        """Wait until there is a raw event after a number, by whichever process it was appended; return whether there
        is one. It may return early: a reader waits again. Raises `Unavailable`.
        """
        ...

    async def add_counts(self, counts: Mapping[CounterKey, int], now_us: int) -> None:
        """Add to the counters (`now_us` in microseconds since 1970, UTC).

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
