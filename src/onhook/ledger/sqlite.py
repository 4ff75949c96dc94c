"""The ledger in one SQLite file: WAL, `synchronous=FULL`, one writer at a time.

Invariants: numbers are assigned under the write lock, so their order is the order of commits, and a reader that has
read up to N never misses a lower number. The unique index finds an exact repeat, whichever process appends it. A failed
append leaves nothing behind.

A fast commit runs in the event loop's own thread: handing it to another thread costs more than the commit itself,
because the two threads then contend for the GIL. A commit that may take longer, because another process writes or the
disk is slow, runs in a separate thread. Two more threads read and checkpoint the WAL.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any, TypeVar

from onhook.ledger import counters, deleted_events, erasures
from onhook.ledger.contract import (
    CONTROL_DIALECT,
    AppendResult,
    Counter,
    CounterKey,
    ErasureState,
    LedgerEntry,
    RawEvent,
    RewrittenContent,
)
from onhook.ledger.control_entries import to_ledger_entries
from onhook.ledger.deleted_events import identity_of_key
from onhook.ledger.sqlite_schema import (
    ConnectionUse,
    FileIdentity,
    connect,
    prepare_file,
    read_begin,
    translate_error,
)
from onhook.lib.change_signal import ChangeSignal
from onhook.lib.errors import Unavailable

CHECKPOINT_SECONDS = 0.5
"""Time between an append and the checkpoint: long enough to be cheap, short enough to leave a commit little work."""

WAL_PAGES_MAX = 8_000
"""32 MiB. Beyond it a checkpoint blocks writers until the last pages are copied; then the WAL restarts."""

FAST_COMMIT_SECONDS_MAX = 0.02
"""A commit that takes longer counts as slow: the event loop must not wait for many of them."""

SLOW_COMMIT_FACTOR = 20
"""After a slow commit the next ones run outside the event loop, for this many times as long as it took: however slow
the disk is, the loop waits for it at most a twentieth of the time.
"""

READ_BYTES_MAX = 32 * 1024 * 1024
"""Body bytes in one result of `read`: 1,000 raw events of the maximum size would be 256 MiB."""

DELETE_SIZE = 100
"""Raw events deleted in one transaction. Their fingerprints go to random places: beside ten million of them 100 take
some 50 ms, for which the intake waits.
"""

REWRITE_SIZE = 100
"""Entries rewritten in one transaction: some milliseconds."""

DELETE_PAUSE_SECONDS = 0.025
"""Between two such transactions: another process polls for the lock at intervals of up to this long at first (SQLite's
busy handler).
"""

_COLUMNS = ("received_at", "key", "sn", "dialect", "via", "signature", "peer", "body")
_RAW_EVENT_FIELDS = ("seq", *_COLUMNS)
_SELECT_RAW_EVENTS = f"SELECT {', '.join(_RAW_EVENT_FIELDS)} FROM raw_events"

# One statement for many rows: between two rows SQLite would release and reacquire the GIL, and beside a busy event loop
# each of these takes up to a thread switch (5 ms). Powers of two, so that few statements are prepared.
_INSERT_SIZES = (128, 64, 32, 16, 8, 4, 2, 1)
_INSERTS: Mapping[int, str] = {
    size: f"INSERT INTO raw_events ({', '.join(_COLUMNS)}) VALUES "
    + ", ".join([f"({', '.join('?' * len(_COLUMNS))})"] * size)
    + " ON CONFLICT DO NOTHING"
    for size in _INSERT_SIZES
}

_GET_SIZE = 500
"""Numbers in one statement: SQLite allows 32,766, and plans each different length anew."""

T = TypeVar("T")


class SqliteLedger:
    """The ledger in an SQLite file; see `ledger.contract.Ledger`. Opening it creates a missing file.

    Raises `UsageError` for a file that is no ledger or was written by a newer Onhook, `Unavailable` when it cannot be
    opened.
    """

    def __init__(self, path: Path) -> None:
        prepare_file(path)
        self._path = path
        self._file_identity = FileIdentity(path)
        connections = _connect_each(path, ("try_append", "append", "read", "checkpoint"))
        self._loop_connection = connections["try_append"]
        self._slow_until = 0.0
        self._thread_writes = 0
        self._append_thread = _ConnectionThread(path, "append", connections)
        self._read_thread = _ConnectionThread(path, "read", connections)
        self._checkpoint_thread = _ConnectionThread(path, "checkpoint", connections)
        self._checkpoint_timer: asyncio.TimerHandle | None = None
        self._append_signal = ChangeSignal(path)

    async def append(self, entries: Sequence[LedgerEntry]) -> list[AppendResult]:
        if not entries:
            return []
        try:
            results = await self._write(_insert_all, entries)
        except (UnicodeEncodeError, OverflowError):
            # One of them has a value that the file cannot hold.
            results = [await self._append_one(entry) for entry in entries]
        self._append_signal.notify()
        if self._checkpoint_timer is None:
            self._checkpoint_timer = asyncio.get_running_loop().call_later(CHECKPOINT_SECONDS, self._checkpoint)
        return results

    async def _append_one(self, entry: LedgerEntry) -> AppendResult:
        try:
            (result,) = await self._write(_insert_all, [entry])
        except (UnicodeEncodeError, OverflowError):
            return AppendResult(0, "unavailable")
        return result

    async def append_control(self, bodies: Sequence[bytes], *, last_control_seq: int, now_us: int) -> int:
        last_seq = await self._write_in_thread(_insert_control, bodies, last_control_seq, now_us)
        self._file_identity.check()
        self._append_signal.notify()
        return last_seq

    async def control_entries(self, after_seq: int, limit: int) -> list[RawEvent]:
        return await self._read_thread.run(_select_control, after_seq, limit)

    async def last_control_seq(self) -> int:
        return await self._read_thread.run(_last_control_seq)

    async def has_events(self) -> bool:
        return await self._read_thread.run(_has_events)

    async def read(self, after_seq: int, limit: int) -> list[RawEvent]:
        return await self._read_thread.run(_read, after_seq, limit)

    async def get(self, seqs: Sequence[int]) -> list[RawEvent]:
        return await self._read_thread.run(_get, seqs)

    async def delete(self, seqs: Sequence[int]) -> None:
        for start in range(0, len(seqs), DELETE_SIZE):
            if start:
                await asyncio.sleep(DELETE_PAUSE_SECONDS)
            await self._write_in_thread(_delete_rows, seqs[start : start + DELETE_SIZE])

    async def rewrite(self, contents: Mapping[int, RewrittenContent]) -> None:
        items = list(contents.items())
        for start in range(0, len(items), REWRITE_SIZE):
            await self._write_in_thread(erasures.update_contents, items[start : start + REWRITE_SIZE])

    async def erasure_states(self) -> dict[int, ErasureState]:
        return await self._read_thread.run(erasures.select_states)

    async def set_erasure_state(self, seqs: Iterable[int], state: ErasureState) -> None:
        await self._write_in_thread(erasures.upsert_state, list(seqs), state)

    async def erasure_position(self) -> int:
        return await self._read_thread.run(erasures.select_position)

    async def set_erasure_position(self, seq: int) -> None:
        await self._write_in_thread(erasures.update_position, seq)

    async def overwrite_deleted(self) -> None:
        has_more = True
        while has_more:
            has_more = await self._write_in_thread(erasures.fill_free_pages)
            await asyncio.sleep(DELETE_PAUSE_SECONDS)
        self._file_identity.check()
        await self._checkpoint_thread.run(erasures.empty_wal)
        self._file_identity.check()

    async def last_seq(self) -> int:
        return await self._read_thread.run(_last_seq)

    async def begin_seq(self) -> int:
        return await asyncio.to_thread(read_begin, self._path)

    async def identity(self) -> str:
        return identity_of_key(await asyncio.to_thread(deleted_events.read_key, self._path))

    async def wait(self, after_seq: int, timeout_seconds: float) -> bool:
        event = self._append_signal.prepare()
        if await self.last_seq() > after_seq:
            return True
        await self._append_signal.wait(event, timeout_seconds)
        return await self.last_seq() > after_seq

    async def add_counts(
        self, counts: Mapping[CounterKey, int], now_us: int, peers: Mapping[CounterKey, str] | None = None
    ) -> None:
        if counts:
            await self._write(counters.upsert_counts, counts, now_us, peers or {})

    async def subtract_counts(self, counts: Mapping[CounterKey, int]) -> None:
        if counts:
            await self._write(counters.update_counts, counts)

    async def counters(self) -> list[Counter]:
        return await self._read_thread.run(counters.select_counters)

    async def close(self) -> None:
        if self._checkpoint_timer is not None:
            self._checkpoint_timer.cancel()
        for thread in (self._checkpoint_thread, self._read_thread, self._append_thread):
            await thread.close()
        self._loop_connection.close()
        self._append_signal.close()

    async def _write(self, work: Callable[..., T], *args: object) -> T:
        """Run the work in a transaction, and check that it was written to the file that has the ledger's name."""
        result = await self._write_unchecked(work, *args)
        self._file_identity.check()
        return result

    async def _write_unchecked(self, work: Callable[..., T], *args: object) -> T:
        """Run the work in this thread while commits are fast, else in the append thread. Never in both at once: one
        would wait for a database lock held by the other, which waits for the GIL.
        """
        if time.monotonic() >= self._slow_until and not self._thread_writes:
            with suppress(_BusyError):
                return self._write_in_loop(work, *args)
        return await self._write_in_thread(work, *args)

    async def _write_in_thread(self, work: Callable[..., T], *args: object) -> T:
        """Run the work in the append thread."""
        self._thread_writes += 1
        try:
            return await self._append_thread.run(self._in_transaction, work, *args)
        finally:
            self._thread_writes -= 1

    def _write_in_loop(self, work: Callable[..., T], *args: object) -> T:
        """Run the work in the event loop's thread. Raises `_BusyError` when another process is writing."""
        started_at = time.monotonic()
        try:
            return self._in_transaction(self._loop_connection, work, *args)
        except sqlite3.Error as error:
            if _is_busy(error):
                raise _BusyError from error
            raise translate_error(error, self._path) from error
        finally:
            ended_at = time.monotonic()
            if ended_at - started_at > FAST_COMMIT_SECONDS_MAX:
                self._slow_until = ended_at + SLOW_COMMIT_FACTOR * (ended_at - started_at)

    def _in_transaction(self, connection: sqlite3.Connection, work: Callable[..., T], *args: object) -> T:
        """Run the work in a transaction, which is committed only to the file that has the ledger's name."""
        try:
            connection.execute("BEGIN IMMEDIATE")
            result = work(connection, *args)
            self._file_identity.check()
            connection.execute("COMMIT")
        except BaseException as error:
            # After a full disk SQLite may have rolled back already.
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
                # Damage may be the first sign that the file was cut off.
                self._file_identity.check()
            raise
        return result

    def _checkpoint(self) -> None:
        self._checkpoint_timer = None
        self._checkpoint_thread.start(self._try_checkpoint)

    def _try_checkpoint(self, connection: sqlite3.Connection) -> None:
        """Checkpoint as far as readers allow. A failure loses nothing: the next checkpoint does the work. A file that
        was cut off stays as it is, so that all processes find it short.
        """
        with suppress(Unavailable, sqlite3.OperationalError):
            self._file_identity.check()
            _run_checkpoint(connection)
            self._file_identity.check()


