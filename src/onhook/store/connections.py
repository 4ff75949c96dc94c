"""The file `calls.duckdb`: opened once, read by many threads at the same time, written by one.

Invariant: the event loop never waits for the disk; all work runs in threads, each with its own connection.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import duckdb

from onhook.lib.errors import Unavailable
from onhook.lib.messages import _, mark
from onhook.store.contract import StoreUnusable
from onhook.store.open_attempts import DEATHS_MAX, count_deaths, counted_opening
from onhook.store.schema import SCHEMA_VERSION, creation_statements

READERS_MAX = 4
"""Queries that run at the same time; others wait. Each may use all of DuckDB's threads."""

EXPORTERS_MAX = 8
"""Export chunks built at the same time; separate from the readers, because an export waits for its client."""

THREADS_MAX = 4
"""DuckDB's own threads: reading is fast enough with them, and the intake must keep its share of the machine."""

MEMORY_MAX = "192MiB"
"""DuckDB's memory limit, cache included; work that needs more spills to the temporary directory."""

TEMPORARY_FILES_MAX = "20GiB"
"""A Parquet file of 10 million records sorts some 3 GB on disk."""

CHECKPOINT_THRESHOLD = "64MiB"
"""Size of the write-ahead log that triggers a checkpoint: some 150,000 records. A smaller limit compresses the last
rows again and again; a larger one makes a start after a crash longer than a second.
"""

INTERRUPT_SECONDS = 0.05
"""Interval of repeated interrupts: work that had not yet begun its next query ignores the first one."""

INTERRUPT_SECONDS_MAX = 5.0
"""Time for interrupted work to end. Work that does not heed an interrupt is left alone; it keeps its thread."""

CLOSE_SECONDS_MAX = 8.0
"""Time at a stop for a running commit and for interrupted readers; the process then ends without them."""

REBUILD_HINT = mark("`onhook serve` rebuilds it from the ledger by itself, and so does `onhook rebuild`")

DAMAGE_WORDS = ("Corrupt database file", "Could not read enough bytes")
"""In DuckDB's messages about a page whose checksum is wrong, and about a file that is too short."""

DAMAGE_SUFFIX = ".damaged"
"""Of an empty file beside a store in which damage was found, so that the next start rebuilds it."""

HEADER_BYTES = 3 * 4_096
"""A complete file begins with three headers; content follows them."""

MAGIC = b"DUCK"
MAGIC_OFFSET = 8
"""After the checksum; the magic bytes identify a DuckDB file."""

PIPE_DESCRIPTORS = range(960, 1_024)
"""Descriptors for the pipes of exports: high, so that nothing else uses them, and below the usual limit of 1,024.
DuckDB may open no other path.
"""

ResultT = TypeVar("ResultT")
Work = Callable[[duckdb.DuckDBPyConnection], ResultT]


