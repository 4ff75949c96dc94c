"""The contract of the ledger: every report, append-only, numbered; the truth, as long as it is to be kept."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec


class LedgerEntry(msgspec.Struct, frozen=True, kw_only=True):
    """What a PBX said, as its bytes came.

    `received_at` is in microseconds since 1970, UTC. `dialect` says who can read the body. `key` is equal for exact
    repeats. `signature` is the header as it came, `peer` the address that spoke; both may be empty.
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
    """An entry with its number. Numbers grow; a number once given is never given again."""

    seq: int


class AppendResult(msgspec.Struct, frozen=True):
    """Under which number an entry stands, and whether it is new: an exact repeat has the number of the first."""

    seq: int
    is_new: bool


class CounterKey(msgspec.Struct, frozen=True):
    """Something that happened at the door and was not kept: `kind` is a verdict of `receiver`, `label` the event
    type or the reason; `sn` may be that of a stranger."""

    kind: str
    sn: str
    label: str


class Counter(CounterKey, frozen=True):
    """How often a mark was made, and when first and last (microseconds since 1970, UTC)."""

    count: int
    first_at: int
    last_at: int


class Ledger(Protocol):
    """Durable and numbered. Many may append and read at once, from many processes."""

    async def append(self, entries: Sequence[LedgerEntry]) -> list[AppendResult]:
        """Keep all of them in this order, durably, or none: on return they survive a power cut.

        Raises `Unavailable` when they cannot be kept now (disk full, locked for too long).
        """
        ...

    async def read(self, after_seq: int, limit: int) -> list[RawEvent]:
        """The next reports after a number, in order, at most `limit`, fewer where bodies are large; none at the end."""
        ...

    async def get(self, seqs: Sequence[int]) -> list[RawEvent]:
        """The reports with these numbers, in order of number; unknown numbers are left out."""
        ...

    async def delete(self, seqs: Sequence[int]) -> None:
        """Delete these reports, which are older than they are to be kept; never the last one. An exact repeat of one of
        them would be new. Raises `Unavailable` when that cannot be done now."""
        ...

    async def last_seq(self) -> int:
        """The highest number so far; 0 when empty."""
        ...

    async def add_counts(self, counts: Mapping[CounterKey, int], now_us: int) -> None:
        """Add to the tallies how often each mark was made (`now_us` in microseconds since 1970, UTC).

        Less than durable: a crash may lose the latest. Under one `kind` at most 1,000 are kept apart; the longest
        silent ones are added up under the label `others`.
        """
        ...

    async def counters(self) -> list[Counter]:
        """All tallies, the latest first, at most 1,000."""
        ...

    async def close(self) -> None:
        """Let go of the files or connections."""
        ...
