"""Whichever operation fails, nothing acknowledged is lost, nothing is stored twice, and the next attempt succeeds.

Each scenario runs with its first operation failing, then with its second, and so on until none has failed: once so that
the operation is not done, once so that it is done and its success is not known.
"""

import itertools
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from onhook.appdb.appdb import AppDb
from onhook.cdr.record import Call
from onhook.cdr.record_filter import RecordFilter
from onhook.config import Config
from onhook.ledger.contract import AppendResult, LedgerEntry
from onhook.ledger.sqlite import SqliteLedger
from onhook.lib.clock import SystemClock
from onhook.lib.errors import OnhookError
from onhook.ops.rebuild import rebuild
from onhook.ops.retention import DAY_MICROSECONDS, Retention, RetentionTotals
from onhook.pbx.registry import dialects
from onhook.projector.projector import Projector
from onhook.runtime.engines import ENGINES
from onhook.store.contract import Store
from onhook.store.duckdb import open_store
from tests import counts
from tests.factories import SN, STARTED_AT, details
from tests.faults.operations import FailingOperation, one_failing_operation
from tests.test_upgrade import COMMITS, OldDirectory

ATTEMPTS_MAX = 5
"""One operation fails once, so that the second attempt succeeds; a service may need one more to reopen a file."""

STEP = 61
"""In `make test` few operations fail: a scenario has some hundred, and each takes a start of all engines."""

every_operation = pytest.mark.parametrize("step", [STEP, counts.step(1)])
early_and_late = pytest.mark.parametrize(
    "is_late", [pytest.param(False, id="not done"), pytest.param(True, id="done", marks=pytest.mark.slow)]
)

Scenario = Callable[[Path], Awaitable[None]]


async def fail_each(directory: Path, scenario: Scenario, check: Scenario, step: int, *, is_late: bool) -> None:
    """Run a scenario in a new copy of a directory for each failing operation, until none fails; check each."""
    for number in itertools.count(1, step):
        copy = directory.with_name(f"{directory.name}-{number}")
        shutil.copytree(directory, copy)
        operation = FailingOperation(number, is_late=is_late)
        with one_failing_operation(operation):
            await try_again(lambda copy=copy: scenario(copy))  # type: ignore[misc] # bound now
        await check(copy)
        shutil.rmtree(copy)
        if not operation.has_failed:
            assert number > 1
            return


async def try_again(attempt: Callable[[], Awaitable[None]]) -> None:
    """Run an attempt again after each error that has a sentence for a person; others are not expected."""
    errors: list[OnhookError] = []
    while len(errors) < ATTEMPTS_MAX:
        try:
            await attempt()
        except OnhookError as error:
            errors.append(error)
            continue
        return
    raise AssertionError(f"no success in {ATTEMPTS_MAX} attempts: {[str(error) for error in errors]}")


