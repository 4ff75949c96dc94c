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
from onhook.lib.migrations import load_migrations
from onhook.store.queries.adhoc_sql import VIEWS
from onhook.store.schema import SCHEMA_VERSION, creation_statements

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

CHECKPOINT_THRESHOLD = "64MiB"
"""How long the write-ahead log grows before it is made part of the file: some 150,000 records. Smaller makes the last
rows compress again and again; larger makes a start after a crash longer than a second."""

INTERRUPT_SECONDS = 0.05
"""Work that had not come to its next question when it was interrupted is interrupted again."""

REBUILD_HINT = "run `onhook rebuild`, which makes it again from the ledger"

HEADER_BYTES = 3 * 4_096
"""A whole file begins with three headers; content comes behind them."""

MAGIC = b"DUCK"
MAGIC_OFFSET = 8
"""Behind a checksum; by it a file of ours is told from one of others."""

PIPE_DESCRIPTORS = range(960, 1_024)
"""Descriptors for the pipes of exports: high, so that nothing else has one of them, and below the usual limit of 1,024.
No other path is open to the engine."""

ResultT = TypeVar("ResultT")
Work = Callable[[duckdb.DuckDBPyConnection], ResultT]


class DuckDbDatabase:
    """One file, opened. Only this process may have it open."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = _open_connection(path)
        self._readers = ThreadPoolExecutor(READERS_MAX, thread_name_prefix="store-reader")
        self._exporters = ThreadPoolExecutor(EXPORTERS_MAX, thread_name_prefix="store-exporter")
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="store-writer")
        self._commit_lock = threading.Lock()
        self._is_broken = False

    async def read(self, work: Work[ResultT], *, can_write: bool = True) -> ResultT:
        """Run this with one unchanging view of the store; stopped when the one who waits for it is.

        Our own readers write nothing, so only what others have written need be kept from it with `can_write`.
        """
        cursor = self._connection.cursor()
        run = self._run_in_snapshot if can_write else self._run_read_only
        try:
            return await asyncio.get_running_loop().run_in_executor(self._readers, run, work, cursor)
        except asyncio.CancelledError:
            cursor.interrupt()
            raise

    async def write(self, work: Work[ResultT]) -> ResultT:
        """Run this as one transaction: all of it is kept, on disk, or nothing. Raises `Unavailable`."""
        return await asyncio.get_running_loop().run_in_executor(self._writer, self._run_transaction, work)

    async def open_snapshots(self, count: int) -> list[duckdb.DuckDBPyConnection]:
        """Connections that all see the same state of the store until they are closed; for work in several threads."""
        return await asyncio.get_running_loop().run_in_executor(self._exporters, self._open_snapshots, count)

    async def run_in_thread(self, work: Callable[[], ResultT], snapshot: duckdb.DuckDBPyConnection) -> ResultT:
        """Run this, which uses a view, in an exporter's thread; whoever gives it up waits until it has ended."""
        future = asyncio.get_running_loop().run_in_executor(self._exporters, self._run, work)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            while not future.done():
                snapshot.interrupt()
                with suppress(asyncio.CancelledError):  # given up twice is given up
                    await asyncio.wait([future], timeout=INTERRUPT_SECONDS)
            future.exception()  # of what was given up nobody wants to hear
            raise

    async def close(self) -> None:
        """Wait for what is under way, and let go of the file."""
        await asyncio.to_thread(self._close)

    def _open_snapshots(self, count: int) -> list[duckdb.DuckDBPyConnection]:
        with self._commit_lock, translate_errors(self._path):
            return [_begin_snapshot(self._connection.cursor()) for _ in range(count)]

    def _run(self, work: Callable[[], ResultT]) -> ResultT:
        with translate_errors(self._path):
            return work()

    def _run_in_snapshot(self, work: Work[ResultT], cursor: duckdb.DuckDBPyConnection) -> ResultT:
        with translate_errors(self._path), cursor:
            return work(_begin_snapshot(cursor))

    def _run_read_only(self, work: Work[ResultT], cursor: duckdb.DuckDBPyConnection) -> ResultT:
        with translate_errors(self._path), cursor:
            cursor.execute("BEGIN TRANSACTION READ ONLY")
            return work(cursor)

    def _run_transaction(self, work: Work[ResultT]) -> ResultT:
        if self._is_broken:
            self._connection.close()
            self._connection = _open_connection(self._path)
            self._is_broken = False
        with translate_errors(self._path), self._connection.cursor() as cursor:
            try:
                cursor.begin()
                result = work(cursor)
                with self._commit_lock:
                    cursor.commit()
            except (duckdb.FatalException, duckdb.InternalException):
                # DuckDB refuses all work after such an error, as when the disk was full; what the file holds is whole.
                self._is_broken = True
                raise
            return result

    def _close(self) -> None:
        self._writer.shutdown()
        self._readers.shutdown(cancel_futures=True)
        self._exporters.shutdown(cancel_futures=True)
        self._connection.close()


