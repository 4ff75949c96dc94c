"""Events that are acknowledged while the ledger has no quorum: on the disk of this machine, until the ledger has them.

Invariants: an event is on the disk before it counts as stored. While one is spooled, all later ones follow it, so that
the ledger gets them in the order of arrival. An event is removed once the ledger has it: after a crash in between it is
forwarded again, and recognised. The spool is bounded; beyond, no event is acknowledged. There is a file while events
wait, and none of them is left in one afterwards.
"""

import asyncio
import logging
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from onhook.ledger.contract import AppendResult, Ledger, LedgerEntry, RawEvent
from onhook.lib.errors import OnhookError, Unavailable
from onhook.lib.messages import _
from onhook.lib.task_reconciler import raise_if_cancelled
from onhook.lib.transition_log import TransitionLog
from onhook.receiver.group_commit import PrepareAppend

EVENTS_MAX: Final = 500_000
"""A day of six events a second; forwarded in some minutes."""

BYTES_MAX: Final = 2 * 1024**3
FREE_BYTES_MIN: Final = 1024**3
"""The disk has other work than this."""

FORWARDED_AT_ONCE: Final = 200
RETRY_SECONDS: Final = 1.0
"""Between two attempts to forward, while the ledger has no quorum."""


class SpoolState(msgspec.Struct, frozen=True, kw_only=True):
    """How many events wait, and when the first of them was received: microseconds since 1970, UTC; 0 without one."""

    events: int = 0
    bytes: int = 0
    oldest_at: int = 0


