"""A ledger with a PBX that reports legs, the gatherer that makes calls of them, and stores that follow."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from onhook.appdb.appdb import AppDb
from onhook.appdb.source_match import SourceMatch
from onhook.cdr.record import Call
from onhook.cdr.record_filter import RecordFilter
from onhook.ledger.contract import AppendResult, LedgerEntry
from onhook.ledger.sqlite import SqliteLedger
from onhook.lib.clock import SystemClock
from onhook.ops.leg_gatherer import LegGatherer
from onhook.pbx.dialect import Dialects
from onhook.pbx.registry import dialects
from onhook.projector.projector import Projector
from onhook.store.contract import QuarantineEntry, Store
from onhook.store.duckdb import open_store

SN = "FUSION-1"
SECOND = 1_000_000
STARTED_AT = 1_796_000_000 * SECOND
"""After the calls of the captures."""

DIALECTS: Dialects = dialects()
FREESWITCH = DIALECTS["freeswitch"]


class MovedClock(SystemClock):
    """A clock that a test moves; `us` are microseconds since 1970, UTC."""

    def __init__(self) -> None:
        self.us = STARTED_AT

    def microseconds(self) -> int:
        return self.us


class LegWorld:
    """All parts, on real files of one folder."""

    def __init__(self, stack: AsyncExitStack, folder: Path) -> None:
        self.stack = stack
        self.folder = folder
        self.clock = MovedClock()
        self.ledger = SqliteLedger(folder / "ledger.db")
        self.appdb = AppDb(folder / "onhook.db")
        stack.push_async_callback(self.ledger.close)
        stack.push_async_callback(self.appdb.close)
        self.store_count = 0
        self.restart()

    def restart(self) -> None:
        """Begin anew with what is on disk."""
        self.gatherer = LegGatherer(appdb=self.appdb, ledger=self.ledger, dialects=DIALECTS, clock=self.clock)

    async def add_pbx(self, sn: str = SN) -> None:
        source_match = SourceMatch(("192.0.2.7",))
        await self.appdb.add_pbx(name=sn, sn=sn, secret=None, dialect="freeswitch", source_match=source_match, now_us=1)

    async def receive(self, *bodies: bytes, sn: str = SN, key: bytes = b"") -> list[AppendResult]:
        """Store legs as the intake does."""
        return await self.ledger.append(
            [
                LedgerEntry(
                    sn=sn,
                    dialect="freeswitch",
                    via="webhook",
                    received_at=self.clock.us,
                    key=key or FREESWITCH.peek(body).key,
                    body=body,
                )
                for body in bodies
            ]
        )

    async def gather(self, seconds: float = 0.0) -> None:
        """Let time pass, and gather until there is nothing to do."""
        self.clock.us += round(seconds * SECOND)
        while await self.gatherer.step():
            pass

    async def begin_store(self) -> tuple[Store, Projector]:
        """Return an empty store and a projector that follows into it."""
        self.store_count += 1
        store = await open_store(self.folder / f"calls-{self.store_count}.duckdb")
        self.stack.push_async_callback(store.close)
        return store, Projector(ledger=self.ledger, store=store, dialects=DIALECTS, clock=self.clock)

    async def read_calls(self) -> tuple[list[Call], list[QuarantineEntry]]:
        """Return what a store has that is made from the ledger now."""
        store, projector = await self.begin_store()
        await projector.catch_up()
        return await read_store(store)


async def read_store(store: Store) -> tuple[list[Call], list[QuarantineEntry]]:
    calls = (await store.calls(RecordFilter(), 1_000)).data
    return sorted(calls, key=lambda call: (call.sn, call.call_id)), await store.quarantine(1_000)


def describe(calls: Iterable[Call]) -> list[list[tuple[str, str, str, int | None]]]:
    """Return the legs of calls without what depends on their order of arrival, sorted."""
    return sorted(
        sorted((leg.call_id, leg.call_to, leg.status, leg.talk_duration) for leg in call.legs) for call in calls
    )


@asynccontextmanager
async def open_leg_world(folder: Path) -> AsyncIterator[LegWorld]:
    async with AsyncExitStack() as stack:
        world = LegWorld(stack, folder)
        await world.add_pbx()
        async with asyncio.timeout(300):
            yield world
