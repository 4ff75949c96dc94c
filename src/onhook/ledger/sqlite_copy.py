"""Copy of a ledger on NATS JetStream to a new file, with its numbers: from several machines back to one.

Invariants: the streams are only read. The file is whole or not under its name. The key of fingerprints is that of the
streams. An exact repeat that came too late to be recognised there is left out: it changes no call, and a file has no
place for it.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from onhook.ledger.contract import CONTROL_DIALECT, Counter, ErasureState, RawEvent
from onhook.ledger.erasures import update_position, upsert_state
from onhook.ledger.jetstream import JetStreamLedger
from onhook.ledger.jetstream_address import parse_jetstream_address
from onhook.ledger.jetstream_client import JetStreamClient
from onhook.ledger.jetstream_copy import (
    COPY_CALL_SECONDS,
    ENTRIES_AT_ONCE,
    CopiedLedger,
    CopyProgressCallback,
    compare,
    ignore_progress,
)
from onhook.ledger.jetstream_state import JetStreamState, unpack_fingerprints
from onhook.ledger.jetstream_streams import StreamNames
from onhook.ledger.sqlite import SqliteLedger
from onhook.ledger.sqlite_schema import connect, prepare_file, translate_error

PARTIAL_SUFFIX = ".part"
MESSAGES_AT_ONCE = 1_000
MESSAGES_BYTES = 16 * 1024 * 1024

_INSERT = """INSERT INTO raw_events (seq, received_at, key, sn, dialect, via, signature, peer, body)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"""
_INSERT_COUNTER = """INSERT INTO counters (kind, sn, label, count, first_at, last_at, last_peer)
    VALUES (?, ?, ?, ?, ?, ?, ?)"""


async def copy_to_file(
    url: str, path: Path, on_progress: CopyProgressCallback = ignore_progress
) -> tuple[CopiedLedger, int]:
    """Copy the ledger of a URL to a file, which is not there; return what was copied, and how many late repeats were
    left out. No other process writes to the streams. Raises `OnhookError`, also where the copy differs; then there is
    no file.
    """
    partial_path = path.with_name(path.name + PARTIAL_SUFFIX)
    source = JetStreamLedger(url, call_seconds=COPY_CALL_SECONDS)
    try:
        last_seq = await source.last_seq()
        writer = await asyncio.to_thread(_FileWriter, partial_path)
        try:
            omitted = await _copy(source, url, writer, last_seq, on_progress)
        finally:
            await asyncio.to_thread(writer.close)
        target = SqliteLedger(partial_path)
        try:
            copied = await compare(source, target, omitted)
        finally:
            await target.close()
        await asyncio.to_thread(partial_path.replace, path)
    except OSError as error:
        raise translate_error(error, path) from error
    finally:
        await source.close()
        await asyncio.to_thread(_remove, partial_path)
    return copied, len(omitted)


async def _copy(
    source: JetStreamLedger, url: str, writer: "_FileWriter", last_seq: int, on_progress: CopyProgressCallback
) -> set[int]:
    """Copy everything; return the numbers of the entries that were left out."""
    address = parse_jetstream_address(url)
    client = JetStreamClient(address, call_seconds=COPY_CALL_SECONDS)
    names = StreamNames(address.stream)
    try:
        key = await JetStreamState(client, names).load_key()
        await asyncio.to_thread(writer.begin, key, last_seq, await source.begin_seq())
        async for fingerprints in _read_fingerprints(client, names):
            await asyncio.to_thread(writer.add_fingerprints, fingerprints)
    finally:
        await client.close()
    await asyncio.to_thread(
        writer.add_state,
        counters=await source.counters(),
        states=list((await source.erasure_states()).items()),
        erasure_position=await source.erasure_position(),
    )
    omitted: set[int] = set()
    after_seq = 0
    while events := await source.read(after_seq, ENTRIES_AT_ONCE):
        omitted |= await asyncio.to_thread(writer.add_events, events)
        after_seq = events[-1].seq
        on_progress(after_seq, max(after_seq, last_seq))
    return omitted


async def _read_fingerprints(client: JetStreamClient, names: StreamNames) -> AsyncIterator[list[bytes]]:
    """Yield the fingerprints of deleted entries."""
    after_seq = 0
    subject = names.state_subject("fingerprints", "*")
    while messages := await client.read_messages(names.state, subject, after_seq, MESSAGES_AT_ONCE, MESSAGES_BYTES):
        after_seq = messages[-1].seq
        yield [
            fingerprint
            for message in messages
            for fingerprint, seq in unpack_fingerprints(message.body).items()
            if not seq
        ]


class _FileWriter:
    """Writes a new ledger. Each method is one transaction, in whichever thread."""

    def __init__(self, path: Path) -> None:
        _remove(path)
        prepare_file(path)
        self._path = path
        self._connection = connect(path, "append")

    def close(self) -> None:
        """Make it one file."""
        try:
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.Error as error:
            raise translate_error(error, self._path) from error
        finally:
            self._connection.close()

    def begin(self, key: bytes, last_seq: int, begin_seq: int) -> None:
        statements: list[tuple[str, tuple[object, ...]]] = [
            ("UPDATE fingerprint_key SET key = ?", (key,)),
            ("INSERT INTO sqlite_sequence (name, seq) VALUES ('raw_events', ?)", (last_seq,)),
        ]
        if begin_seq:
            statements.append(("INSERT INTO ledger_begin VALUES (?)", (begin_seq,)))
        with self._transaction() as connection:
            for sql, values in statements:
                connection.execute(sql, values)

    def add_fingerprints(self, fingerprints: Iterable[bytes]) -> None:
        with self._transaction() as connection:
            connection.executemany(
                "INSERT INTO deleted_events VALUES (?) ON CONFLICT DO NOTHING", [(item,) for item in fingerprints]
            )

    def add_state(
        self, *, counters: Iterable[Counter], states: Iterable[tuple[int, ErasureState]], erasure_position: int
    ) -> None:
        rows = [
            (item.kind, item.sn, item.label, item.count, item.first_at, item.last_at, item.last_peer)
            for item in counters
        ]
        with self._transaction() as connection:
            connection.executemany(_INSERT_COUNTER, rows)
            for seq, state in states:
                upsert_state(connection, [seq], state)
            update_position(connection, erasure_position)

    def add_events(self, events: Sequence[RawEvent]) -> set[int]:
        """Add entries; return the numbers of those that are exact repeats of earlier ones."""
        omitted: set[int] = set()
        with self._transaction() as connection:
            for event in events:
                values = (event.seq, event.received_at, event.key, event.sn, event.dialect, event.via)
                cursor = connection.execute(_INSERT, (*values, event.signature, event.peer, event.body))
                if not cursor.rowcount:
                    omitted.add(event.seq)
                elif event.dialect == CONTROL_DIALECT:
                    connection.execute("INSERT INTO control_entries VALUES (?)", (event.seq,))
        return omitted

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            yield self._connection
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            # What was written stays uncommitted: the file is removed.
            raise translate_error(error, self._path) from error


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