class DuckDbDatabase:
    """One open file. Only this process may have it open."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = _open_connection(path)
        self._readers = ThreadPoolExecutor(READERS_MAX, thread_name_prefix="store-reader")
        self._exporters = ThreadPoolExecutor(EXPORTERS_MAX, thread_name_prefix="store-exporter")
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="store-writer")
        self._commit_lock = threading.Lock()
        self._is_damaged = False
        self._on_damage: list[Callable[[], object]] = []
        self._is_broken = False
        self._is_closing = False
        # Work in threads, with the connection that interrupts it: none for a write, which a stop waits for.
        self._running: dict[Future[Any], duckdb.DuckDBPyConnection | None] = {}

    async def read(self, work: Work[ResultT]) -> ResultT:
        """Run the work with one consistent snapshot of the store; cancelling the caller stops it. Raises `Unavailable`,
        also while the file is being opened again.
        """
        self._check_open()
        with self._translate_errors():
            cursor = self._connection.cursor()
        return await self._run_interruptible(self._readers, partial(self._run_in_snapshot, work, cursor), cursor)

    async def write(self, work: Work[ResultT]) -> ResultT:
        """Run the work in one transaction, durable on return. Raises `Unavailable`."""
        return await asyncio.wrap_future(self._submit(self._writer, partial(self._run_transaction, work), None))

    async def open_snapshots(self, count: int) -> list[duckdb.DuckDBPyConnection]:
        """Return connections that all see the same state of the store until they are closed; for work in
        several threads.
        """
        return await asyncio.wrap_future(self._submit(self._exporters, partial(self._open_snapshots, count), None))

    async def run_in_thread(self, work: Callable[[], ResultT], snapshot: duckdb.DuckDBPyConnection) -> ResultT:
        """Run the work on a snapshot in an exporter's thread. A cancelled caller waits until the work has ended."""
        return await self._run_interruptible(self._exporters, partial(self._run, work), snapshot)

    async def wait_for_damage(self) -> None:
        """Return when something could not be read because the file is damaged."""
        has_damage, loop = asyncio.Event(), asyncio.get_running_loop()
        self._on_damage.append(partial(loop.call_soon_threadsafe, has_damage.set))
        if not self._is_damaged:
            await has_damage.wait()

    async def close(self) -> None:
        """Interrupt readers, wait for them and for a running commit, and close the file."""
        self._is_closing = True
        await asyncio.to_thread(self._close)

    async def _run_interruptible(
        self, executor: ThreadPoolExecutor, run: Callable[[], ResultT], cursor: duckdb.DuckDBPyConnection
    ) -> ResultT:
        """Run the work in a thread; interrupt it when the caller is cancelled, and wait for its end for a while."""
        thread_future = self._submit(executor, run, cursor)
        future = asyncio.wrap_future(thread_future)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            if not thread_future.cancel():
                await _interrupt_until_done(future, cursor)
            raise

    def _submit(
        self, executor: ThreadPoolExecutor, run: Callable[[], ResultT], cursor: duckdb.DuckDBPyConnection | None
    ) -> Future[ResultT]:
        self._check_open()
        thread_future = executor.submit(run)
        self._running[thread_future] = cursor
        thread_future.add_done_callback(self._running.pop)
        return thread_future

    def _check_open(self) -> None:
        if self._is_closing:
            raise Unavailable(_("the store is being closed"), location=str(self._path), hint=_("try again in a moment"))

    def _open_snapshots(self, count: int) -> list[duckdb.DuckDBPyConnection]:
        with self._commit_lock, self._translate_errors():
            return [_begin_snapshot(self._connection.cursor()) for _unused in range(count)]

    def _run(self, work: Callable[[], ResultT]) -> ResultT:
        with self._translate_errors():
            return work()

    def _run_in_snapshot(self, work: Work[ResultT], cursor: duckdb.DuckDBPyConnection) -> ResultT:
        with self._translate_errors(), cursor:
            return work(_begin_snapshot(cursor))

    def _run_transaction(self, work: Work[ResultT]) -> ResultT:
        with self._translate_errors():
            self._reopen_broken()
            return self._commit_transaction(work)

    def _reopen_broken(self) -> None:
        """Open the file again after an error that DuckDB gave up at. It may turn out to be damaged."""
        if self._is_broken:
            self._connection.close()
            self._connection = _open_connection(self._path)
            self._is_broken = False

    def _commit_transaction(self, work: Work[ResultT]) -> ResultT:
        with self._connection.cursor() as cursor:
            try:
                cursor.begin()
                result = work(cursor)
                with self._commit_lock:
                    cursor.commit()
            except (duckdb.FatalException, duckdb.InternalException):
                # DuckDB refuses all work after such an error, as on a full disk; the content of the file is intact.
                self._is_broken = True
                raise
            return result

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        """See `translate_errors`; also remember that the file is damaged."""
        try:
            with translate_errors(self._path):
                yield
        except StoreUnusable:
            damage_mark(self._path).touch()
            self._is_damaged = True
            for notify in self._on_damage:
                notify()
            raise

    def _close(self) -> None:
        for executor in (self._writer, self._readers, self._exporters):
            executor.shutdown(wait=False, cancel_futures=executor is not self._writer)
        deadline = time.monotonic() + CLOSE_SECONDS_MAX
        while self._running and time.monotonic() < deadline:
            for cursor in tuple(self._running.values()):
                _interrupt(cursor)
            wait(tuple(self._running), timeout=INTERRUPT_SECONDS)
        if self._running:
            logging.getLogger("store").warning("queries did not end in time; the store is closed without them")
        else:
            self._connection.close()


