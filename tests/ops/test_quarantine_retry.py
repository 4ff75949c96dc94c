"""Events parsed late are sent to destinations that are past their numbers."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.destination_spec import DestinationSpec
from onhook.lib.clock import SystemClock
from onhook.lib.errors import Unavailable
from onhook.ops import quarantine_retry
from onhook.ops.quarantine_retry import QuarantineRetrier, release_left_replays
from onhook.store.contract import QuarantineEntry
from tests.waiting import polls, wait_until


class Projector:
    """A projector that records the held replays while it works."""

    def __init__(self, appdb: AppDb) -> None:
        self.appdb = appdb
        self.fails = False
        self.unparsed_seqs: list[int] = []
        self.stream_counts: list[int] = []

    async def retry(self, seqs: list[int]) -> list[QuarantineEntry]:
        self.stream_counts.append(len(await self.appdb.destinations.streams(1)))
        if self.fails:
            raise Unavailable("no disk")
        return [quarantine_entry(seq) for seq in self.unparsed_seqs]

    async def find_seqs_without_records(self, entries: list[QuarantineEntry]) -> list[int]:
        return [entry.seq for entry in entries]


def quarantine_entry(seq: int) -> QuarantineEntry:
    return QuarantineEntry(seq=seq, sn="PBX", via="webhook", received_at=datetime(2026, 5, 1, tzinfo=UTC), reason="")


class PartialProjector(Projector):
    """A projector that can read a part of event 5, and none of event 7."""

    async def retry(self, seqs: list[int]) -> list[QuarantineEntry]:
        return [quarantine_entry(seq) for seq in seqs]

    async def find_seqs_without_records(self, entries: list[QuarantineEntry]) -> list[int]:
        assert [entry.seq for entry in entries] == [5, 7]
        return [7]


async def test_retry_of_a_partly_readable_event_sends_its_calls(tmp_path: Path) -> None:
    appdb = AppDb(tmp_path / "onhook.db")
    await appdb.destinations.add("crm", DestinationSpec(url="http://a.example/"), None, after=9, now_us=1)
    retrier = QuarantineRetrier(PartialProjector(appdb), appdb, SystemClock())  # type: ignore[arg-type] # has the methods
    await retrier.retry([5, 7])
    assert [stream.until for stream in await appdb.destinations.streams(1)] == [None, 5]
    await appdb.close()


async def test_retry_holds_replays_before_it_parses(tmp_path: Path) -> None:
    """They are not sent before; after an error they stay held, because records may still be stored."""
    appdb = AppDb(tmp_path / "onhook.db")
    await appdb.destinations.add("crm", DestinationSpec(url="http://a.example/"), None, after=9, now_us=1)
    projector = Projector(appdb)
    rereading = QuarantineRetrier(projector, appdb, SystemClock())  # type: ignore[arg-type] # it has the one method
    await rereading.retry([5])
    projector.fails = True
    with pytest.raises(Unavailable):
        await rereading.retry([7])
    assert projector.stream_counts == [1, 2]
    assert [stream.until for stream in await appdb.destinations.streams(1)] == [None, 5]
    await release_all(appdb)
    assert [(stream.cursor, stream.until) for stream in (await appdb.destinations.streams(1))[1:]] == [(4, 5), (6, 7)]
    await appdb.close()


async def test_retry_consecutive_events_are_one_replay(tmp_path: Path) -> None:
    """It is discarded where none of them could be parsed."""
    async with AppDb(tmp_path / "onhook.db") as appdb:
        await appdb.destinations.add("crm", DestinationSpec(url="http://a.example/"), None, after=9, now_us=1)
        projector = Projector(appdb)
        projector.unparsed_seqs = [2, 7, 8, 20]
        retrier = QuarantineRetrier(projector, appdb, SystemClock())  # type: ignore[arg-type] # it has the one method
        await retrier.retry([8, 7, 1, 2, 3, 11, 20])
        streams = await appdb.destinations.streams(1)
        assert [(stream.cursor, stream.until) for stream in streams] == [(9, None), (0, 3), (10, 11)]
        await release_all(appdb)
        assert await appdb.destinations.streams(1) == streams


async def test_replays_of_a_retry_in_progress_are_held_and_those_of_a_dead_process_are_released(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the retry takes, and without a start of a hub."""
    monkeypatch.setattr(quarantine_retry, "RELEASE_SECONDS", 0.01)
    monkeypatch.setattr(quarantine_retry, "HELD_SECONDS_MIN", 0.0)
    clock = CountingClock()
    async with AppDb(tmp_path / "onhook.db") as appdb, AppDb(tmp_path / "onhook.db") as other_appdb:
        await appdb.destinations.add("crm", DestinationSpec(url="http://a.example/"), None, after=9, now_us=1)
        projector = SlowProjector(appdb)
        retrier = QuarantineRetrier(projector, appdb, SystemClock())  # type: ignore[arg-type] # it has the one method
        retrying = asyncio.create_task(retrier.retry([5]))
        await projector.is_retrying.wait()
        releasing = asyncio.create_task(release_left_replays(other_appdb, clock))
        await wait_until(lambda: clock.reads > 3)
        assert await list_ends(appdb) == [None]
        projector.may_end.set()
        await retrying
        assert await list_ends(appdb) == [None, 5]
        await appdb.destinations.hold_replays([(7, 7)], now_us=SystemClock().microseconds())
        await wait_until(await list_ends(appdb) == [None, 5, 7] async for _ in polls())
        releasing.cancel()
        await asyncio.wait([releasing])


async def list_ends(appdb: AppDb) -> list[int | None]:
    return [stream.until for stream in await appdb.destinations.streams(1)]


class SlowProjector(Projector):
    """A projector that works until it may end."""

    def __init__(self, appdb: AppDb) -> None:
        super().__init__(appdb)
        self.is_retrying = asyncio.Event()
        self.may_end = asyncio.Event()

    async def retry(self, seqs: list[int]) -> list[QuarantineEntry]:
        self.is_retrying.set()
        await self.may_end.wait()
        return await super().retry(seqs)


class CountingClock(SystemClock):
    """The system's clock, which counts how often it is read."""

    reads = 0

    def microseconds(self) -> int:
        self.reads += 1
        return super().microseconds()


async def release_all(appdb: AppDb) -> None:
    held = await appdb.destinations.list_held_replays(now_us=SystemClock().microseconds())
    await appdb.destinations.release_replays(held)
