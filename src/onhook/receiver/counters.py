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
"""Different marks between two flushes: a stranger with many serial numbers must not fill the memory."""

OVERFLOW_LABEL = "others"
"""The label of marks beyond that."""

SN_CHARACTERS_MAX = 64
"""A real serial number has 12 to 16 (PROTOCOL.md 1)."""


class EventCounters:
    """Counts, held for a second, then added to the ledger's tallies; kept and tried again when the ledger fails."""

    def __init__(self, *, ledger: Ledger, clock: Clock, note: Callable[[OnhookError | None], None]) -> None:
        self._ledger = ledger
        self._clock = clock
        self._note = note
        self._counts: dict[tuple[Verdict, str, str], int] = {}
        self._planned: asyncio.TimerHandle | None = None
        self._flushing: asyncio.Task[None] | None = None

    def add(self, what: Verdict, sn: str, label: str) -> None:
        """Count one; `sn` and `label` are made harmless unless they are."""
        key = (what, sn, label)
        if key in self._counts:
            self._counts[key] += 1
            return
        key = (what, strip_control_characters(sn), strip_control_characters(label))
        if len(self._counts) >= DISTINCT_COUNTERS_MAX:
            key = (what, "", OVERFLOW_LABEL)
        self._counts[key] = self._counts.get(key, 0) + 1
        self._plan()

    async def close(self) -> None:
        """Write down what has been counted so far."""
        if self._flushing is not None:
            await asyncio.wait([self._flushing])
        await self._flush()
        if self._planned is not None:
            self._planned.cancel()

    def _plan(self) -> None:
        if self._planned is None:
            self._planned = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self._start)

    def _start(self) -> None:
        self._planned = None
        self._flushing = asyncio.get_running_loop().create_task(self._flush())

    async def _flush(self) -> None:
        counts, self._counts = self._counts, {}
        try:
            await self._ledger.count(
                {CounterKey(*key): count for key, count in counts.items()}, self._clock.microseconds()
            )
            self._note(None)
        except OnhookError as error:
            self._note(error)
            self._take_back(counts)
            self._plan()

    def _take_back(self, counts: dict[tuple[Verdict, str, str], int]) -> None:
        for (verdict, sn, label), count in counts.items():
            key = (verdict, sn, label) if len(self._counts) < DISTINCT_COUNTERS_MAX else (verdict, "", OVERFLOW_LABEL)
            self._counts[key] = self._counts.get(key, 0) + count


def strip_control_characters(text: str) -> str:
    """A stranger's text, fit for a log, a terminal and a database: short, and without control characters."""
    if text.isascii() and text.isprintable() and len(text) <= SN_CHARACTERS_MAX:
        return text
    return "".join(character if character.isprintable() else "\ufffd" for character in text[:SN_CHARACTERS_MAX])