class _BusyError(Exception):
    """Another process is writing."""


def _connect_each(path: Path, uses: Sequence[ConnectionUse]) -> Mapping[ConnectionUse, sqlite3.Connection]:
    """Return a connection for each use; none stays open where one fails."""
    with ExitStack() as opened:
        connections = {use: opened.enter_context(closing(connect(path, use))) for use in uses}
        opened.pop_all()
    return connections


class _ConnectionThread:
    """A connection and the one thread that uses it; the thread starts with the first use."""

    def __init__(self, path: Path, use: ConnectionUse, connections: Mapping[ConnectionUse, sqlite3.Connection]) -> None:
        self._path = path
        self._connection = connections[use]
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"ledger-{use}")

    async def run(self, work: Callable[..., T], *args: object) -> T:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._thread, work, self._connection, *args)
        except sqlite3.Error as error:
            raise translate_error(error, self._path) from error

    def start(self, work: Callable[[sqlite3.Connection], None]) -> None:
        self._thread.submit(work, self._connection)

    async def close(self) -> None:
        await asyncio.to_thread(self._thread.shutdown)
        self._connection.close()


def _is_busy(error: sqlite3.Error) -> bool:
    """Return whether another process is writing. The low byte is compared, to include the extended codes that recovery
    returns.
    """
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY


