"""Group commit: while one batch of reports goes to disk, the next one gathers. Many reports, one fsync.

Laws: nobody is answered before the ledger has committed; everybody is answered, whatever the ledger does; what waits is
bounded in number and bytes.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from onhook.ledger.contract import AppendResult, Ledger, LedgerEntry
from onhook.lib.errors import OnhookError

BATCH_ROWS_MAX = 512
"""Reports in one commit: past a few hundred the fsync's share is small, and a commit should not keep others waiting."""

BATCH_BYTES_MAX = 4 * 1024 * 1024
"""Bytes of bodies in one commit: as long as a slow disk takes for them, everybody waits."""

QUEUE_ROWS_MAX = 10_000
"""Reports that wait for a commit; at some thousands per second this is what a PBX's time-out of 3 seconds can bear."""

QUEUE_BYTES_MAX = 32 * 1024 * 1024
"""Their bodies: intake's memory stays bounded when the disk stands still."""

CommitCallback = Callable[[AppendResult | None], None]
"""Is told how an entry ended: its number, or None when it could not be kept. Must not raise."""


class GroupCommitter:
    """Hands entries to the ledger in batches, one batch at a time, in the order in which they came.

    `tell_trouble` is told the error when the ledger begins to fail, and None when it works again.
    """

    def __init__(self, *, ledger: Ledger, tell_trouble: Callable[[OnhookError | None], None]) -> None:
        self._ledger = ledger
        self._tell_trouble = tell_trouble
        self._waiting: deque[tuple[LedgerEntry, CommitCallback]] = deque()
        self._waiting_bytes = 0
        self._running: asyncio.Task[None] | None = None
        self.is_working = True

    def put(self, entry: LedgerEntry, settle: CommitCallback) -> bool:
        """Queue an entry; False, and `settle` is never called, when too many wait already."""
        if len(self._waiting) >= QUEUE_ROWS_MAX or self._waiting_bytes >= QUEUE_BYTES_MAX:
            return False
        self._waiting.append((entry, settle))
        self._waiting_bytes += len(entry.body)
        if self._running is None:
            self._running = self._start()
        return True

    async def drained(self) -> None:
        """Return when everything that was queued has been settled."""
        while self._running is not None:
            await asyncio.wait([self._running])

    def note(self, trouble: OnhookError | None) -> None:
        """Remember whether the ledger can be written, and tell when that changes."""
        is_working = trouble is None
        if is_working is not self.is_working:
            self.is_working = is_working
            self._tell_trouble(trouble)

    def _start(self) -> asyncio.Task[None]:
        """The task begins after this round of the loop: what arrived together is committed together."""
        return asyncio.get_running_loop().create_task(self._commit_all())

    async def _commit_all(self) -> None:
        try:
            while self._waiting:
                await self._commit(self._next_batch())
        finally:
            # Only an error that nobody foresaw leaves some waiting; it must not leave them waiting for good.
            self._running = self._start() if self._waiting else None

    def _next_batch(self) -> list[tuple[LedgerEntry, CommitCallback]]:
        batch: list[tuple[LedgerEntry, CommitCallback]] = []
        batch_bytes = 0
        while self._waiting and len(batch) < BATCH_ROWS_MAX and batch_bytes < BATCH_BYTES_MAX:
            batch.append(self._waiting.popleft())
            batch_bytes += len(batch[-1][0].body)
        self._waiting_bytes -= batch_bytes
        return batch

    async def _commit(self, batch: list[tuple[LedgerEntry, CommitCallback]]) -> None:
        results: list[AppendResult] | list[None] = [None] * len(batch)
        try:
            results = await self._ledger.append([entry for entry, _ in batch])
            self.note(None)
        except OnhookError as error:
            self.note(error)
            self._give_up_waiting()
        finally:
            for (_, on_committed), result in zip(batch, results, strict=True):
                on_committed(result)

    def _give_up_waiting(self) -> None:
        """What came meanwhile waits for the same lock or disk, and a PBX gives up after 3 seconds (PROTOCOL.md 4)."""
        queue, self._waiting = self._waiting, deque()
        self._waiting_bytes = 0
        for _, on_committed in queue:
            on_committed(None)
