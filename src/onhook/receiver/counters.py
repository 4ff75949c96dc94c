"""Counters of received requests and events, flushed to the ledger about once a second."""

import asyncio
from collections.abc import Callable

from onhook.ledger.contract import CounterKey, Ledger
from onhook.lib.clock import Clock
from onhook.lib.errors import OnhookError
from onhook.receiver.verdict import Verdict

FLUSH_SECONDS = 1.0
"""Flush interval: a page with counts is at most this old, and a crash loses at most this much."""

DISTINCT_COUNTERS_MAX = 1_000
"""Different counters between two flushes: an unknown PBX with many serial numbers must not fill the memory."""

OVERFLOW_LABEL = "others"
"""The label of counters beyond `DISTINCT_COUNTERS_MAX`."""

SN_CHARACTERS_MAX = 64
"""A real serial number has 12 to 16 (yeastar-p-series.md 1)."""


class EventCounters:
    """Counts, held for a second, then added to the ledger's counters; retried when the ledger fails."""

    def __init__(self, *, ledger: Ledger, clock: Clock, on_ledger_result: Callable[[OnhookError | None], None]) -> None:
        self._ledger = ledger
        self._clock = clock
        self._on_ledger_result = on_ledger_result
        self._counts: dict[tuple[Verdict, str, str], int] = {}
        self._peers: dict[tuple[Verdict, str, str], str] = {}
        self._flush_timer: asyncio.TimerHandle | None = None
        self._flush_task: asyncio.Task[None] | None = None

    def add(self, verdict: Verdict, sn: str, label: str, peer: str = "") -> None:
        """Count one event; `peer` is the address of the sender of a rejected one, of which the last is stored. Control
        characters are removed from all texts.
        """
        key = (verdict, sn, label)
        if key not in self._counts:
            key = (verdict, strip_control_characters(sn), strip_control_characters(label))
            if len(self._counts) >= DISTINCT_COUNTERS_MAX:
                key = (verdict, "", OVERFLOW_LABEL)
            self._schedule_flush()
        self._counts[key] = self._counts.get(key, 0) + 1
        if peer:
            self._peers[key] = strip_control_characters(peer)

    async def close(self) -> None:
        """Flush the remaining counts."""
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
        peers, self._peers = self._peers, {}
        try:
            await self._ledger.add_counts(
                {CounterKey(*key): count for key, count in counts.items()},
                self._clock.microseconds(),
                {CounterKey(*key): peer for key, peer in peers.items()},
            )
            self._on_ledger_result(None)
        except OnhookError as error:
            self._on_ledger_result(error)
            self._restore(counts, peers)
            self._schedule_flush()

    def _restore(self, counts: dict[tuple[Verdict, str, str], int], peers: dict[tuple[Verdict, str, str], str]) -> None:
        for (verdict, sn, label), count in counts.items():
            key = (verdict, sn, label) if len(self._counts) < DISTINCT_COUNTERS_MAX else (verdict, "", OVERFLOW_LABEL)
            self._counts[key] = self._counts.get(key, 0) + count
            if peer := peers.get((verdict, sn, label)):
                self._peers.setdefault(key, peer)


def strip_control_characters(text: str) -> str:
    """Return text of an unknown sender, safe for logs, terminals and databases: short, no control characters."""
    if text.isascii() and text.isprintable() and len(text) <= SN_CHARACTERS_MAX:
        return text
    return "".join(character if character.isprintable() else "\ufffd" for character in text[:SN_CHARACTERS_MAX])
