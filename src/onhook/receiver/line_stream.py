"""The lines of one connection, from bytes to the ledger.

Invariants: a line counts as received once it is on disk. There is no acknowledgement, so nothing further is read
before: while the ledger cannot be written, the connection waits, and so does the PBX. What is no line of a PBX ends the
connection, and is not stored.
"""

import asyncio
import time
from collections.abc import Sequence
from itertools import takewhile
from typing import Final

from onhook.cdr.merge import LINE
from onhook.pbx.dialect import LineDialect
from onhook.pbx.lines import LineSplitter
from onhook.receiver.ingest import Ingestor
from onhook.receiver.pbx_registry import RegisteredPbx
from onhook.receiver.verdict import Verdict

READ_BYTES: Final = 64 * 1024
"""Some two hundred lines, which are committed together."""

PARTIAL_SECONDS_MAX: Final = 30.0
"""A line that has begun ends after so much silence: a PBX may write the end of each line before the next one."""

RETRY_SECONDS: Final = 0.5
"""Wait between two attempts to store a line: no event signals a writable disk."""

_RETRIED_VERDICTS: Final = frozenset({"unavailable", "too_many"})


class LineStream:
    """One connection, of a PBX that is known by it. `peer` is the address of the other side."""

    def __init__(
        self,
        *,
        pbx: RegisteredPbx,
        dialect: LineDialect,
        ingestor: Ingestor,
        peer: str,
        partial_seconds_max: float = PARTIAL_SECONDS_MAX,
    ) -> None:
        self.pbx = pbx
        self.peer = peer
        self.used_at = time.monotonic()
        """When bytes last arrived."""
        self._dialect = dialect
        self._ingestor = ingestor
        self._partial_seconds_max = partial_seconds_max
        self._splitter = LineSplitter()
        self._is_storing = False

    @property
    def is_idle(self) -> bool:
        """Return whether nothing of a line was received that is not stored."""
        return not (self._is_storing or self._splitter.has_partial_line)

    async def run(self, reader: asyncio.StreamReader) -> None:
        """Store lines until the connection ends, or something else than a line arrives. What the end of the connection
        ends is a line too.
        """
        while (chunk := await self._read(reader)) != b"":
            lines = self._splitter.flush() if chunk is None else self._splitter.feed(chunk)
            if not await self._accept(lines):
                return
            if self._splitter.is_overlong:
                self._reject("too_large")
                return
        await self._accept(self._splitter.flush())

    async def _read(self, reader: asyncio.StreamReader) -> bytes | None:
        """Return the next bytes, empty at the end of the connection, or None after silence within a line."""
        try:
            async with asyncio.timeout(self._partial_seconds_max if self._splitter.has_partial_line else None):
                chunk = await reader.read(READ_BYTES)
        except TimeoutError:
            return None
        except OSError:
            return b""
        self.used_at = time.monotonic()
        return chunk

    async def _accept(self, lines: Sequence[bytes]) -> bool:
        """Store lines up to the first that is none; return whether all are lines."""
        call_lines = list(takewhile(self._dialect.is_line, lines))
        self._is_storing = True
        await self._store(call_lines)
        self._is_storing = False
        if len(call_lines) < len(lines):
            self._reject("not_an_event")
            return False
        return True

    async def _store(self, lines: Sequence[bytes]) -> None:
        """Return when all lines are on disk, however long the ledger takes."""
        pending = list(lines)
        while pending:
            verdicts = await asyncio.gather(
                *(self._ingestor.ingest(self.pbx, line, LINE, self.peer) for line in pending)
            )
            pending = [line for line, verdict in zip(pending, verdicts, strict=True) if verdict in _RETRIED_VERDICTS]
            if pending:
                await asyncio.sleep(RETRY_SECONDS)

    def _reject(self, verdict: Verdict) -> None:
        self._ingestor.count_verdict(verdict, sn=self.pbx.sn, peer=self.peer)