async def _interrupt_until_done(future: "asyncio.Future[ResultT]", cursor: duckdb.DuckDBPyConnection) -> None:
    deadline = asyncio.get_running_loop().time() + INTERRUPT_SECONDS_MAX
    while not future.done() and asyncio.get_running_loop().time() < deadline:
        _interrupt(cursor)
        with suppress(asyncio.CancelledError):  # a second cancellation changes nothing
            await asyncio.wait([future], timeout=INTERRUPT_SECONDS)
    if future.done() and not future.cancelled():
        future.exception()  # mark the exception as retrieved: the caller was cancelled


def _interrupt(cursor: duckdb.DuckDBPyConnection | None) -> None:
    if cursor is not None:
        with suppress(duckdb.ConnectionException):  # the work has ended, and closed it
            cursor.interrupt()


@contextmanager
def translate_errors(path: Path) -> Iterator[None]:
    """Translate DuckDB's errors that users can act on; others are bugs and stay unchanged."""
    try:
        with _translate_damage(path):
            yield
    except duckdb.ConnectionException as error:
        raise Unavailable(
            _("the store is being opened again after an error"), location=str(path), hint=_("try again in a moment")
        ) from error
    except duckdb.InterruptException as error:
        raise Unavailable(_("the query was cancelled"), location=str(path), hint=_("try again")) from error
    except duckdb.OutOfMemoryException as error:
        # All readers and the writer share the memory: the one that meets the limit is not its cause.
        raise Unavailable(
            _("the store has no memory left of its {memory}", memory=MEMORY_MAX),
            location=str(path),
            hint=_("try again in a moment; query a shorter time if it happens again"),
        ) from error
    except (duckdb.OperationalError, duckdb.FatalException) as error:
        raise Unavailable(
            _("the store did not answer: {error}", error=_first_line(error)),
            location=str(path),
            hint=_("check the disk"),
        ) from error


@contextmanager
def _translate_damage(path: Path) -> Iterator[None]:
    try:
        yield
    except duckdb.Error as error:
        if any(words in str(error) for words in DAMAGE_WORDS):
            raise _damage_error(path, _first_line(error)) from error
        raise


def _damage_error(path: Path, detail: str) -> StoreUnusable:
    return StoreUnusable(_("the store is damaged: {error}", error=detail), location=str(path), hint=_(REBUILD_HINT))


def damage_mark(path: Path) -> Path:
    """Return the path of the file that marks a store as damaged."""
    return path.with_name(path.name + DAMAGE_SUFFIX)


def read_quarantined_seqs(path: Path, *, without_records: bool) -> list[int]:
    """Return the quarantined numbers; see `duckdb.list_quarantined_seqs`."""
    _check_openings(path)
    with (
        counted_opening(path),
        _translate_open_errors(path),
        duckdb.connect(str(path), read_only=True) as connection,
    ):
        condition = "WHERE seq NOT IN (SELECT seq FROM legs)" if without_records else ""
        return [seq for (seq,) in connection.execute(f"SELECT seq FROM quarantine {condition} ORDER BY seq").fetchall()]


