"""The file `calls.duckdb`: opened, read by many threads at once, written by one.

Law: the event loop never waits for the disk; each piece of work runs in a thread with a connection of its own.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import duckdb

from onhook.lib.errors import OnhookError, Unavailable, UsageError
from onhook.store.queries.adhoc_sql import VIEWS
from onhook.store.schema import SCHEMA_VERSION, creation

READERS_MAX = 4
"""Questions answered at once; more wait their turn. Each may use all of DuckDB's threads."""

EXPORTERS_MAX = 8
"""Pieces of exports made at once; apart from the readers, because a file waits for whoever takes it away."""

THREADS_MAX = 4
"""DuckDB's own threads: reading is fast enough with them, and intake must keep its share of the machine."""

MEMORY_MAX = "192MiB"
"""What DuckDB may hold, cache and work together; what needs more goes to the temporary directory."""

TEMPORARY_FILES_MAX = "20GiB"
"""A Parquet file of 10 million records sorts some 3 GB on disk."""

CHECKPOINT_AT = "64MiB"
"""How long the write-ahead log grows before it is made part of the file: some 150,000 records. Smaller makes the last
rows compress again and again; larger makes a start after a crash longer than a second."""

INTERRUPT_SECONDS = 0.05
"""Work that had not come to its next question when it was interrupted is interrupted again."""

REBUILD = "run `onhook rebuild`, which makes it again from the ledger"

HEADER_BYTES = 3 * 4_096
"""A whole file begins with three headers; content comes behind them."""

MAGIC = b"DUCK"
MAGIC_AT = 8
"""Behind a checksum; by it a file of ours is told from one of others."""

PIPE_NUMBERS = range(960, 1_024)
"""Descriptors for the pipes of exports: high, so that nothing else has one of them, and below the usual limit of 1,024.
No other path is open to the engine."""

Answer = TypeVar("Answer")
Work = Callable[[duckdb.DuckDBPyConnection], Answer]


class Database:
    """One file, opened. Only this process may have it open."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = _opened(path)
        self._readers = ThreadPoolExecutor(READERS_MAX, thread_name_prefix="store-reader")
        self._exporters = ThreadPoolExecutor(EXPORTERS_MAX, thread_name_prefix="store-exporter")
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="store-writer")
        self._commit = threading.Lock()
        self._is_broken = False

    async def read(self, work: Work[Answer], *, can_write: bool = True) -> Answer:
        """Run this with one unchanging view of the store; stopped when the one who waits for it is.

        Our own readers write nothing, so only what others have written need be kept from it with `can_write`.
        """
        cursor = self._connection.cursor()
        seen = self._seen if can_write else self._seen_only
        try:
            return await asyncio.get_running_loop().run_in_executor(self._readers, seen, work, cursor)
        except asyncio.CancelledError:
            cursor.interrupt()
            raise

    async def write(self, work: Work[Answer]) -> Answer:
        """Run this as one transaction: all of it is kept, on disk, or nothing. Raises `Unavailable`."""
        return await asyncio.get_running_loop().run_in_executor(self._writer, self._kept, work)

    async def views(self, count: int) -> list[duckdb.DuckDBPyConnection]:
        """Connections that all see the same state of the store until they are closed; for work in several threads."""
        return await asyncio.get_running_loop().run_in_executor(self._exporters, self._views, count)

    async def in_thread(self, work: Callable[[], Answer], view: duckdb.DuckDBPyConnection) -> Answer:
        """Run this, which uses a view, in an exporter's thread; whoever gives it up waits until it has ended."""
        running = asyncio.get_running_loop().run_in_executor(self._exporters, self._explained, work)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            while not running.done():
                view.interrupt()
                with suppress(asyncio.CancelledError):  # given up twice is given up
                    await asyncio.wait([running], timeout=INTERRUPT_SECONDS)
            running.exception()  # of what was given up nobody wants to hear
            raise

    async def close(self) -> None:
        """Wait for what is under way, and let go of the file."""
        await asyncio.to_thread(self._close)

    def _views(self, count: int) -> list[duckdb.DuckDBPyConnection]:
        with self._commit, errors_explained(self._path):
            return [_viewing(self._connection.cursor()) for _ in range(count)]

    def _explained(self, work: Callable[[], Answer]) -> Answer:
        with errors_explained(self._path):
            return work()

    def _seen(self, work: Work[Answer], cursor: duckdb.DuckDBPyConnection) -> Answer:
        with errors_explained(self._path), cursor:
            return work(_viewing(cursor))

    def _seen_only(self, work: Work[Answer], cursor: duckdb.DuckDBPyConnection) -> Answer:
        with errors_explained(self._path), cursor:
            cursor.execute("BEGIN TRANSACTION READ ONLY")
            return work(cursor)

    def _kept(self, work: Work[Answer]) -> Answer:
        if self._is_broken:
            self._connection.close()
            self._connection = _opened(self._path)
            self._is_broken = False
        with errors_explained(self._path), self._connection.cursor() as cursor:
            try:
                cursor.begin()
                answer = work(cursor)
                with self._commit:
                    cursor.commit()
            except (duckdb.FatalException, duckdb.InternalException):
                # DuckDB refuses all work after such an error, as when the disk was full; what the file holds is whole.
                self._is_broken = True
                raise
            return answer

    def _close(self) -> None:
        self._writer.shutdown()
        self._readers.shutdown(cancel_futures=True)
        self._exporters.shutdown(cancel_futures=True)
        self._connection.close()


