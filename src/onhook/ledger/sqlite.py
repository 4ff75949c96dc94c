"""The ledger in one SQLite file: WAL, `synchronous=FULL`, one writer at a time.

Laws: numbers are given under the write lock, so their order is the order of commits, and who read up to N never misses
a lower number. An exact repeat is found by the unique index, whoever appends. A failed append leaves nothing behind.

A swift commit is made in the event loop's own thread: handing it to another costs more than the commit itself, for two
threads then quarrel about the interpreter's lock. What may take longer, because another process writes or the disk is
slow, goes to a thread beside it. Two more threads read, and carry the WAL's pages home.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from onhook.ledger.contract import Appended, Entry, Mark, Report, Tally
from onhook.ledger.sqlite_schema import Place, Use, as_ours, connect, make_ready

CHECKPOINT_SECONDS = 0.5
"""Pages go home this long after an append: rarely enough to be cheap, often enough to leave a commit little to do."""

WAL_PAGES_MAX = 8_000
"""32 MiB. Beyond it, writers are held up while the last pages go home, after which the WAL begins anew."""

SWIFT_SECONDS = 0.02
"""A commit that takes longer than this is not swift: the event loop must not wait for many like it."""

SLOW_FACTOR = 20
"""After such a commit the next ones are made beside the event loop, for this many times as long as it took: whatever
the disk does, the loop waits for it a twentieth of the time at most."""

READ_BYTES_MAX = 32 * 1024 * 1024
"""Bodies in one answer of `read`: 1,000 reports of the largest size would be 256 MiB."""

TALLIES_MAX = 1_000
"""Different tallies under each word, and in one answer: made-up serial numbers of strangers must not fill the disk."""

OTHERS = "others"
"""The label under which tallies are added up that had to make room."""

_COLUMNS = ("received_at", "key", "sn", "dialect", "via", "signature", "peer", "body")
_REPORT_FIELDS = ("seq", *_COLUMNS)
_READ = f"SELECT {', '.join(_REPORT_FIELDS)} FROM reports"

# One statement for many rows: between two rows SQLite would give up and ask back the interpreter's lock, and beside a
# busy event loop each of these takes up to a thread switch (5 ms). Powers of two, so that few statements are prepared.
_INSERT_SIZES = (128, 64, 32, 16, 8, 4, 2, 1)
_INSERTS: Mapping[int, str] = {
    size: f"INSERT INTO reports ({', '.join(_COLUMNS)}) VALUES "
    + ", ".join([f"({', '.join('?' * len(_COLUMNS))})"] * size)
    + " ON CONFLICT DO NOTHING"
    for size in _INSERT_SIZES
}

_GET_SIZE = 500
"""Numbers in one statement: SQLite takes 32,766, and a plan for each different length."""

T = TypeVar("T")


class SqliteLedger:
    """See the contract, `ledger.ledger.Ledger`. Opening it creates the file if there is none.

    Raises `UsageError` for a file that is no ledger or of a newer Onhook, `Unavailable` when it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        make_ready(path)
        self._path = path
        self._place = Place(path)
        self._here = connect(path, "try")
        self._slow_until = 0.0
        self._writing_beside = 0
        self._appending = _Lane(path, "append")
        self._reading = _Lane(path, "read")
        self._aside = _Lane(path, "aside")
        self._checkpoint_planned: asyncio.TimerHandle | None = None

    async def append(self, entries: Sequence[Entry]) -> list[Appended]:
        if not entries:
            return []
        appended = await self._write(_append, entries)
        self._place.check()
        if self._checkpoint_planned is None:
            self._checkpoint_planned = asyncio.get_running_loop().call_later(CHECKPOINT_SECONDS, self._checkpoint)
        return appended

    async def read(self, after: int, limit: int) -> list[Report]:
        return await self._reading.run(_read, after, limit)

    async def get(self, seqs: Sequence[int]) -> list[Report]:
        return await self._reading.run(_get, seqs)

    async def forget(self, seqs: Sequence[int]) -> None:
        if seqs:
            await self._write(_forget, seqs)

    async def last(self) -> int:
        return await self._reading.run(_last)

    async def count(self, marks: Mapping[Mark, int], at: int) -> None:
        if marks:
            await self._write(_count, marks, at)

    async def tallies(self) -> list[Tally]:
        return await self._reading.run(_tallies)

    async def close(self) -> None:
        if self._checkpoint_planned is not None:
            self._checkpoint_planned.cancel()
        for lane in (self._aside, self._reading, self._appending):
            await lane.close()
        self._here.close()

    async def _write(self, work: Callable[..., T], *given: object) -> T:
        """In this thread where that is swift, else in the one beside it; never in two at once, which would have one
        wait for a lock that the other, waiting for the interpreter, holds."""
        if time.monotonic() >= self._slow_until and not self._writing_beside:
            with suppress(_Busy):
                return self._write_here(work, *given)
        self._writing_beside += 1
        try:
            return await self._appending.run(work, *given)
        finally:
            self._writing_beside -= 1

    def _write_here(self, work: Callable[..., T], *given: object) -> T:
        """Raises `_Busy` when another process is writing."""
        begun_at = time.monotonic()
        try:
            return work(self._here, *given)
        except sqlite3.Error as error:
            if _is_busy(error):
                raise _Busy from error
            raise as_ours(error, self._path) from error
        finally:
            ended_at = time.monotonic()
            if ended_at - begun_at > SWIFT_SECONDS:
                self._slow_until = ended_at + SLOW_FACTOR * (ended_at - begun_at)

    def _checkpoint(self) -> None:
        self._checkpoint_planned = None
        self._aside.start(_checkpoint_or_leave_it)