@contextmanager
def translate_errors(path: Path) -> Iterator[None]:
    """Turn DuckDB's errors into ours. What is our own mistake stays as it is."""
    try:
        yield
    except duckdb.InterruptException as error:
        raise Unavailable("the question was given up", location=str(path), hint="ask again") from error
    except duckdb.OutOfMemoryException as error:
        raise UsageError(
            f"the question needs more than {MEMORY_MAX} of memory", location=str(path), hint="ask for less at once"
        ) from error
    except (duckdb.OperationalError, duckdb.FatalException) as error:
        raise Unavailable(
            f"the store did not answer: {_first_line(error)}", location=str(path), hint="look at the disk"
        ) from error


def read_quarantined_seqs(path: Path) -> list[int]:
    """See `duckdb.read_quarantined_seqs`."""
    with _translate_open_errors(path), duckdb.connect(str(path), read_only=True) as connection:
        return [seq for (seq,) in connection.execute("SELECT seq FROM quarantine ORDER BY seq").fetchall()]


def _begin_snapshot(cursor: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    """Begin a transaction, and read something: a view begins with the first reading."""
    cursor.begin()
    cursor.execute("SELECT position FROM metadata").fetchall()
    return cursor


def _open_connection(path: Path) -> duckdb.DuckDBPyConnection:
    _remove_incomplete_file(path)
    with _translate_open_errors(path):
        connection = duckdb.connect(
            str(path),
            config={
                "memory_limit": MEMORY_MAX,
                "checkpoint_threshold": CHECKPOINT_THRESHOLD,
                "max_temp_directory_size": TEMPORARY_FILES_MAX,
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
            },
        )
        threads = connection.execute("SELECT current_setting('threads')").fetchall()[0][0]
        connection.execute(f"SET threads = {min(THREADS_MAX, threads)}")
        connection.execute("SET TimeZone = 'UTC'")
        _prepare_schema(connection, path)
        _restrict_access(connection)
        return connection


def _remove_incomplete_file(path: Path) -> None:
    """What is left of a file where the disk was full while it was made, before it held anything: it is made anew."""
    if not path.is_file() or path.stat().st_size >= HEADER_BYTES or path.with_name(path.name + ".wal").exists():
        return
    header = path.read_bytes()
    if header[MAGIC_OFFSET : MAGIC_OFFSET + len(MAGIC)] == MAGIC or not any(header):
        path.unlink()


def _restrict_access(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the views for questions in SQL; then no file is read or written any more but our own and the pipes of
    exports, and nobody can change that, whatever is asked."""
    for name, selection in VIEWS.items():
        connection.execute(f"CREATE OR REPLACE VIEW {name} AS {selection}")
    paths = ", ".join(f"'{pipe_path(number)}'" for number in PIPE_DESCRIPTORS)
    connection.execute(f"SET allowed_paths = [{paths}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def pipe_path(number: int) -> str:
    """Under which path the engine writes into an open pipe."""
    return f"/dev/fd/{number}"


def _prepare_schema(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Create the tables in a new file, upgrade an older one. Raises `OnhookError` for a version that has no steps."""
    version = _read_schema_version(connection)
    if version == SCHEMA_VERSION:
        return
    migrations = load_migrations("onhook.store")
    if version is not None and not migrations[0].version - 1 <= version < SCHEMA_VERSION:
        connection.close()
        raise OnhookError("the store was made by another version of Onhook", location=str(path), hint=REBUILD_HINT)
    connection.begin()
    for statement in creation_statements() if version is None else _upgrade_statements(version):
        connection.execute(statement)
    connection.commit()


def _read_schema_version(connection: duckdb.DuckDBPyConnection) -> int | None:
    """Return the version of a store, None for an empty file. Up to version 3 its table had another name."""
    tables = {name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
    if not tables:
        return None
    versions = connection.execute(f"SELECT version FROM {'metadata' if 'metadata' in tables else 'about'}").fetchall()
    return int(versions[0][0]) if len(versions) == 1 else 0


def _upgrade_statements(version: int) -> Iterator[str]:
    for migration in load_migrations("onhook.store"):
        if migration.version > version:
            yield from migration.statements
    yield f"UPDATE metadata SET version = {SCHEMA_VERSION}"


@contextmanager
def _translate_open_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except duckdb.Error as error:
        message = _first_line(error)
        if "lock" in message:
            raise Unavailable(
                "another process has the store open", location=str(path), hint="ask the server that runs, or stop it"
            ) from error
        if "ermission" in message or "No such file" in message or "No space" in message or "Is a directory" in message:
            raise Unavailable(
                f"the store cannot be opened: {message}", location=str(path), hint="look at the disk"
            ) from error
        raise OnhookError(
            f"the store is damaged or no store: {message}", location=str(path), hint=REBUILD_HINT
        ) from error


def _first_line(error: duckdb.Error) -> str:
    return str(error).partition("\n")[0][:200]