@contextmanager
def errors_explained(path: Path) -> Iterator[None]:
    """Turn DuckDB's errors into ours. What is our own mistake stays as it is."""
    try:
        yield
    except duckdb.InterruptException as error:
        raise Unavailable("the question was given up", where=str(path), todo="ask again") from error
    except duckdb.OutOfMemoryException as error:
        raise UsageError(
            f"the question needs more than {MEMORY_MAX} of memory", where=str(path), todo="ask for less at once"
        ) from error
    except (duckdb.OperationalError, duckdb.FatalException) as error:
        raise Unavailable(
            f"the store did not answer: {_first_line(error)}", where=str(path), todo="look at the disk"
        ) from error


def quarantined_numbers(path: Path) -> list[int]:
    """See `duckdb.quarantined_at`."""
    with _opening_explained(path), duckdb.connect(str(path), read_only=True) as connection:
        return [seq for (seq,) in connection.execute("SELECT seq FROM quarantine ORDER BY seq").fetchall()]


def _viewing(cursor: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    """Begin a transaction, and read something: a view begins with the first reading."""
    cursor.begin()
    cursor.execute("SELECT position FROM about").fetchall()
    return cursor


def _opened(path: Path) -> duckdb.DuckDBPyConnection:
    _remove_stump(path)
    with _opening_explained(path):
        connection = duckdb.connect(
            str(path),
            config={
                "memory_limit": MEMORY_MAX,
                "checkpoint_threshold": CHECKPOINT_AT,
                "max_temp_directory_size": TEMPORARY_FILES_MAX,
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
            },
        )
        threads = connection.execute("SELECT current_setting('threads')").fetchall()[0][0]
        connection.execute(f"SET threads = {min(THREADS_MAX, threads)}")
        connection.execute("SET TimeZone = 'UTC'")
        _prepared(connection, path)
        _shut_in(connection)
        return connection


def _remove_stump(path: Path) -> None:
    """What is left of a file where the disk was full while it was made, before it held anything: it is made anew."""
    if not path.is_file() or path.stat().st_size >= HEADER_BYTES or path.with_name(path.name + ".wal").exists():
        return
    begun = path.read_bytes()
    if begun[MAGIC_AT : MAGIC_AT + len(MAGIC)] == MAGIC or not any(begun):
        path.unlink()


def _shut_in(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the views for questions in SQL; then no file is read or written any more but our own and the pipes of
    exports, and nobody can change that, whatever is asked."""
    for name, selection in VIEWS.items():
        connection.execute(f"CREATE OR REPLACE VIEW {name} AS {selection}")
    paths = ", ".join(f"'{pipe_path(number)}'" for number in PIPE_NUMBERS)
    connection.execute(f"SET allowed_paths = [{paths}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def pipe_path(number: int) -> str:
    """Under which path the engine writes into an open pipe."""
    return f"/dev/fd/{number}"


def _prepared(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Make the tables in a new file; refuse a file of another version."""
    if not connection.execute("SELECT 1 FROM duckdb_tables()").fetchall():
        connection.begin()
        for statement in creation():
            connection.execute(statement)
        connection.commit()
        return
    versions = connection.execute("SELECT version FROM about").fetchall()
    if versions != [(SCHEMA_VERSION,)]:
        connection.close()
        raise OnhookError("the store was made by another version of Onhook", where=str(path), todo=REBUILD)


@contextmanager
def _opening_explained(path: Path) -> Iterator[None]:
    try:
        yield
    except duckdb.Error as error:
        said = _first_line(error)
        if "lock" in said:
            raise Unavailable(
                "another process has the store open", where=str(path), todo="ask the server that runs, or stop it"
            ) from error
        if "ermission" in said or "No such file" in said or "No space" in said or "Is a directory" in said:
            raise Unavailable(
                f"the store cannot be opened: {said}", where=str(path), todo="look at the disk"
            ) from error
        raise OnhookError(f"the store is damaged or no store: {said}", where=str(path), todo=REBUILD) from error


def _first_line(error: duckdb.Error) -> str:
    return str(error).partition("\n")[0][:200]