class _Busy(Exception):
    """Another process is writing."""


class _Lane:
    """A connection and the one thread that uses it; the thread starts with the first use."""

    def __init__(self, path: Path, use: Use) -> None:
        self._path = path
        self._connection = connect(path, use)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"ledger-{use}")

    async def run(self, work: Callable[..., T], *given: object) -> T:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._thread, work, self._connection, *given)
        except sqlite3.Error as error:
            raise as_ours(error, self._path) from error

    def start(self, work: Callable[[sqlite3.Connection], None]) -> None:
        self._thread.submit(work, self._connection)

    async def close(self) -> None:
        await asyncio.to_thread(self._thread.shutdown)
        self._connection.close()


def _is_busy(error: sqlite3.Error) -> bool:
    """Whether another one writes. The extended codes that only recovery gives are meant too, so the low byte counts."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY


def _append(connection: sqlite3.Connection, entries: Sequence[Entry]) -> list[Appended]:
    return _in_transaction(connection, _insert_all, entries)


def _in_transaction(connection: sqlite3.Connection, work: Callable[..., T], *given: object) -> T:
    connection.execute("BEGIN IMMEDIATE")
    try:
        result = work(connection, *given)
        connection.execute("COMMIT")
    except BaseException:
        # After a full disk SQLite may have rolled back already.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return result


def _insert_all(connection: sqlite3.Connection, entries: Sequence[Entry]) -> list[Appended]:
    appended: list[Appended] = []
    while len(appended) < len(entries):
        left = len(entries) - len(appended)
        size = next(size for size in _INSERT_SIZES if size <= left)
        appended += _insert(connection, entries[len(appended) : len(appended) + size])
    return appended


def _insert(connection: sqlite3.Connection, entries: Sequence[Entry]) -> list[Appended]:
    """Insert as many entries as one of the prepared statements takes."""
    cursor = connection.execute(_INSERTS[len(entries)], [value for entry in entries for value in _values(entry)])
    if cursor.rowcount == len(entries):
        # Within one statement, and under the write lock, numbers are given without gaps unless a row was left out.
        last = cursor.lastrowid
        assert last is not None
        return [Appended(seq, True) for seq in range(last - len(entries) + 1, last + 1)]
    return _found(connection, entries, cursor.rowcount)


def _values(entry: Entry) -> tuple[object, ...]:
    return (
        entry.received_at, entry.key, entry.sn, entry.dialect, entry.via, entry.signature, entry.peer, entry.body
    )  # fmt: skip


def _found(connection: sqlite3.Connection, entries: Sequence[Entry], new: int) -> list[Appended]:
    """Where some were there before: the numbers of all. New ones have the highest, and are new only once."""
    seqs = [_seq_of(connection, entry) for entry in entries]
    unseen = set(sorted(set(seqs))[-new:]) if new else set()
    appended = []
    for seq in seqs:
        appended.append(Appended(seq, seq in unseen))
        unseen.discard(seq)
    return appended


def _seq_of(connection: sqlite3.Connection, entry: Entry) -> int:
    (seq,) = connection.execute("SELECT seq FROM reports WHERE key = ? AND sn = ?", (entry.key, entry.sn)).fetchone()
    return int(seq)


def _read(connection: sqlite3.Connection, after: int, limit: int) -> list[Report]:
    rows = connection.execute(f"{_READ} WHERE seq > ? ORDER BY seq LIMIT ?", (after, limit))
    reports: list[Report] = []
    body_bytes = 0
    for report in map(_report, rows):
        reports.append(report)
        body_bytes += len(report.body)
        if body_bytes > READ_BYTES_MAX:
            break
    return reports


def _get(connection: sqlite3.Connection, seqs: Sequence[int]) -> list[Report]:
    wanted = sorted(set(seqs))
    reports: list[Report] = []
    for start in range(0, len(wanted), _GET_SIZE):
        some = wanted[start : start + _GET_SIZE]
        rows = connection.execute(f"{_READ} WHERE seq IN ({', '.join('?' * len(some))}) ORDER BY seq", some)
        reports.extend(map(_report, rows))
    return reports


def _forget(connection: sqlite3.Connection, seqs: Sequence[int]) -> None:
    _in_transaction(connection, _delete, seqs)


def _delete(connection: sqlite3.Connection, seqs: Sequence[int]) -> None:
    # The last one stays, whoever asks: the store's position is compared with its number.
    connection.executemany(
        "DELETE FROM reports WHERE seq = ? AND seq < (SELECT max(seq) FROM reports)", [(seq,) for seq in seqs]
    )


def _report(row: tuple[Any, ...]) -> Report:
    return Report(**dict(zip(_REPORT_FIELDS, row, strict=True)))


def _last(connection: sqlite3.Connection) -> int:
    (last,) = connection.execute("SELECT coalesce(max(seq), 0) FROM reports").fetchone()
    return int(last)


def _count(connection: sqlite3.Connection, marks: Mapping[Mark, int], at: int) -> None:
    _in_transaction(connection, _add, marks, at)


def _add(connection: sqlite3.Connection, marks: Mapping[Mark, int], at: int) -> None:
    rows = [(mark.what, mark.sn, mark.label, times, at, at) for mark, times in marks.items()]
    connection.executemany(_ADD, rows)
    for what in {mark.what for mark in marks}:
        _make_room(connection, what)


_SELECT_TALLIES = "SELECT what, sn, label, count, first_at, last_at FROM tallies"

_ADD = """INSERT INTO tallies (what, sn, label, count, first_at, last_at) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET count = count + excluded.count,
        first_at = min(first_at, excluded.first_at), last_at = max(last_at, excluded.last_at)"""


def _make_room(connection: sqlite3.Connection, what: str) -> None:
    """Add the longest silent tallies of a word up to one, so that the newest stranger can always be seen."""
    (held,) = connection.execute("SELECT count(*) FROM tallies WHERE what = ?", (what,)).fetchone()
    if held <= TALLIES_MAX:
        return
    oldest = connection.execute(
        f"{_SELECT_TALLIES} WHERE what = ? AND label <> ? ORDER BY last_at LIMIT ?",
        (what, OTHERS, held - TALLIES_MAX + 1),
    ).fetchall()
    connection.executemany("DELETE FROM tallies WHERE what = ? AND sn = ? AND label = ?", [row[:3] for row in oldest])
    connection.executemany(_ADD, [(what, "", OTHERS, *row[3:]) for row in oldest])


def _tallies(connection: sqlite3.Connection) -> list[Tally]:
    rows: Iterable[tuple[str, str, str, int, int, int]] = connection.execute(
        f"{_SELECT_TALLIES} ORDER BY last_at DESC, what, sn, label LIMIT ?", (TALLIES_MAX,)
    )
    return [Tally(*row) for row in rows]


def _checkpoint_or_leave_it(connection: sqlite3.Connection) -> None:
    """Carry pages home as far as no reader stands in the way; nothing is lost when it fails, it is done later."""
    try:
        _, pages, _ = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        if pages > WAL_PAGES_MAX:
            # Under load there is always something after what was carried home; this alone reaches the end.
            connection.execute("PRAGMA wal_checkpoint(FULL)").fetchall()
    except sqlite3.OperationalError:
        return