def _insert_control(connection: sqlite3.Connection, bodies: Sequence[bytes], last_control_seq: int, now_us: int) -> int:
    if _last_control_seq(connection) != last_control_seq:
        return 0
    results = _insert_in_steps(connection, to_ledger_entries(bodies, last_control_seq, now_us))
    connection.executemany("INSERT INTO control_entries VALUES (?)", [(result.seq,) for result in results])
    return results[-1].seq


def _last_control_seq(connection: sqlite3.Connection) -> int:
    (last_seq,) = connection.execute("SELECT coalesce(max(seq), 0) FROM control_entries").fetchone()
    return int(last_seq)


def _select_control(connection: sqlite3.Connection, after_seq: int, limit: int) -> list[RawEvent]:
    rows = connection.execute(
        f"{_SELECT_RAW_EVENTS} JOIN control_entries USING (seq) WHERE seq > ? ORDER BY seq LIMIT ?", (after_seq, limit)
    )
    return _take_raw_events(rows)


def _has_events(connection: sqlite3.Connection) -> bool:
    (has_events,) = connection.execute(
        "SELECT EXISTS (SELECT 1 FROM raw_events WHERE dialect <> ?)", (CONTROL_DIALECT,)
    ).fetchone()
    return bool(has_events)


def _insert_all(connection: sqlite3.Connection, entries: Sequence[LedgerEntry]) -> list[AppendResult]:
    known_results = _find_under_further_numbers(connection, entries)
    known_results |= {index: AppendResult(0, "deleted") for index in deleted_events.find(connection, entries)}
    if not known_results:
        return _insert_in_steps(connection, entries)
    remaining = [entry for index, entry in enumerate(entries) if index not in known_results]
    results = iter(_insert_in_steps(connection, remaining))
    return [known_results[index] if index in known_results else next(results) for index in range(len(entries))]


