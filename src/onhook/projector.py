"""From the ledger to the store: each report read, each call put together, exactly once.

Laws: the store's position moves in the same transaction as the calls it stands for, so a projector that dies at any
moment goes on where it was. Reading anew gives the same calls. What cannot be read goes to the quarantine, and does not
hold up what follows.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from onhook.cdr.call_assembly import PbxFacts, Said, assemble, said_by
from onhook.cdr.record import Call, Record
from onhook.ledger.contract import Ledger, Report
from onhook.lib.errors import NotFound, OnhookError, Unavailable
from onhook.pbx.dialect import Dialects
from onhook.store.contract import Batch, CallKey, Quarantined, Store

BATCH_REPORTS_MAX = 10_000
"""Enough to make a transaction worth its price, few enough to stay within some 50 MB."""

POLL_SECONDS = 0.05
"""How long a call may wait to be seen; asking the ledger costs microseconds."""

RETRY_SECONDS = 1.0
"""The wait after the disk or the store said 'not now'."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

MayGo = Callable[[Sequence[Record]], bool]
"""Whether the call with these legs may be forgotten."""

FactsOf = Callable[[str], PbxFacts]
"""What we were told of the PBX with a serial number; the defaults for one that nobody declared."""


class _Understood(msgspec.Struct, frozen=True):
    """What a stretch of the ledger says, call by call, and what of it could not be read."""

    said: dict[CallKey, list[Said]]
    quarantined: list[Quarantined]


class Forgotten(msgspec.Struct, frozen=True):
    """Calls that the store has no more, and the reports that speak of no call that stays."""

    calls: Sequence[CallKey]
    seqs: Sequence[int]


class _Stretch(msgspec.Struct, frozen=True):
    """Reports after a number up to another, understood."""

    after: int
    last: int
    understood: _Understood


