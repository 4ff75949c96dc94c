"""Leases: one owner at a time, followed after a death and at once after a stop; an earlier owner commits nothing."""

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from onhook.appdb import leases
from onhook.appdb.appdb import AppDb
from onhook.appdb.fence import FencedOff, Lease, fenced, get_lease
from onhook.appdb.leases import LEASE_MICROSECONDS, TURN_PREFIX, LeaseHolder
from onhook.appdb.postgresql import PostgresqlDatabase
from onhook.lib.errors import Unavailable
from tests.waiting import polls, wait_until

NAME = "destination:1"

pytestmark = pytest.mark.usefixtures("each_engine", "moved_time")


class MovedClock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now_us = 1_000_000_000

    def microseconds(self) -> int:
        return self.now_us

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.now_us / 1e6, UTC)


class Work:
    """Work that runs until it is cancelled, and commits something then."""

    def __init__(self, appdb: AppDb) -> None:
        self.appdb = appdb
        self.starts = 0
        self.is_running = False
        self.last_error: Exception | None = None
        self.at_end: Callable[[], None] = lambda: None

    async def run(self) -> None:
        self.starts += 1
        self.is_running = True
        try:
            await asyncio.Event().wait()
        finally:
            try:
                await write(self.appdb)
            except FencedOff as error:
                self.last_error = error
            self.at_end()
            self.is_running = False


class Process:
    """A process with its own connection to the database, its leases and its work."""

    def __init__(self, path: Path, clock: MovedClock) -> None:
        self.appdb = AppDb(path)
        self.holder = LeaseHolder(self.appdb.leases, clock)
        self.work = Work(self.appdb)
        self.task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self.task = asyncio.create_task(self.holder.run_leased(NAME, self.work.run))

    def start_unless_held(self) -> None:
        self.task = asyncio.create_task(self.holder.run_unless_held(NAME, self.work.run))

    async def stop(self) -> None:
        if self.task is not None:
            self.task.cancel()
            with suppress(asyncio.CancelledError):
                await self.task


async def write(appdb: AppDb, value: int = 30) -> None:
    await appdb.store_positions.report("hub", value, now_us=1)


async def read(appdb: AppDb) -> int | None:
    return await appdb.store_positions.slowest(now_us=2)


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
def moved_time(monkeypatch: pytest.MonkeyPatch, clock: MovedClock) -> None:
    """Have a PostgreSQL server measure by the clock that a test moves."""

    async def lease_time(_database: PostgresqlDatabase, _now_us: int) -> int:
        return clock.now_us

    monkeypatch.setattr(PostgresqlDatabase, "lease_time", lease_time)


@pytest.fixture
async def processes(
    tmp_path: Path, clock: MovedClock, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Process, Process]]:
    monkeypatch.setattr(leases, "ACQUIRE_SECONDS", 0.01)
    first, second = Process(tmp_path / "onhook.db", clock), Process(tmp_path / "onhook.db", clock)
    yield first, second
    for process in (first, second):
        await process.stop()
        await process.appdb.close()


async def test_lease_has_one_owner_until_it_runs_out(processes: tuple[Process, Process], clock: MovedClock) -> None:
    first, second = (process.appdb.leases for process in processes)
    assert await first.acquire(NAME, "first", now_us=clock.now_us) == Lease(NAME, "first", 1)
    assert await second.acquire(NAME, "second", now_us=clock.now_us) is None
    assert await second.acquire("destination:2", "second", now_us=clock.now_us) == Lease("destination:2", "second", 1)
    clock.now_us += LEASE_MICROSECONDS - 1
    assert await second.acquire(NAME, "second", now_us=clock.now_us) is None
    assert await first.renew("first", {NAME: 1}, now_us=clock.now_us) == {NAME: 1}
    clock.now_us += LEASE_MICROSECONDS
    assert await second.acquire(NAME, "second", now_us=clock.now_us) == Lease(NAME, "second", 2)
    assert await first.renew("first", {NAME: 1}, now_us=clock.now_us) == {}


