"""Back-fill from an archive: the calls that a PBX keeps itself, through the same door as everything else.

See the contract, `caretaker.Filling`. Laws: a call that was heard is the same report in the archive, and is kept once;
what cannot be read is kept too, and told; nothing is claimed that the archive does not reach over: it must begin before
a gap and have a call after it, for a file that nobody writes any more ends somewhere too.
"""

import asyncio
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from itertools import islice

import msgspec

from onhook.cdr.call_details import CallDetails
from onhook.cdr.coverage import CALL_SECONDS_MAX, Stretch
from onhook.cdr.sync_types import AlarmKind
from onhook.lib.clock import Clock
from onhook.lib.errors import Unavailable, Unreadable
from onhook.pbx.cdr_archive import Archive, KeptCall, Unread
from onhook.pbx.client import Facts, Window
from onhook.pbx.dialect import Dialect
from onhook.receiver.ingest import Accept
from onhook.receiver.pbx_registry import Declared
from onhook.receiver.verdict import Verdict
from onhook.sync.api_backfill import (
    BACKFILL,
    KEEP_AGAIN_SECONDS,
    KEEP_TRIES_MAX,
    KEPT_AT_ONCE,
    NOT_NOW,
    Found,
    Known,
    Tell,
)

SETTLED_SECONDS = 15
"""A call that ended less than this ago may have a CDR that is not written yet; it is left to the next time."""

KINDS: Sequence[AlarmKind] = ("source",)

Kept = KeptCall | Unread


class ArchiveAccess:
    """See the contract, `caretaker.Asked`: an archive is always asked the same way."""

    kinds = KINDS
    trouble: AlarmKind = "source"

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def now(self) -> float:
        return self._clock.microseconds() / 1_000_000


class ArchiveFiller:
    """See the module; holds nothing between two times. `stretches` tells what is known of the coverage."""

    def __init__(
        self,
        *,
        archive: Archive,
        accept: Accept,
        sender: Declared,
        dialect: Dialect,
        known: Known,
        stretches: Callable[[], Sequence[Stretch]],
        clock: Clock,
    ) -> None:
        self._archive = archive
        self._accept = accept
        self._sender = sender
        self._dialect = dialect
        self._known = known
        self._stretches = stretches
        self._clock = clock

    async def facts(self) -> Facts:
        return Facts()

    async def count(self, window: Window, facts: Facts) -> int | None:
        return None

    async def fill(self, window: Window, facts: Facts, *, missed: Window, tell: Tell) -> Found:
        """Missed is what ended while the PBX was heard; `missed` itself is about push channels that tell less."""
        found, heard = Found(done_until=window.since), self._stretches()
        reading = _batches(self._archive(window))
        try:
            while batch := await asyncio.to_thread(next, reading, ()):
                found = await self._taken(found, batch, window, heard)
                tell(found)
        finally:
            with suppress(ValueError):  # where we are stopped, a thread still reads, and closes it when it is done
                reading.close()
        return _reaching(found, window)

    async def _taken(self, found: Found, batch: Sequence[Kept], window: Window, heard: Sequence[Stretch]) -> Found:
        calls = [one for one in batch if isinstance(one, KeptCall)]
        settled_at = self._clock.microseconds() / 1_000_000 - SETTLED_SECONDS
        wanted = [one for one in calls if _is_wanted(one, window, settled_at)]
        lines = [one.line.encode() for one in batch if isinstance(one, Unread) and one.line]
        await self._keep(lines)
        return await self._kept(_seen(found, batch), wanted, heard)

    async def _kept(self, found: Found, calls: Sequence[KeptCall], heard: Sequence[Stretch]) -> Found:
        """Keep those that are not here; what the door knows already is the same."""
        read = await asyncio.to_thread(lambda: [_read(self._dialect, one.body) for one in calls])
        here = {(leg.sn, leg.call_id) for leg in await self._known.legs(sorted(self._keys(read)))}
        verdicts = await self._keep([one.body for one in calls])
        new = changed = same = missed = 0
        for call, details, verdict in zip(calls, read, verdicts, strict=True):
            if verdict == "repeat":
                same += len(details)
            elif self._keys([details]) & here:
                changed += len(details)
            else:
                new += len(details)
                missed += len(details) if _was_heard(call, heard) else 0
        return msgspec.structs.replace(
            found,
            rows=found.rows + sum(map(len, read)),
            new=found.new + new,
            changed=found.changed + changed,
            same=found.same + same,
            missed=found.missed + missed,
        )

    def _keys(self, read: Sequence[Sequence[CallDetails]]) -> set[tuple[str, str]]:
        return {(self._sender.sn, one.call_id) for details in read for one in details}

    async def _keep(self, bodies: Sequence[bytes]) -> list[Verdict]:
        """Through the door, some at once; again where it is shut for now. Raises `Unavailable`."""
        verdicts: list[Verdict] = []
        for begin in range(0, len(bodies), KEPT_AT_ONCE):
            verdicts += await self._keep_some(bodies[begin : begin + KEPT_AT_ONCE])
        return verdicts

    async def _keep_some(self, bodies: Sequence[bytes]) -> list[Verdict]:
        for _ in range(KEEP_TRIES_MAX):
            verdicts = list(await asyncio.gather(*(self._accept.keep(self._sender, one, BACKFILL) for one in bodies)))
            if not any(one in NOT_NOW for one in verdicts):
                return verdicts
            # Those that were kept are repeats the next time: counted too low, never too high.
            await asyncio.sleep(KEEP_AGAIN_SECONDS)
        raise Unavailable("the ledger cannot be written", todo="the back-fill goes on when it can")


def _read(dialect: Dialect, body: bytes) -> Sequence[CallDetails]:
    """Nothing where it cannot be read: it is kept all the same, and the projector says why."""
    try:
        return dialect.read(body)
    except Unreadable:
        return ()


def _batches(kept: Iterator[Kept]) -> Generator[Sequence[Kept], None, None]:
    while batch := tuple(islice(kept, KEPT_AT_ONCE)):
        yield batch


def _is_wanted(call: KeptCall, window: Window, settled_at: float) -> bool:
    """One whose id tells no time is kept once, whatever was asked for."""
    if call.began is None or call.ended is None:
        return True
    return window.since <= call.began.timestamp() < window.until and call.ended.timestamp() <= settled_at


def _was_heard(call: KeptCall, heard: Sequence[Stretch]) -> bool:
    """Whether it ended while the PBX was heard, or in a time that was taken for complete."""
    ended = call.ended
    return ended is not None and any(one.since <= ended < one.until for one in heard if one.state != "gap")


def _seen(found: Found, batch: Sequence[Kept]) -> Found:
    """With how far it reaches, in calls that tell, and how many lines could not be read."""
    told = [one for one in batch if isinstance(one, KeptCall) and one.began is not None and one.ended is not None]
    unread = sum(isinstance(one, Unread) for one in batch)
    began = [round(one.began.timestamp()) for one in told if one.began is not None]
    ended = [round(one.ended.timestamp()) for one in told if one.ended is not None]
    since, until = found.reach_since, found.reach_until
    return msgspec.structs.replace(
        found,
        unreadable=found.unreadable + unread,
        reach_since=min(began, default=since) if since is None else min([since, *began]),
        reach_until=max(ended, default=until) if until is None else max([until, *ended]),
        done_until=max([found.done_until, *(one - CALL_SECONDS_MAX for one in began)]),
    )


def _reaching(found: Found, window: Window) -> Found:
    """An archive without a call proves nothing."""
    if found.reach_until is None:
        return msgspec.structs.replace(found, reach_since=window.since, reach_until=window.since)
    return found
