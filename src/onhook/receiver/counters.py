"""Counting what happens at the door, and writing the counts down about once a second."""

import asyncio
from collections.abc import Callable

from onhook.ledger.contract import CounterKey, Ledger
from onhook.lib.clock import Clock
from onhook.lib.errors import OnhookError
from onhook.receiver.verdict import Verdict

FLUSH_SECONDS = 1.0
"""A page that shows the counts is never older than this, and a crash loses no more."""

DISTINCT_COUNTERS_MAX = 1_000
"""Different counters between two flushes: a stranger with many serial numbers must not fill the memory."""

OVERFLOW_LABEL = "others"
"""The label of counters beyond that."""

SN_CHARACTERS_MAX = 64
"""A real serial number has 12 to 16 (yeastar-p-series.md 1)."""


class EventCounters:
    """Counts, held for a second, then added to the ledger's counters; kept and tried again when the ledger fails."""

    def __init__(self, *, ledger: Ledger, clock: Clock, on_ledger_result: Callable[[OnhookError | None], None]) -> None:
        self._ledger = ledger
        self._clock = clock
        self._on_ledger_result = on_ledger_result
        self._counts: dict[tuple[Verdict, str, str], int] = {}
        self._flush_timer: asyncio.TimerHandle | None = None
        self._flush_task: asyncio.Task[None] | None = None

    def add(self, verdict: Verdict, sn: str, label: str) -> None:
        """Count one; `sn` and `label` are made harmless unless they are."""
        key = (verdict, sn, label)
        if key in self._counts:
            self._counts[key] += 1
            return
        key = (verdict, strip_control_characters(sn), strip_control_characters(label))
        if len(self._counts) >= DISTINCT_COUNTERS_MAX:
            key = (verdict, "", OVERFLOW_LABEL)
        self._counts[key] = self._counts.get(key, 0) + 1
        self._schedule_flush()

    async def close(self) -> None:
        """Write down what has been counted so far."""
        if self._flush_task is not None:
            await asyncio.wait([self._flush_task])
        await self._flush()
        if self._flush_timer is not None:
            self._flush_timer.cancel()

    def _schedule_flush(self) -> None:
        if self._flush_timer is None:
            self._flush_timer = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self._start_flush)

    def _start_flush(self) -> None:
        self._flush_timer = None
        self._flush_task = asyncio.get_running_loop().create_task(self._flush())

    async def _flush(self) -> None:
        counts, self._counts = self._counts, {}
        try:
            await self._ledger.add_counts(
                {CounterKey(*key): count for key, count in counts.items()}, self._clock.microseconds()
            )
            self._on_ledger_result(None)
        except OnhookError as error:
            self._on_ledger_result(error)
            self._restore(counts)
            self._schedule_flush()

    def _restore(self, counts: dict[tuple[Verdict, str, str], int]) -> None:
        for (verdict, sn, label), count in counts.items():
            key = (verdict, sn, label) if len(self._counts) < DISTINCT_COUNTERS_MAX else (verdict, "", OVERFLOW_LABEL)
            self._counts[key] = self._counts.get(key, 0) + count


def strip_control_characters(text: str) -> str:
    """A stranger's text, fit for a log, a terminal and a database: short, and without control characters."""
    if text.isascii() and text.isprintable() and len(text) <= SN_CHARACTERS_MAX:
        return text
    return "".join(character if character.isprintable() else "\ufffd" for character in text[:SN_CHARACTERS_MAX])