async def test_lease_of_a_process_that_read_the_clock_later_is_its_own(
    processes: tuple[Process, Process], clock: MovedClock
) -> None:
    """By some seconds, as where a query waited for the locked database: the clock was not set back."""
    first, second = (process.appdb.leases for process in processes)
    assert await first.acquire(NAME, "first", now_us=clock.now_us + 5_000_000) is not None
    assert await second.acquire(NAME, "second", now_us=clock.now_us) is None
    turn = await first.acquire(f"{TURN_PREFIX}tokens", "command", now_us=clock.now_us + 5_000_000)
    assert turn is not None
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3), second.turn("tokens", clock):
            pass
    assert await first.has_turn(turn)


async def test_lease_of_a_dead_owner_is_free_after_the_clock_was_set_back(
    processes: tuple[Process, Process], clock: MovedClock
) -> None:
    """By days, as where a machine begins with a wrong clock: not first when that time comes again."""
    first, second = (process.appdb.leases for process in processes)
    turn = await first.acquire(f"{TURN_PREFIX}tokens", "command", now_us=clock.now_us)
    assert turn is not None
    assert await first.acquire(NAME, "first", now_us=clock.now_us) is not None
    clock.now_us -= 500_000_000
    assert await second.acquire(NAME, "second", now_us=clock.now_us) == Lease(NAME, "second", 2)
    async with asyncio.timeout(5), second.turn("tokens", clock) as lease:
        assert lease.fence == 2
        assert not await first.has_turn(turn)


async def test_release_frees_the_lease_of_that_owner_alone(
    processes: tuple[Process, Process], clock: MovedClock
) -> None:
    first, second = (process.appdb.leases for process in processes)
    old_lease = await first.acquire(NAME, "first", now_us=clock.now_us)
    assert old_lease is not None
    await first.release(old_lease)
    assert await second.acquire(NAME, "second", now_us=clock.now_us) == Lease(NAME, "second", 2)
    await first.release(old_lease)
    assert await first.acquire(NAME, "first", now_us=clock.now_us) is None
    await second.release_all()
    assert await first.acquire(NAME, "first", now_us=clock.now_us) == Lease(NAME, "first", 3)


async def test_commit_of_an_earlier_owner_is_refused(processes: tuple[Process, Process], clock: MovedClock) -> None:
    """A single statement, a transaction, and those of tasks that it starts; without a lease all may write."""
    first, second = (process.appdb for process in processes)
    lease = await first.leases.acquire(NAME, "first", now_us=clock.now_us)
    assert lease is not None
    with fenced(lease):
        await write(first)
    clock.now_us += LEASE_MICROSECONDS
    await second.leases.acquire(NAME, "second", now_us=clock.now_us)
    with fenced(lease):
        with pytest.raises(FencedOff):
            await write(first, 60)
        with pytest.raises(FencedOff):
            async with first._database.transaction():
                await first._database.write("DELETE FROM stores")
        with pytest.raises(FencedOff):
            await asyncio.create_task(write(first, 60))
    assert get_lease() is None
    assert await read(second) == 30
    await write(first, 90)
    assert await read(second) == 90


async def test_commit_of_an_earlier_owner_is_refused_where_a_standby_gives_its_number_again(
    processes: tuple[Process, Process], clock: MovedClock
) -> None:
    """The standby that follows a failed server may lack the last commits: here that the lease was acquired."""
    first, second = (process.appdb for process in processes)
    lost_lease = await first.leases.acquire(NAME, "first", now_us=clock.now_us)
    assert lost_lease is not None
    await first._database.write("DELETE FROM leases")
    assert await second.leases.acquire(NAME, "second", now_us=clock.now_us) == Lease(NAME, "second", 1)
    with fenced(lost_lease), pytest.raises(FencedOff):
        await write(first, 60)
    assert not await first.leases.has_turn(lost_lease)
    await first.leases.release(lost_lease)
    assert await first.leases.acquire(NAME, "third", now_us=clock.now_us) is None


async def test_work_is_handed_over_at_once_when_its_process_stops(processes: tuple[Process, Process]) -> None:
    """The last commit of the first comes before the second begins."""
    first, second = processes
    first.start()
    await wait_until(lambda: first.work.is_running)
    second.start()
    was_running: list[bool] = []
    first.work.at_end = lambda: was_running.append(second.work.is_running)
    await first.stop()
    await wait_until(lambda: second.work.is_running)
    assert (was_running, first.work.last_error) == ([False], None)
    assert (first.work.starts, second.work.starts) == (1, 1)