class EventSpool:
    """Appends events to a ledger of servers, and to a file while that has no quorum. Created once per process, inside
    its event loop; `open` comes first. `append` is called by one task at a time.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        path: Path,
        open_file: Callable[[Path], Ledger],
        prepare_append: PrepareAppend,
        may_grow: bool = True,
        events_max: int = EVENTS_MAX,
        bytes_max: int = BYTES_MAX,
    ) -> None:
        """`open_file` opens the file, which is a ledger of its own; `prepare_append` is awaited before the servers get
        events. Where the spool may not grow, what is there is forwarded, before the ledger gets anything else.
        """
        self._may_grow = may_grow
        self._ledger = ledger
        self._path = path
        self._open_file = open_file
        self._file: Ledger | None = None
        self._file_lock = asyncio.Lock()
        """Held while the file is written, and while it is removed."""
        self._forwarded_seq = 0
        self._prepare_append = prepare_append
        self._events_max = events_max
        self._bytes_max = bytes_max
        self._state = SpoolState()
        self._is_filled = asyncio.Event()
        self._log = TransitionLog(
            logging.getLogger("spool"),
            begins="the ledger has no quorum: events are kept on this machine",
            ends="the ledger has all events that were kept on this machine",
        )

    @property
    def state(self) -> SpoolState:
        """Return what waits."""
        return self._state

    def count(self) -> tuple[int, int]:
        """Return how many events wait, and when the first of them was received."""
        return self._state.events, self._state.oldest_at

    async def open(self) -> None:
        """Find what an earlier process has left. Raises `OnhookError`."""
        if not self._path.exists():
            return
        after_seq, events, byte_count, oldest_at = 0, 0, 0, 0
        while raw_events := await self._get_file().read(after_seq, FORWARDED_AT_ONCE):
            after_seq = raw_events[-1].seq
            oldest_at = oldest_at or raw_events[0].received_at
            events += len(raw_events)
            byte_count += sum(len(raw_event.body) for raw_event in raw_events)
        self._set_state(SpoolState(events=events, bytes=byte_count, oldest_at=oldest_at))

    async def close(self) -> None:
        """Close the file; what waits is forwarded by the next process."""
        if self._file is not None:
            await self._file.close()
            self._file = None

    async def append(self, entries: Sequence[LedgerEntry]) -> list[AppendResult]:
        """Append entries to the ledger, or to the file while that has no quorum, or while the file has earlier ones.
        Raises `Unavailable` where neither is possible.
        """
        if self._state.events:
            return await self._spool(entries)
        try:
            results = await self._append(entries)
        except Unavailable as error:
            self._log.begin(error=str(error))
            return await self._spool(entries)
        missing = [index for index, result in enumerate(results) if result.outcome == "unavailable"]
        if missing:
            spooled = await self._spool([entries[index] for index in missing])
            for index, result in zip(missing, spooled, strict=True):
                results[index] = result
        return results

    async def run(self) -> None:
        """Forward what is spooled as soon as the ledger can have it, until cancelled."""
        while True:
            await self._is_filled.wait()
            try:
                await self._forward()
            except OnhookError as error:
                self._log.begin(error=str(error))
            raise_if_cancelled()
            if self._state.events:
                await asyncio.sleep(RETRY_SECONDS)
            else:
                self._log.end()

    async def _append(self, entries: Sequence[LedgerEntry]) -> list[AppendResult]:
        if (preparation := self._prepare_append(entries)) is not None:
            await preparation
        return list(await self._ledger.append(entries))

    async def _spool(self, entries: Sequence[LedgerEntry]) -> list[AppendResult]:
        """Append entries to the file, as far as it may have more."""
        await self._check_space()
        async with self._file_lock:
            results = await self._get_file().append(entries)
            new = [entry for entry, result in zip(entries, results, strict=True) if result.outcome == "new"]
            self._set_state(
                SpoolState(
                    events=self._state.events + len(new),
                    bytes=self._state.bytes + sum(len(entry.body) for entry in new),
                    oldest_at=self._state.oldest_at or (new[0].received_at if new else 0),
                )
            )
        # One that was forwarded a moment ago.
        return [
            msgspec.structs.replace(result, outcome="duplicate") if result.outcome == "deleted" else result
            for result in results
        ]

    async def _check_space(self) -> None:
        """Raises `Unavailable` where the spool is full."""
        free_bytes = (await asyncio.to_thread(shutil.disk_usage, self._path.parent)).free
        is_full = not self._may_grow or self._state.events >= self._events_max or self._state.bytes >= self._bytes_max
        if is_full or free_bytes < FREE_BYTES_MIN:
            raise Unavailable(
                _("the ledger has no quorum, and this machine can keep no further events"),
                location=str(self._path),
                hint=_("start the NATS servers: events are forwarded then"),
            )

    async def _forward(self) -> None:
        """Hand all spooled events to the ledger, in order. Raises `OnhookError`; the rest stays."""
        while self._state.events:
            raw_events = await self._get_file().read(self._forwarded_seq, FORWARDED_AT_ONCE)
            if not raw_events:
                # A step failed after the last ones were deleted.
                async with self._file_lock:
                    await self._find_next()
                continue
            results = await self._append([_to_entry(raw_event) for raw_event in raw_events])
            is_stored = [result.outcome != "unavailable" for result in results]
            stored_count = is_stored.index(False) if False in is_stored else len(is_stored)
            if stored_count:
                await self._remove(raw_events[:stored_count])
            if stored_count < len(raw_events):
                return

    async def _remove(self, stored: Sequence[RawEvent]) -> None:
        """Remove events that the ledger has, and the file with the last one."""
        async with self._file_lock:
            file = self._get_file()
            # A ledger in a file keeps its last entry, which the next removal takes along.
            await file.delete([self._forwarded_seq, *(raw_event.seq for raw_event in stored)])
            self._forwarded_seq = stored[-1].seq
            next_event = await self._find_next()
            if next_event is not None:
                self._set_state(
                    SpoolState(
                        events=self._state.events - len(stored),
                        bytes=self._state.bytes - sum(len(raw_event.body) for raw_event in stored),
                        oldest_at=next_event.received_at,
                    )
                )

    async def _find_next(self) -> RawEvent | None:
        """Return the next event to forward; where there is none, remove the file: nothing waits. The lock is held.
        Raises `OnhookError`.
        """
        next_events = await self._get_file().read(self._forwarded_seq, 1)
        if next_events:
            return next_events[0]
        await self._remove_file()
        self._set_state(SpoolState())
        return None

    async def _remove_file(self) -> None:
        """Close and remove the file. Raises `OnhookError`."""
        await self.close()
        # Before the file is gone: the numbers of a new one begin at 1.
        self._forwarded_seq = 0
        try:
            for suffix in ("", "-wal", "-shm"):
                await asyncio.to_thread(self._path.with_name(self._path.name + suffix).unlink, missing_ok=True)
        except OSError as error:
            raise Unavailable(
                _("cannot remove the file of events that were forwarded: {error}", error=error.strerror or error),
                location=str(self._path),
                hint=_("check the disk and the permissions"),
            ) from error

    def _get_file(self) -> Ledger:
        if self._file is None:
            self._file = self._open_file(self._path)
        return self._file

    def _set_state(self, state: SpoolState) -> None:
        self._state = state
        if state.events:
            self._is_filled.set()
        else:
            self._is_filled.clear()


def _to_entry(raw_event: RawEvent) -> LedgerEntry:
    return LedgerEntry(**{name: getattr(raw_event, name) for name in LedgerEntry.__struct_fields__})
