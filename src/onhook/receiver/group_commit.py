"""Group commit: while one batch of events goes to disk, the next one gathers. Many events, one fsync.

Invariants: no request is answered before the ledger has committed; every request is answered, whatever the ledger does;
the queue is bounded in number and bytes.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from onhook.ledger.contract import AppendResult, LedgerEntry
from onhook.lib.errors import OnhookError

BATCH_ROWS_MAX = 512
"""Events in one commit: past a few hundred the fsync's share is small, and a commit should not delay the next one."""

BATCH_BYTES_MAX = 4 * 1024 * 1024
"""Bytes of bodies in one commit: all requests in the queue wait as long as a slow disk takes to write them."""

QUEUE_ROWS_MAX = 10_000
"""Queued events; at some thousands per second this is what a PBX's time-out of 3 seconds allows."""

QUEUE_BYTES_MAX = 32 * 1024 * 1024
"""Bytes of queued bodies: memory stays bounded when the disk stops."""

PrepareAppend = Callable[[Sequence[LedgerEntry]], Awaitable[None] | None]
"""Returns what must be awaited before these entries are appended, or None. It may raise `OnhookError`."""

CommitCallback = Callable[[AppendResult | None], None]
"""Receives the sequence number of a committed entry, or None when the commit failed. Must not raise."""


class EntryAppender(Protocol):
    """What stores entries: the ledger, or a spool before it."""

    async def append(self, entries: Sequence[LedgerEntry]) -> list[AppendResult]:
        """See `ledger.contract.Ledger`."""
        ...


class GroupCommitter:
    """Hands entries to the ledger in batches, one batch at a time, in the order of arrival.

    `on_ledger_error` receives the error when the ledger begins to fail, and None when it works again.
    """

    def __init__(
        self,
        *,
        ledger: EntryAppender,
        on_ledger_error: Callable[[OnhookError | None], None],
        prepare_append: PrepareAppend = lambda _entries: None,
    ) -> None:
        self._ledger = ledger
        self._prepare_append = prepare_append
        self._on_ledger_error = on_ledger_error
        self._queue: deque[tuple[LedgerEntry, CommitCallback]] = deque()
        self._queued_bytes = 0
        self._commit_task: asyncio.Task[None] | None = None
        self.is_working = True

    def put(self, entry: LedgerEntry, on_committed: CommitCallback) -> bool:
        """Queue an entry. Return False, without a later call of `on_committed`, when the queue is full."""
        if len(self._queue) >= QUEUE_ROWS_MAX or self._queued_bytes >= QUEUE_BYTES_MAX:
            return False
        self._queue.append((entry, on_committed))
        self._queued_bytes += len(entry.body)
        if self._commit_task is None:
            self._commit_task = self._start()
        return True

    async def drain(self) -> None:
        """Return when every queued entry is committed or has failed."""
        while self._commit_task is not None:
            await asyncio.wait([self._commit_task])

    def report_result(self, error: OnhookError | None) -> None:
        """Remember whether the ledger can be written, and report a change to `on_ledger_error`."""
        is_working = error is None
        if is_working is not self.is_working:
            self.is_working = is_working
            self._on_ledger_error(error)

    def _start(self) -> asyncio.Task[None]:
        """Start the commit after this round of the loop: entries that arrive together are committed together."""
        return asyncio.get_running_loop().create_task(self._commit_all())

    async def _commit_all(self) -> None:
        try:
            while self._queue:
                await self._commit(self._next_batch())
        finally:
            # After an unexpected error entries may be left in the queue: they must be answered too.
            self._commit_task = self._start() if self._queue else None

    def _next_batch(self) -> list[tuple[LedgerEntry, CommitCallback]]:
        batch: list[tuple[LedgerEntry, CommitCallback]] = []
        batch_bytes = 0
        while self._queue and len(batch) < BATCH_ROWS_MAX and batch_bytes < BATCH_BYTES_MAX:
            batch.append(self._queue.popleft())
            batch_bytes += len(batch[-1][0].body)
        self._queued_bytes -= batch_bytes
        return batch

    async def _commit(self, batch: list[tuple[LedgerEntry, CommitCallback]]) -> None:
        results: list[AppendResult] | list[None] = [None] * len(batch)
        try:
            entries = [entry for entry, _ in batch]
            if (preparation := self._prepare_append(entries)) is not None:
                await preparation
            results = await self._ledger.append(entries)
            self.report_result(None)
        except OnhookError as error:
            self.report_result(error)
            self._fail_queued()
        finally:
            for (_, on_committed), result in zip(batch, results, strict=True):
                on_committed(result)

    def _fail_queued(self) -> None:
        """Fail the entries queued meanwhile: they wait for the same lock or disk, and a PBX gives up after 3 seconds
        (yeastar-p-series.md 4).
        """
        queue, self._queue = self._queue, deque()
        self._queued_bytes = 0
        for _, on_committed in queue:
            on_committed(None)