class Projector:
    """The only writer of the store.

    `tell_trouble` is told the error when it cannot go on for now, and None when it can again.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        store: Store,
        dialects: Dialects,
        facts_of: FactsOf,
        tell_trouble: Callable[[Unavailable | None], None] = lambda _: None,
    ) -> None:
        self._ledger = ledger
        self._store = store
        self._dialects = dialects
        self._facts_of = facts_of
        self._turn = asyncio.Lock()
        self._ahead: asyncio.Task[_Stretch | None] | None = None
        self._tell_trouble = tell_trouble
        self._is_in_trouble = False

    async def run(self, announce: Callable[[int], None]) -> None:
        """Follow the ledger for ever; tells `announce` each new position. Ends by cancellation only.

        A store or disk that is not available is tried again; any other error is raised: going on would be wrong.
        """
        try:
            while True:
                await self._follow(announce)
        finally:
            if self._ahead is not None:
                self._ahead.cancel()
                await asyncio.wait([self._ahead])

    async def _follow(self, announce: Callable[[int], None]) -> None:
        """One step, or a pause where there is nothing to do or nothing can be done."""
        try:
            position = await self.step()
        except Unavailable as error:
            self._note(error)
            await asyncio.sleep(RETRY_SECONDS)
            return
        self._note(None)
        if position is None:
            await asyncio.sleep(POLL_SECONDS)
        else:
            announce(position)

    def _note(self, trouble: Unavailable | None) -> None:
        """Tell when trouble begins and when it ends, not each time in between."""
        if (trouble is not None) is not self._is_in_trouble:
            self._is_in_trouble = trouble is not None
            self._tell_trouble(trouble)

    async def catch_up(self, progress: Callable[[int], None] = lambda position: None) -> int:
        """Read all that is in the ledger now; returns the store's position."""
        while (position := await self.step()) is not None:
            progress(position)
        return await self._store.position()

    async def step(self) -> int | None:
        """Read the next stretch of the ledger and put it into the store; its last number, or None at the end.

        While the store keeps one stretch, the next one is being read.
        """
        async with self._turn:
            stretch = await self._next_after(await self._store.position())
            if stretch is None:
                return None
            self._ahead = asyncio.create_task(self._read(stretch.last))
            await self._put(stretch.understood, stretch.last, read_again=())
            return stretch.last

    async def retry(self, seqs: Sequence[int]) -> list[Quarantined]:
        """Read reports of the quarantine again, as after an upgrade; returns those that still cannot be read.

        Raises `NotFound` when the ledger has none of these numbers.
        """
        async with self._turn:
            reports = await self._ledger.get(seqs)
            if not reports:
                raise NotFound("the ledger has no report with these numbers", todo="see `onhook quarantine list`")
            understood = await asyncio.to_thread(self._understand, reports)
            unread = {one.seq for one in understood.quarantined}
            read_again = [report.seq for report in reports if report.seq not in unread]
            await self._put(understood, await self._store.position(), read_again)
            return understood.quarantined

    async def forget(self, reports: Sequence[Report], may_go: MayGo) -> Forgotten:
        """Take from the store the calls that these reports speak of and that may go; what could not be read goes too.

        The reports themselves are the caller's to delete, afterwards; what the store does not stand for yet is left.
        """
        async with self._turn:
            position = await self._store.position()
            reports = [report for report in reports if report.seq <= position]
            understood = await asyncio.to_thread(self._understand, reports)
            calls: dict[CallKey, list[Record]] = {}
            for leg in await self._store.legs(list(understood.said)):
                calls.setdefault((leg.sn, leg.call_id), []).append(leg)
            stays = {key for key, legs in calls.items() if not may_go(legs)}
            kept = {said.seq for key in stays for said in understood.said[key]}
            gone = [key for key in understood.said if key not in stays]
            seqs = [report.seq for report in reports if report.seq not in kept]
            # All of them: what can be read now may stand in the quarantine from before an upgrade.
            await self._store.forget(gone, seqs)
            return Forgotten(gone, seqs)

    async def _next_after(self, position: int) -> _Stretch | None:
        """The stretch that was read ahead, if it is this one; else it is read now."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            await asyncio.wait([ahead])
            stretch = ahead.result()
            if stretch is not None and stretch.after == position:
                return stretch
        return await self._read(position)

    async def _read(self, after: int) -> _Stretch | None:
        reports = await self._ledger.read(after, BATCH_REPORTS_MAX)
        if not reports:
            await self._check_end(after)
            return None
        return _Stretch(after, reports[-1].seq, await asyncio.to_thread(self._understand, reports))

    async def _check_end(self, position: int) -> None:
        """A store that stands for more than the ledger has would skip the next reports: it thinks it knows them."""
        last = await self._ledger.last()
        if last < position:
            raise Unavailable(
                f"the store is ahead of the ledger ({position} against {last}), as after an older ledger was put back",
                todo="keep a copy of calls.duckdb if it has calls that the ledger lacks, then `onhook rebuild`",
            )

    def _understand(self, reports: Iterable[Report]) -> _Understood:
        understood = _Understood({}, [])
        for report in reports:
            try:
                details = self._dialects[report.dialect].read(report.body)
            except Exception as error:  # noqa: BLE001 - whatever a body does to its reader, the next one is read
                understood.quarantined.append(_quarantined(report, error))
                continue
            received_at = _EPOCH + timedelta(microseconds=report.received_at)
            for one in details:
                said = Said(details=one, seq=report.seq, via=report.via, received_at=received_at)
                understood.said.setdefault((report.sn, one.call_id), []).append(said)
        return understood

    async def _put(self, understood: _Understood, position: int, read_again: Sequence[int]) -> None:
        """Put together the calls that were spoken of with what was known of them before, and keep them."""
        before = await self._store.legs(list(understood.said))
        facts = {sn: self._facts_of(sn) for sn in {sn for sn, _ in understood.said}}
        calls = await asyncio.to_thread(_assembled, understood, before, facts)
        await self._store.put(
            Batch(calls=calls, quarantined=understood.quarantined, read_again=read_again, position=position)
        )


def _assembled(understood: _Understood, before: Sequence[Record], facts: Mapping[str, PbxFacts]) -> list[Call]:
    for record in before:
        understood.said[record.sn, record.call_id].append(said_by(record))
    return [assemble(sn, said, facts[sn]) for (sn, _), said in understood.said.items()]


def _quarantined(report: Report, error: Exception) -> Quarantined:
    if isinstance(error, OnhookError):
        reason = str(error)
    elif isinstance(error, KeyError) and error.args == (report.dialect,):
        reason = f"no dialect here is called {report.dialect!r}: upgrade, or look at how it came here"
    else:
        reason = f"reading it failed ({type(error).__name__}: {error}): keep it and report this"
    return Quarantined(
        seq=report.seq,
        sn=report.sn,
        via=report.via,
        received_at=_EPOCH + timedelta(microseconds=report.received_at),
        reason=reason,
    )
