"""Events that are kept on the disk while the ledger has no quorum."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from onhook.ledger.contract import AppendResult, LedgerEntry, RawEvent
from onhook.ledger.sqlite import SqliteLedger
from onhook.lib.errors import Unavailable
from onhook.receiver import event_spool
from onhook.receiver.event_spool import EventSpool, SpoolState
from tests.ledger.entries import entries, entry
from tests.waiting import polls, wait_until


class Servers(SqliteLedger):
    """A ledger that may have no quorum, or store some entries of a request."""

    is_away = False
    stored_max = 1_000

    async def append(self, items: Sequence[LedgerEntry]) -> list[AppendResult]:
        if self.is_away:
            raise Unavailable("no quorum", hint="wait")
        stored = await super().append(items[: self.stored_max]) if items[: self.stored_max] else []
        return [*stored, *[AppendResult(0, "unavailable")] * (len(items) - len(stored))]


class World:
    """The servers, the spool before them, and which entries were prepared."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.servers = Servers(path / "ledger.db")
        self.prepared: list[int] = []

    @asynccontextmanager
    async def opened(
        self, *, events_max: int = 1_000, may_grow: bool = True, open_file: type[SqliteLedger] = SqliteLedger
    ) -> AsyncIterator[EventSpool]:
        """Yield the spool of a process that runs, and stops."""
        spool = EventSpool(
            ledger=self.servers,
            path=self.path / "spool.db",
            open_file=open_file,
            prepare_append=lambda items: self.prepared.append(len(items)),
            events_max=events_max,
            may_grow=may_grow,
        )
        await spool.open()
        forwarding = asyncio.create_task(spool.run())
        try:
            yield spool
        finally:
            forwarding.cancel()
            await asyncio.wait([forwarding])
            await spool.close()

    async def stored(self) -> list[bytes]:
        return [raw_event.body for raw_event in await self.servers.read(0, 1_000)]


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(event_spool, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(event_spool, "FREE_BYTES_MIN", 0)
    world = World(tmp_path)
    yield world
    await world.servers.close()


def outcomes(results: Sequence[AppendResult]) -> list[str]:
    return [result.outcome for result in results]


def bodies(first: int, last: int) -> list[bytes]:
    return [item.body for item in entries(first, last)]


async def test_events_without_a_quorum_are_forwarded_in_order_once_there_is_one(world: World) -> None:
    """Also those that come after the first one while the servers are back, and repeats are no new events."""
    async with world.opened() as spool:
        assert outcomes(await spool.append([entry(1)])) == ["new"]
        world.servers.is_away = True
        assert outcomes(await spool.append(entries(2, 4))) == ["new"] * 3
        assert outcomes(await spool.append([entry(3), entry(5)])) == ["duplicate", "new"]
        assert spool.state == SpoolState(events=4, bytes=sum(map(len, bodies(2, 5))), oldest_at=entry(2).received_at)
        assert await world.stored() == bodies(1, 1)
        world.servers.is_away = False
        assert outcomes(await spool.append([entry(6)])) == ["new"]
        await wait_until(lambda: spool.state == SpoolState())
        assert await world.stored() == bodies(1, 6)
        assert outcomes(await spool.append([entry(4), entry(7)])) == ["duplicate", "new"]
        assert await world.stored() == bodies(1, 7)
        assert [path.name for path in world.path.iterdir() if "spool" in path.name] == []
        world.servers.is_away = True
        await spool.append([entry(5)])
        world.servers.is_away = False
        await wait_until(lambda: spool.state == SpoolState())
        assert await world.stored() == bodies(1, 7)


async def test_events_that_an_earlier_process_kept_are_forwarded_before_new_ones(world: World) -> None:
    """Killed between the two steps, it forwards some again, which are recognised."""
    world.servers.is_away = True
    async with world.opened() as spool:
        await spool.append(entries(1, 3))
    world.servers.is_away = False
    await world.servers.append([entry(1)])
    world.servers.is_away = True
    async with world.opened() as spool:
        assert spool.state.events == 3
        await spool.append([entry(4)])
        world.servers.is_away = False
        await wait_until(lambda: spool.state == SpoolState())
    assert await world.stored() == bodies(1, 4)


async def test_entries_that_the_servers_did_not_store_of_a_request_are_kept(world: World) -> None:
    async with world.opened() as spool:
        world.servers.stored_max = 2
        assert outcomes(await spool.append(entries(1, 5))) == ["new"] * 5
        await wait_until(lambda: spool.state == SpoolState())
    assert await world.stored() == bodies(1, 5)


async def test_entries_are_prepared_for_the_servers_alone(world: World) -> None:
    """What is to be published before them cannot be, without a quorum."""
    world.servers.is_away = True
    async with world.opened() as spool:
        await spool.append([entry(1)])
        assert world.prepared[0] == 1
        world.prepared.clear()
        world.servers.is_away = False
        await wait_until(lambda: spool.state == SpoolState())
        assert world.prepared[-1] == 1


async def test_spool_that_is_full_keeps_no_further_events(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """By number, by space on the disk, and where the setting is `refuse` now."""
    world.servers.is_away = True
    async with world.opened(events_max=2) as spool:
        await spool.append(entries(1, 2))
        with pytest.raises(Unavailable, match="keep no further events"):
            await spool.append([entry(3)])
    async with world.opened(may_grow=False) as spool:
        with pytest.raises(Unavailable, match="keep no further events"):
            await spool.append([entry(3)])
        world.servers.is_away = False
        await wait_until(lambda: spool.state == SpoolState())
        assert outcomes(await spool.append([entry(3)])) == ["new"]
        world.servers.is_away = True
        with pytest.raises(Unavailable):
            await spool.append([entry(4)])
    async with world.opened() as spool:
        monkeypatch.setattr(event_spool, "FREE_BYTES_MIN", 2**62)
        with pytest.raises(Unavailable, match="keep no further events"):
            await spool.append([entry(4)])
    assert await world.stored() == bodies(1, 3)


async def test_spool_under_a_stream_of_events_gets_empty_and_loses_none(world: World) -> None:
    world.servers.is_away = True
    async with world.opened() as spool:
        for number in range(1, 301):
            await spool.append([entry(number)])
            if number == 100:
                world.servers.is_away = False
            if number == 200:
                world.servers.is_away = True
        world.servers.is_away = False
        await wait_until(spool.state == SpoolState() async for _ in polls())
    assert await world.stored() == bodies(1, 300)


class FailingFile(SqliteLedger):
    """The file of a spool; of a removal one step fails, once."""

    failing_step = ""

    async def read(self, after_seq: int, limit: int) -> list[RawEvent]:
        if limit == 1:
            self._fail("read")
        return await super().read(after_seq, limit)

    async def delete(self, seqs: Sequence[int]) -> None:
        await super().delete(seqs)
        self._fail("delete")

    @classmethod
    def _fail(cls, step: str) -> None:
        if cls.failing_step == step:
            cls.failing_step = ""
            raise Unavailable("locked", hint="wait")


@pytest.mark.parametrize("step", ["read", "delete", "unlink"])
async def test_spool_whose_removal_failed_once_gets_empty(
    world: World, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Events that come meanwhile are forwarded, and later ones go to the servers at once."""
    unlink = Path.unlink
    failed: list[Path] = []

    def fail_once(path: Path, missing_ok: bool = False) -> None:
        if step == "unlink" and path.name == "spool.db" and not failed:
            failed.append(path)
            raise PermissionError(13, "Permission denied")
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", fail_once)
    monkeypatch.setattr(FailingFile, "failing_step", step)
    world.servers.is_away = True
    async with world.opened(open_file=FailingFile) as spool:
        await spool.append(entries(1, 3))
        world.servers.is_away = False
        await wait_until(spool.state == SpoolState() async for _ in polls())
        assert (FailingFile.failing_step, len(failed)) == (("", 0) if step != "unlink" else (step, 1))
        assert not (world.path / "spool.db").exists()
        world.servers.is_away = True
        await spool.append(entries(4, 5))
        world.servers.is_away = False
        await wait_until(spool.state == SpoolState() async for _ in polls())
        assert outcomes(await spool.append([entry(6)])) == ["new"]
    assert await world.stored() == bodies(1, 6)