def entry(number: int, *, age_days: int = 0) -> LedgerEntry:
    """Return the event of one leg; two numbers that follow each other are the legs of one call."""
    started_at = STARTED_AT.replace(second=number % 2, minute=number // 2)
    leg = details(started_at, call_id=f"{int(STARTED_AT.timestamp())}.{number // 2}", call_to=f"Bob<10{number % 2}>")
    body = dialects()["yeastar"].format(leg, SN, "p-2026")
    key = dialects()["yeastar"].peek(body).key
    received_at = SystemClock().microseconds() - age_days * DAY_MICROSECONDS
    return LedgerEntry(sn=SN, dialect="yeastar", via="webhook", received_at=received_at, key=key, body=body)


ENTRIES = [entry(number) for number in range(10)]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


@asynccontextmanager
async def open_ledger(directory: Path) -> AsyncIterator[SqliteLedger]:
    ledger = SqliteLedger(directory / "ledger.db")
    try:
        yield ledger
    finally:
        await ledger.close()


@asynccontextmanager
async def open_projector(directory: Path) -> AsyncIterator[tuple[Projector, Store, SqliteLedger, AppDb]]:
    async with AppDb(directory / "onhook.db") as appdb, open_ledger(directory) as ledger:
        store = await open_store(directory / "calls.duckdb")
        try:
            yield Projector(ledger=ledger, store=store, dialects=dialects(), clock=SystemClock()), store, ledger, appdb
        finally:
            await store.close()


async def read_calls(store: Store) -> Sequence[Call]:
    return (await store.calls(RecordFilter(), 1_000)).data


async def append_all(directory: Path, entries: Sequence[LedgerEntry] = ENTRIES) -> None:
    async with open_ledger(directory) as ledger:
        await ledger.append(entries)


@every_operation
@early_and_late
async def test_receive_each_operation_fails(directory: Path, step: int, *, is_late: bool) -> None:
    """Each event is appended until it is acknowledged, as a PBX does."""
    acknowledged: dict[bytes, AppendResult] = {}

    async def receive(copy: Path) -> None:
        async with open_ledger(copy) as ledger:
            for first in range(0, len(ENTRIES), 2):
                batch = ENTRIES[first : first + 2]
                acknowledged.update(zip([item.key for item in batch], await ledger.append(batch), strict=True))

    async def check(copy: Path) -> None:
        async with open_ledger(copy) as ledger:
            raw_events = await ledger.read(0, 100)
        assert {raw_event.key: raw_event.seq for raw_event in raw_events} == {
            key: result.seq for key, result in acknowledged.items()
        }
        assert len(raw_events) == len(ENTRIES)
        acknowledged.clear()

    await fail_each(directory, receive, check, step, is_late=is_late)


async def expected_calls(directory: Path) -> Sequence[Call]:
    """Return the calls of a directory when nothing fails."""
    copy = directory.with_name("expected")
    shutil.copytree(directory, copy)
    async with open_projector(copy) as (projector, store, _ledger, _appdb):
        await projector.catch_up()
        return await read_calls(store)


@every_operation
@early_and_late
async def test_project_each_operation_fails(directory: Path, step: int, *, is_late: bool) -> None:
    await append_all(directory)
    expected = await expected_calls(directory)
    assert len(expected) == len(ENTRIES) // 2

    async def project(copy: Path) -> None:
        async with open_projector(copy) as (projector, _store, _ledger, _appdb):
            await try_again(lambda: _catch_up(projector))

    async def check(copy: Path) -> None:
        async with open_projector(copy) as (_projector, store, _ledger, _appdb):
            assert await read_calls(store) == expected
            assert await store.position() == len(ENTRIES)

    await fail_each(directory, project, check, step, is_late=is_late)


async def _catch_up(projector: Projector) -> None:
    await projector.catch_up()


@pytest.mark.parametrize("step", [counts.step(1)])
@early_and_late
async def test_rebuild_each_operation_fails(directory: Path, step: int, *, is_late: bool) -> None:
    """The old store stays in use until the new one replaces it."""
    await append_all(directory)
    async with open_projector(directory) as (projector, store, _ledger, _appdb):
        await projector.catch_up()
        expected = await read_calls(store)

    async def rebuild_store(copy: Path) -> None:
        await rebuild(Config(data=copy), lambda _position, _last: None, ENGINES)

    async def check(copy: Path) -> None:
        async with open_projector(copy) as (projector, store, _ledger, _appdb):
            await projector.catch_up()
            assert await read_calls(store) == expected
        assert _files(copy, "*.part*") == []

    await fail_each(directory, rebuild_store, check, step, is_late=is_late)


@pytest.mark.parametrize("step", [counts.step(1)])
@early_and_late
async def test_retention_each_operation_fails(directory: Path, step: int, *, is_late: bool) -> None:
    """The calls of a store that is rebuilt are the same, and what was deleted is recognised."""
    old = [entry(number, age_days=100) for number in range(6)]
    await append_all(directory, [*old, *ENTRIES[6:]])
    async with open_projector(directory) as (projector, _store, _ledger, appdb):
        await appdb.add_pbx(name="office", sn=SN, secret="0123456789", now_us=1)
        await projector.catch_up()
        await appdb.notes.write(SN, f"{int(STARTED_AT.timestamp())}.0", "calls back", "", author="Alice", now_us=1)

    async def run_cycle(copy: Path) -> None:
        async with open_projector(copy) as (projector, store, ledger, appdb):
            retention = Retention(
                config=Config(data=copy, keep_days=90),
                appdb=appdb,
                ledger=ledger,
                store=store,
                projector=projector,
                clock=SystemClock(),
            )
            await retention.run_cycle()
            assert await retention.run_cycle() == RetentionTotals()

    async def check(copy: Path) -> None:
        expected = (await _calls_of(copy))[:2]
        for path in _files(copy, "calls.duckdb*"):
            path.unlink()
        assert await _calls_of(copy) == expected
        async with open_ledger(copy) as ledger:
            assert [result.outcome for result in await ledger.append(old)] == ["deleted"] * len(old)
        async with AppDb(copy / "onhook.db") as appdb:
            assert await appdb.notes.history(SN, f"{int(STARTED_AT.timestamp())}.0") == []

    await fail_each(directory, run_cycle, check, step, is_late=is_late)


async def _calls_of(directory: Path) -> Sequence[Call]:
    async with open_projector(directory) as (projector, store, _ledger, _appdb):
        await projector.catch_up()
        return await read_calls(store)


@pytest.mark.parametrize("step", [counts.step(1)])
@early_and_late
@pytest.mark.parametrize("commit", COMMITS)
async def test_upgrade_each_operation_fails(tmp_path: Path, commit: str, step: int, *, is_late: bool) -> None:
    """A file is of the old version or of the new one, with the same rows, never in between."""
    OldDirectory(commit, tmp_path)

    async def upgrade(copy: Path) -> None:
        async with AppDb(copy / "onhook.db"), open_ledger(copy):
            pass

    expected = tmp_path / "expected"
    shutil.copytree(tmp_path / "onhook-data", expected)
    await upgrade(expected)
    expected_rows = await _read_rows(expected)

    async def check(copy: Path) -> None:
        assert await _read_rows(copy) == expected_rows

    await fail_each(tmp_path / "onhook-data", upgrade, check, step, is_late=is_late)


async def _read_rows(directory: Path) -> Any:
    async with AppDb(directory / "onhook.db") as appdb, open_ledger(directory) as ledger:
        return (
            await ledger.read(0, 10_000),
            await appdb.pbxs(),
            await appdb.destinations.all(),
            await appdb.users.all(),
            await appdb.audit.latest(1_000),
        )


def _files(directory: Path, pattern: str) -> list[Path]:
    return list(directory.glob(pattern))