def _find_under_further_numbers(
    connection: sqlite3.Connection, entries: Sequence[LedgerEntry]
) -> dict[int, AppendResult]:
    """Return the results of the entries that repeat one of a further serial number of their sender, by their index."""
    results = {}
    for index, entry in enumerate(entries):
        if not entry.further_sns:
            continue
        rows = connection.execute("SELECT sn, seq FROM raw_events WHERE key = ? ORDER BY seq", (entry.key,)).fetchall()
        seqs = [seq for sn, seq in rows if sn in entry.further_sns]
        if seqs and entry.sn not in dict(rows):
            results[index] = AppendResult(seqs[0], "duplicate")
    return results


def _insert_in_steps(connection: sqlite3.Connection, entries: Sequence[LedgerEntry]) -> list[AppendResult]:
    results: list[AppendResult] = []
    while len(results) < len(entries):
        remaining = len(entries) - len(results)
        size = next(size for size in _INSERT_SIZES if size <= remaining)
        results += _insert(connection, entries[len(results) : len(results) + size])
    return results


def _insert(connection: sqlite3.Connection, entries: Sequence[LedgerEntry]) -> list[AppendResult]:
    """Insert as many entries as one of the prepared statements takes."""
    cursor = connection.execute(_INSERTS[len(entries)], [value for entry in entries for value in _values(entry)])
    if cursor.rowcount == len(entries):
        # Within one statement, and under the write lock, numbers have no gaps unless a row was left out.
        last_seq = cursor.lastrowid
        assert last_seq is not None
        return [AppendResult(seq, "new") for seq in range(last_seq - len(entries) + 1, last_seq + 1)]
    return _resolve_existing(connection, entries, cursor.rowcount)