async def test_work_that_is_cancelled_again_has_ended_before_its_lease_is_free(
    processes: tuple[Process, Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its stop takes long, and who stops it is in a hurry."""
    first, _second = processes
    steps: list[str] = []
    may_end = asyncio.Event()

    async def work() -> None:
        steps.append("begins")
        try:
            await asyncio.Event().wait()
        finally:
            try:
                await may_end.wait()
            finally:
                await asyncio.sleep(0)
                steps.append("ends")

    async def release(_lease: Lease) -> None:
        steps.append("is free")

    monkeypatch.setattr(first.holder, "_release", release)
    task = asyncio.create_task(first.holder.run_leased(NAME, work))
    await wait_until(lambda: steps == ["begins"])
    for _time in range(2):
        task.cancel()
        await asyncio.sleep(0.01)
    with suppress(asyncio.CancelledError):
        await task
    assert steps == ["begins", "ends", "is free"]


async def test_work_whose_lease_ran_out_is_begun_elsewhere(
    processes: tuple[Process, Process], clock: MovedClock
) -> None:
    """Within ten seconds. The first process was only slow: its next renewal ends its work, whose commit is refused."""
    first, second = processes
    first.start()
    await wait_until(lambda: first.work.is_running)
    second.start()
    clock.now_us += 10_000_000
    await wait_until(lambda: second.work.is_running)
    await first.holder.renew()
    await wait_until(lambda: not first.work.is_running)
    assert isinstance(first.work.last_error, FencedOff)
    assert second.work.is_running


@pytest.mark.parametrize("error", [FencedOff("another process has it"), Unavailable("locked")])
async def test_work_that_fails_at_its_end_is_logged_and_not_left_unread(
    processes: tuple[Process, Process], caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    first, _second = processes
    unread: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: unread.append(context["message"]))

    async def work() -> None:
        first.work.is_running = True
        try:
            await asyncio.Event().wait()
        finally:
            raise error

    task = asyncio.create_task(first.holder.run_leased(NAME, work))
    await wait_until(lambda: first.work.is_running)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    del task
    gc.collect()
    await asyncio.sleep(0)
    messages = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert (unread, messages) == ([], [] if isinstance(error, FencedOff) else ["work ended with an error"])


async def test_work_goes_on_while_the_lease_cannot_be_renewed(
    processes: tuple[Process, Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _second = processes
    first.start()
    await wait_until(lambda: first.work.is_running)

    async def fail(_owner: str, _fences: Mapping[str, int], *, now_us: int) -> dict[str, int]:
        raise Unavailable(f"locked at {now_us}")

    with monkeypatch.context() as patched:
        patched.setattr(first.appdb.leases, "renew", fail)
        await first.holder.renew()
    assert first.work.is_running
    await first.holder.renew()
    assert (first.work.is_running, first.work.starts) == (True, 1)


async def test_lease_that_cannot_be_acquired_now_is_tried_again(
    processes: tuple[Process, Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _second = processes
    acquire, failures = first.appdb.leases.acquire, [Unavailable("locked")]

    async def fail_once(name: str, owner: str, *, now_us: int) -> Lease | None:
        if failures:
            raise failures.pop()
        return await acquire(name, owner, now_us=now_us)

    monkeypatch.setattr(first.appdb.leases, "acquire", fail_once)
    first.start()
    await wait_until(lambda: first.work.is_running)
    assert failures == []


class Timer:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.read_count = 0

    def monotonic(self) -> float:
        self.read_count += 1
        return self.now

    async def wait_for_reads(self, count: int) -> None:
        end = self.read_count + count
        await wait_until(lambda: self.read_count >= end)


class AbsentDatabase:
    """Leases that cannot be acquired while the database does not answer."""

    def __init__(self, patch: pytest.MonkeyPatch, *processes: Process) -> None:
        self.is_absent = True
        for process in processes:
            patch.setattr(process.appdb.leases, "acquire", partial(self._acquire, process.appdb.leases.acquire))

    async def _acquire(self, acquire: Callable[..., Awaitable[Lease | None]], *args: str, now_us: int) -> Lease | None:
        if self.is_absent:
            raise Unavailable("no answer")
        return await acquire(*args, now_us=now_us)


async def test_work_unless_held_is_at_one_process_at_a_time(
    processes: tuple[Process, Process], clock: MovedClock
) -> None:
    """Handed over at a stop, and where a process stood still for too long."""
    first, second = processes
    first.start_unless_held()
    await wait_until(lambda: first.work.is_running)
    second.start_unless_held()
    was_running: list[bool] = []
    first.work.at_end = lambda: was_running.append(second.work.is_running)
    await first.stop()
    await wait_until(lambda: second.work.is_running)
    first.start_unless_held()
    clock.now_us += 10_000_000
    await wait_until(lambda: first.work.is_running)
    await second.holder.renew()
    await wait_until(lambda: not second.work.is_running)
    assert (was_running, first.work.starts, second.work.starts) == ([False], 2, 1)


async def test_work_unless_held_goes_on_without_the_database_until_another_process_has_the_lease(
    processes: tuple[Process, Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = processes
    database = AbsentDatabase(monkeypatch, first, second)
    first.start_unless_held()
    second.start_unless_held()
    await wait_until(lambda: first.work.is_running and second.work.is_running)
    database.is_absent = False
    await wait_until(lambda: first.work.is_running != second.work.is_running)
    owner, other = (first, second) if first.work.is_running else (second, first)
    assert (owner.work.starts, other.work.starts) == (1, 1)
    await owner.stop()
    await wait_until(lambda: other.work.is_running)


async def test_work_unless_held_waits_for_a_lease_that_may_last(
    processes: tuple[Process, Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process may have it for so long after it was seen to."""
    first, second = processes
    first.start_unless_held()
    await wait_until(lambda: first.work.is_running)
    database = AbsentDatabase(monkeypatch, second)
    database.is_absent = False
    timer = Timer()
    monkeypatch.setattr(leases, "time", timer)
    second.start_unless_held()
    await timer.wait_for_reads(3)
    database.is_absent = True
    await timer.wait_for_reads(3)
    timer.now += leases.LEASE_SECONDS - 0.1
    await timer.wait_for_reads(3)
    assert not second.work.is_running
    timer.now += 0.2
    await wait_until(lambda: second.work.is_running)
    assert first.work.is_running


async def test_work_unless_held_that_ends_by_itself_gives_its_lease_back(processes: tuple[Process, Process]) -> None:
    first, second = processes

    async def fail() -> None:
        raise ValueError("a mistake")

    with pytest.raises(ValueError, match="a mistake"):
        await first.holder.run_unless_held(NAME, fail)
    second.start_unless_held()
    await wait_until(lambda: second.work.is_running)


async def test_work_that_fails_or_ends_by_itself_gives_its_lease_back(processes: tuple[Process, Process]) -> None:
    first, second = processes

    async def fail() -> None:
        raise ValueError("a mistake")

    with pytest.raises(ValueError, match="a mistake"):
        await first.holder.run_leased(NAME, fail)

    async def cancel() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await first.holder.run_leased(NAME, cancel)
    ran: list[Lease | None] = []

    async def run() -> None:
        ran.append(get_lease())

    await second.holder.run_leased(NAME, run)
    assert [lease and lease.fence for lease in ran] == [3]


async def test_leases_are_renewed_from_time_to_time(
    processes: tuple[Process, Process], clock: MovedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.01)
    first, second = processes
    renewing = asyncio.create_task(first.holder.run())
    first.start()
    await wait_until(lambda: first.work.is_running)
    clock.now_us += LEASE_MICROSECONDS - 1
    query = "SELECT until FROM leases"
    renewed = [(clock.now_us + LEASE_MICROSECONDS,)]
    await wait_until(await second.appdb._database.rows(query) == renewed async for _ in polls())
    renewing.cancel()
    await asyncio.wait([renewing])


async def test_lease_of_an_owner_with_a_name_is_its_own_after_a_restart(tmp_path: Path, clock: MovedClock) -> None:
    """As of a data directory, whose hub was killed; another one waits until the lease has run out."""
    async with AppDb(tmp_path / "onhook.db") as appdb:
        assert await appdb.leases.acquire("node:a", "first", now_us=clock.now_us) is not None
        assert await appdb.leases.is_held_by_another("node:a", "second", now_us=clock.now_us)
        assert not await appdb.leases.is_held_by_another("node:a", "first", now_us=clock.now_us)
        async with LeaseHolder(appdb.leases, clock, "first").holding("node:a"):
            assert await appdb.leases.is_held_by_another("node:a", "second", now_us=clock.now_us)
        assert not await appdb.leases.is_held_by_another("node:a", "second", now_us=clock.now_us)
