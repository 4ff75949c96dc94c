"""The contract of the engine, for every engine: statements, transactions, cancellation, deadlines, notification."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Protocol

import pytest

from onhook.appdb.contract import CALL_SECONDS_MAX, TRANSACTION_SECONDS_MAX, ConstraintViolation, Database, InvalidValue
from onhook.appdb.postgresql import PostgresqlDatabase
from onhook.appdb.sqlite import SqliteDatabase
from onhook.lib.errors import OnhookError, Unavailable

IMPATIENT_SECONDS = 0.3
"""Deadline of the calls of a database that is expected not to answer."""

INSERT = "INSERT INTO saved_searches (name, path, author) VALUES (?, '/calls', '')"
NAMES = "SELECT name FROM saved_searches ORDER BY name"
SLOW_QUERY = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 1000000000) SELECT count(*) FROM n"


class OpenDatabase(Protocol):
    """Opens the same database once more, as another process would."""

    def __call__(
        self, *, call_seconds: float = CALL_SECONDS_MAX, transaction_seconds: float = TRANSACTION_SECONDS_MAX
    ) -> Database: ...


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
async def open_database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[OpenDatabase]:
    """Yield a function that opens the same database, with each engine."""
    databases: list[Database] = []
    url = request.getfixturevalue("copy_database")() if request.param == "postgresql" else ""

    def open_one_more(
        *, call_seconds: float = CALL_SECONDS_MAX, transaction_seconds: float = TRANSACTION_SECONDS_MAX
    ) -> Database:
        limits = {"call_seconds": call_seconds, "transaction_seconds": transaction_seconds}
        databases.append(PostgresqlDatabase(url, **limits) if url else SqliteDatabase(tmp_path / "onhook.db", **limits))
        return databases[-1]

    yield open_one_more
    for database in databases:
        await database.close()


@pytest.fixture
async def database(open_database: OpenDatabase) -> Database:
    database = open_database()
    await database.open()
    return database


@pytest.fixture
async def impatient_database(database: Database, open_database: OpenDatabase) -> Database:  # noqa: ARG001 - open first
    """Return the same database with a short deadline."""
    impatient = open_database(call_seconds=IMPATIENT_SECONDS)
    await impatient.open()
    return impatient


async def names(database: Database) -> list[str]:
    return [name for (name,) in await database.rows(NAMES)]


async def test_write_is_visible_to_others(database: Database, open_database: OpenDatabase) -> None:
    assert await database.write(INSERT, ("a",)) == 1
    assert await names(open_database()) == ["a"]


async def test_write_many_runs_all(database: Database) -> None:
    assert await database.write_many(INSERT, [("a",), ("b",)]) == 2
    assert await names(database) == ["a", "b"]


async def test_write_many_violated_constraint_writes_none(database: Database) -> None:
    with pytest.raises(ConstraintViolation):
        await database.write_many(INSERT, [("a",), ("b",), ("a",)])
    assert await names(database) == []


async def test_rows_many_returns_the_rows_of_each(database: Database) -> None:
    async with database.transaction():
        rows = await database.rows_many(f"{INSERT} ON CONFLICT DO NOTHING RETURNING name", [("a",), ("a",), ("b",)])
    assert rows == [[("a",)], [], [("b",)]]


async def test_numbered_parameter_is_used_twice(database: Database) -> None:
    """Whichever way a statement is run, also inside a transaction."""
    insert = "INSERT INTO saved_searches (name, path, author) SELECT ?1, '/calls', '' WHERE ?1 <> ?2"
    select = "SELECT name FROM saved_searches WHERE name = ?1 OR name = ?2 || ?1"
    assert [await database.write(insert, values) for values in (("a", "b"), ("b", "b"))] == [1, 0]
    assert await database.write_many(insert, [("xc", ""), ("c", "c")]) == 1
    async with database.transaction():
        assert await database.write(insert, ("d", "")) == 1
    assert await database.rows(select, ("c", "x")) == [("xc",)]
    assert await database.rows_many(select, [("a", "x"), ("d", "x")]) == [[("a",)], [("d",)]]


@pytest.mark.parametrize("method", ["rows_many", "write_many"])
async def test_many_without_values_does_nothing(database: Database, method: str) -> None:
    assert not await getattr(database, method)("no statement", [])


async def test_violated_constraint_is_an_error_of_the_contract(database: Database) -> None:
    await database.write(INSERT, ("a",))
    with pytest.raises(ConstraintViolation):
        await database.write(INSERT, ("a",))


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, "\ud800", "a\udcff"], ids=repr)
async def test_value_that_cannot_be_stored_is_an_error_of_the_contract(database: Database, value: object) -> None:
    """Whichever way a statement is run; what a transaction did before is rolled back."""
    select = "SELECT name FROM saved_searches WHERE name = ?"

    async def write_inside() -> None:
        async with database.transaction():
            await database.write(INSERT, ("a",))
            await database.write(INSERT, (value,))

    for call in (
        lambda: database.rows(select, (value,)),
        lambda: database.rows_many(select, [(value,)]),
        lambda: database.write(INSERT, (value,)),
        lambda: database.write_many(INSERT, [("a",), (value,)]),
        write_inside,
    ):
        with pytest.raises(InvalidValue):
            await call()
    assert await names(database) == []


async def test_invalid_statement_is_unavailable(database: Database) -> None:
    with pytest.raises(Unavailable):
        await database.rows("SELECT nothing FROM nowhere")


# Transactions


async def test_transaction_is_invisible_until_its_commit(database: Database, open_database: OpenDatabase) -> None:
    other = open_database()
    async with database.transaction():
        await database.write(INSERT, ("a",))
        assert [await names(database), await names(other)] == [["a"], []]
    assert await names(other) == ["a"]


async def test_transaction_error_rolls_back(database: Database) -> None:
    async def write_and_fail() -> None:
        async with database.transaction():
            await database.write(INSERT, ("a",))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await write_and_fail()
    assert await names(database) == []


async def test_transaction_inner_one_joins(database: Database) -> None:
    async def write_inside_and_fail() -> None:
        async with database.transaction():
            async with database.transaction():
                await database.write(INSERT, ("a",))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await write_inside_and_fail()
    assert await names(database) == []


async def test_transaction_suppressed_error_of_an_inner_one_rolls_back(database: Database) -> None:
    async def suppress_an_error() -> None:
        async with database.transaction():
            await database.write(INSERT, ("a",))
            with suppress(ZeroDivisionError):
                async with database.transaction():
                    raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await suppress_an_error()
    assert await names(database) == []


async def test_transaction_of_another_task_is_not_joined(database: Database) -> None:
    async with database.transaction():
        await database.write(INSERT, ("a",))
        assert await asyncio.create_task(names(database)) == []


async def test_transaction_writers_of_one_process_take_turns(database: Database) -> None:
    async def add_two(name: str) -> None:
        async with database.transaction():
            await database.write(INSERT, (name,))
            await asyncio.sleep(0.001)
            await database.write(INSERT, (f"{name}{name}",))

    await asyncio.gather(*(add_two(name) for name in "abcd"))
    assert await names(database) == ["a", "aa", "b", "bb", "c", "cc", "d", "dd"]


async def test_transaction_read_only_sees_one_moment(database: Database) -> None:
    async with database.transaction(read_only=True):
        before = await names(database)
        await asyncio.create_task(database.write(INSERT, ("a",)))
        assert await names(database) == before == []
    assert await names(database) == ["a"]


async def test_transaction_read_only_rejects_a_writer_inside(database: Database) -> None:
    async with database.transaction(read_only=True):
        with pytest.raises(AssertionError):
            async with database.transaction():
                pass


# Deadlines


async def test_reader_beside_a_writer_does_not_wait(database: Database, open_database: OpenDatabase) -> None:
    other = open_database()
    async with other.transaction():
        await other.write(INSERT, ("a",))
        assert await names(database) == []


async def test_writer_beside_a_lasting_one_of_another_process_is_unavailable(
    database: Database, impatient_database: Database
) -> None:
    async with database.transaction():
        with pytest.raises(Unavailable):
            await impatient_database.write(INSERT, ("b",))
    assert await names(database) == []


async def test_writer_beside_a_lasting_one_of_its_process_is_unavailable(impatient_database: Database) -> None:
    async with impatient_database.transaction():
        with pytest.raises(Unavailable):
            await asyncio.create_task(impatient_database.write(INSERT, ("b",)))
    assert await names(impatient_database) == []


async def test_writer_continues_after_the_other_one(database: Database, open_database: OpenDatabase) -> None:
    async with database.transaction():
        waiting = asyncio.create_task(open_database().write(INSERT, ("b",)))
        await asyncio.sleep(0.05)
    assert await waiting == 1


async def test_unavailable_says_when_to_retry(database: Database, impatient_database: Database) -> None:
    async with database.transaction():
        with pytest.raises(Unavailable) as caught:
            await impatient_database.write(INSERT, ("b",))
    assert caught.value.retry_after_seconds > 0


async def test_slow_query_ends_at_its_deadline(database: Database, impatient_database: Database) -> None:
    with pytest.raises(Unavailable):
        await impatient_database.rows(SLOW_QUERY)
    assert await names(database) == []


async def test_slow_statement_in_a_transaction_rolls_back(database: Database, impatient_database: Database) -> None:
    async def write_and_read_slowly() -> None:
        async with impatient_database.transaction():
            await impatient_database.write(INSERT, ("a",))
            await impatient_database.rows(SLOW_QUERY)

    with pytest.raises(Unavailable):
        await write_and_read_slowly()
    assert await database.write(INSERT, ("b",)) == 1
    assert await names(database) == ["b"]


@pytest.mark.parametrize("read_only", [False, True])
async def test_transaction_of_short_statements_ends_at_its_deadline(
    database: Database, open_database: OpenDatabase, *, read_only: bool
) -> None:
    """However many they are: others wait for the lock meanwhile."""
    hasty = open_database(transaction_seconds=IMPATIENT_SECONDS)

    async def run_statements() -> None:
        async with hasty.transaction(read_only=read_only):
            if not read_only:
                await hasty.write(INSERT, ("a",))
            while True:
                await hasty.rows(NAMES)

    async with asyncio.timeout(CALL_SECONDS_MAX):
        with pytest.raises(Unavailable):
            await run_statements()
        assert await hasty.write(INSERT, ("b",)) == 1
    assert await names(database) == ["b"]


async def test_transaction_that_waits_for_something_else_ends_at_its_deadline(
    database: Database, open_database: OpenDatabase
) -> None:
    hasty = open_database(transaction_seconds=IMPATIENT_SECONDS)

    async def write_and_wait() -> None:
        async with hasty.transaction(), hasty.transaction():
            await hasty.write(INSERT, ("a",))
            await asyncio.Event().wait()

    async with asyncio.timeout(CALL_SECONDS_MAX):
        with pytest.raises(Unavailable):
            await write_and_wait()
        assert await database.write(INSERT, ("b",)) == 1
    assert await names(database) == ["b"]


async def test_transaction_time_out_of_its_block_is_its_own(database: Database) -> None:
    async def write_and_time_out() -> None:
        async with database.transaction():
            await database.write(INSERT, ("a",))
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await write_and_time_out()
    assert await names(database) == []


# Cancellation


async def test_cancelled_transaction_rolls_back(database: Database) -> None:
    has_written = asyncio.Event()

    async def write_and_wait() -> None:
        async with database.transaction():
            await database.write(INSERT, ("a",))
            has_written.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(write_and_wait())
    await has_written.wait()
    task.cancel()
    await asyncio.wait([task])
    assert await database.write(INSERT, ("b",)) == 1
    assert await names(database) == ["b"]


async def test_cancelled_at_any_moment_leaves_all_or_nothing(database: Database) -> None:
    async def add_two() -> None:
        async with database.transaction():
            await database.write(INSERT, ("a",))
            await database.write(INSERT, ("b",))

    for turns in range(60):
        task = asyncio.create_task(add_two())
        for _turn in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert await database.write(INSERT, ("z",)) == 1
        assert await names(database) in (["z"], ["a", "b", "z"])
        await database.write("DELETE FROM saved_searches")


async def test_cancelled_waiting_writer_leaves_the_lock(database: Database) -> None:
    async with database.transaction():
        task = asyncio.create_task(database.write(INSERT, ("a",)))
        await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.wait([task])
    assert await database.write(INSERT, ("b",)) == 1
    assert await names(database) == ["b"]


# Change notification


async def test_version_changes_with_every_writer(database: Database, open_database: OpenDatabase) -> None:
    """In this process and in others, and at no other time."""
    versions = [await database.version(), await database.version()]
    await open_database().write(INSERT, ("a",))
    versions += [await database.version(), await database.version()]
    await database.write(INSERT, ("b",))
    versions += [await database.version(), await database.version()]
    assert [version == other for version, other in zip(versions[::2], versions[1::2], strict=True)] == [True] * 3
    assert len(set(versions)) == 3


@pytest.mark.parametrize("is_own_process", [True, False])
async def test_wait_for_change_returns_with_the_change(
    database: Database, open_database: OpenDatabase, *, is_own_process: bool
) -> None:
    version = await database.version()
    waiting = asyncio.create_task(database.wait_for_change(version, 30))
    await asyncio.sleep(0.02)
    await (database if is_own_process else open_database()).write(INSERT, ("a",))
    assert await asyncio.wait_for(waiting, 10) != version


async def test_wait_for_change_without_one_returns_the_version(database: Database) -> None:
    version = await database.version()
    assert await database.wait_for_change(version, 0.01) == version


# The end


async def test_closed_database_is_unavailable(database: Database) -> None:
    await database.close()
    with pytest.raises(Unavailable):
        await database.rows(NAMES)


async def test_close_twice_is_harmless(database: Database) -> None:
    await database.close()
    async with asyncio.timeout(CALL_SECONDS_MAX):
        await database.close()


async def test_damaged_database_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "onhook.db"
    path.write_bytes(b"\xff" * 8_192)
    database = SqliteDatabase(path)
    with pytest.raises(OnhookError, match="damaged"):
        await database.open()
    await database.close()


async def test_sqlite_lock_of_another_program_is_waited_for(database: Database, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "onhook.db", isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        waiting = asyncio.create_task(database.write(INSERT, ("a",)))
        await asyncio.sleep(0.05)
        connection.execute("COMMIT")
        assert await waiting == 1