def _values(entry: LedgerEntry) -> tuple[object, ...]:
    return (
        entry.received_at, entry.key, entry.sn, entry.dialect, entry.via, entry.signature, entry.peer, entry.body
    )  # fmt: skip


def _resolve_existing(
    connection: sqlite3.Connection, entries: Sequence[LedgerEntry], new_count: int
) -> list[AppendResult]:
    """Return the numbers of all entries where some existed before. New entries have the highest numbers; a repeat
    within the batch is new only once.
    """
    seqs = [_find_seq(connection, entry) for entry in entries]
    new_seqs = set(sorted(set(seqs))[-new_count:]) if new_count else set()
    results = []
    for seq in seqs:
        results.append(AppendResult(seq, "new" if seq in new_seqs else "duplicate"))
        new_seqs.discard(seq)
    return results


def _find_seq(connection: sqlite3.Connection, entry: LedgerEntry) -> int:
    (seq,) = connection.execute("SELECT seq FROM raw_events WHERE key = ? AND sn = ?", (entry.key, entry.sn)).fetchone()
    return int(seq)


def _read(connection: sqlite3.Connection, after_seq: int, limit: int) -> list[RawEvent]:
    return _take_raw_events(
        connection.execute(f"{_SELECT_RAW_EVENTS} WHERE seq > ? ORDER BY seq LIMIT ?", (after_seq, limit))
    )


def _take_raw_events(rows: Iterable[tuple[Any, ...]]) -> list[RawEvent]:
    """Return raw events of rows, fewer where bodies are large."""
    raw_events: list[RawEvent] = []
    body_bytes = 0
    for raw_event in map(_to_raw_event, rows):
        raw_events.append(raw_event)
        body_bytes += len(raw_event.body)
        if body_bytes > READ_BYTES_MAX:
            break
    return raw_events


def _get(connection: sqlite3.Connection, seqs: Sequence[int]) -> list[RawEvent]:
    unique_seqs = sorted(set(seqs))
    raw_events: list[RawEvent] = []
    for start in range(0, len(unique_seqs), _GET_SIZE):
        chunk = unique_seqs[start : start + _GET_SIZE]
        rows = connection.execute(
            f"{_SELECT_RAW_EVENTS} WHERE seq IN ({', '.join('?' * len(chunk))}) ORDER BY seq", chunk
        )
        raw_events.extend(map(_to_raw_event, rows))
    return raw_events


def _delete_rows(connection: sqlite3.Connection, seqs: Sequence[int]) -> None:
    deleted_events.add(connection, seqs)
    # The last raw event always stays: the store's position is compared with its number.
    for table in ("control_entries", "raw_events"):
        connection.executemany(
            f"DELETE FROM {table} WHERE seq = ? AND seq < (SELECT max(seq) FROM raw_events)", [(seq,) for seq in seqs]
        )


def _to_raw_event(row: tuple[Any, ...]) -> RawEvent:
    return RawEvent(**dict(zip(_RAW_EVENT_FIELDS, row, strict=True)))


def _last_seq(connection: sqlite3.Connection) -> int:
    (last_seq,) = connection.execute(
        "SELECT coalesce(max(seq), (SELECT after_seq FROM ledger_begin), 0) FROM raw_events"
    ).fetchone()
    return int(last_seq)


def _run_checkpoint(connection: sqlite3.Connection) -> None:
    _, pages, _ = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    if pages > WAL_PAGES_MAX:
        # Under load a passive checkpoint never reaches the end of the WAL; only a full one does.
        connection.execute("PRAGMA wal_checkpoint(FULL)").fetchall()