def _begin_snapshot(cursor: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    """Begin a transaction, and read something: the snapshot begins with the first read."""
    cursor.begin()
    cursor.execute("SELECT position FROM metadata").fetchall()
    return cursor


def _open_connection(path: Path) -> duckdb.DuckDBPyConnection:
    _remove_incomplete_file(path)
    if path.exists() and damage_mark(path).exists():
        raise _damage_error(path, _("a page could not be read when it was open before"))
    _check_openings(path)
    with counted_opening(path), _translate_open_errors(path):
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
        try:
            threads = connection.execute("SELECT current_setting('threads')").fetchall()[0][0]
            connection.execute(f"SET threads = {min(THREADS_MAX, threads)}")
            connection.execute("SET TimeZone = 'UTC'")
            _prepare_schema(connection, path)
            _restrict_access(connection)
        except BaseException:
            # Else the file stays locked, and the next connection would share what is wrong with this one.
            connection.close()
            raise
        return connection


def _check_openings(path: Path) -> None:
    """Check that the last openings did not all end their processes. Raises `StoreUnusable`."""
    death_count = count_deaths(path)
    if path.exists() and death_count >= DEATHS_MAX:
        raise _damage_error(path, _("opening it has ended the process {count} times in a row", count=death_count))


def _remove_incomplete_file(path: Path) -> None:
    """Remove an incomplete file without content, as after a full disk during creation; it is created again."""
    if not path.is_file() or path.stat().st_size >= HEADER_BYTES or path.with_name(path.name + ".wal").exists():
        return
    header = path.read_bytes()
    if header[MAGIC_OFFSET : MAGIC_OFFSET + len(MAGIC)] == MAGIC or not any(header):
        path.unlink()


def _restrict_access(connection: duckdb.DuckDBPyConnection) -> None:
    """Allow no file but the database and the pipes of exports, for good: no query can change that."""
    paths = ", ".join(f"'{pipe_path(number)}'" for number in PIPE_DESCRIPTORS)
    connection.execute(f"SET allowed_paths = [{paths}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def pipe_path(number: int) -> str:
    """Return the path under which DuckDB writes into an open pipe."""
    return f"/dev/fd/{number}"


def _prepare_schema(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Create the tables in a new file. Raises `StoreUnusable` for one of another version."""
    version = _read_schema_version(connection)
    if version == SCHEMA_VERSION:
        return
    if version is not None:
        raise StoreUnusable(
            _("the store was written by another version of Onhook"), location=str(path), hint=_(REBUILD_HINT)
        )
    connection.begin()
    for statement in creation_statements():
        connection.execute(statement)
    connection.commit()


def _read_schema_version(connection: duckdb.DuckDBPyConnection) -> int | None:
    """Return the schema version of a store, None for an empty file. Up to version 3 its table had another name."""
    try:
        versions = connection.execute("SELECT version FROM metadata").fetchall()
    except duckdb.CatalogException:
        # A list of all tables would take a third of the time in which a store of this version is opened.
        if not connection.execute("SELECT table_name FROM duckdb_tables()").fetchall():
            return None
        versions = connection.execute("SELECT version FROM about").fetchall()
    return int(versions[0][0]) if len(versions) == 1 else 0


@contextmanager
def _translate_open_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except duckdb.Error as error:
        message = _first_line(error)
        if "set lock" in message:
            raise Unavailable(
                _("another process has the store open"),
                location=str(path),
                hint=_("send the query to the running server, or stop it"),
            ) from error
        if "ermission" in message or "No such file" in message or "No space" in message or "Is a directory" in message:
            raise Unavailable(
                _("cannot open the store: {error}", error=message),
                location=str(path),
                hint=_("check the disk and the permissions"),
            ) from error
        raise StoreUnusable(
            _("the store is damaged or not a store: {error}", error=message), location=str(path), hint=_(REBUILD_HINT)
        ) from error


def _first_line(error: duckdb.Error) -> str:
    return str(error).partition("\n")[0][:200]
