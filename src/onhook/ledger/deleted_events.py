"""Fingerprints of deleted raw events: a captured old body that is posted again is no new call.

A fingerprint is a keyed hash of 16 bytes: it says nothing about the event, and two events never share one by chance.
"""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from hashlib import blake2b
from pathlib import Path

from onhook.ledger.contract import LedgerEntry

FINGERPRINT_BYTES = 16

_LOOKUP_SIZE = 100
"""Fingerprints in one statement."""


def find(connection: sqlite3.Connection, entries: Sequence[LedgerEntry]) -> set[int]:
    """Return the indexes of the entries that repeat a deleted raw event."""
    if not connection.execute("SELECT EXISTS (SELECT 1 FROM deleted_events)").fetchone()[0]:
        return set()
    key = _read_key(connection)
    fingerprints = [
        (_compute_fingerprint(key, sn, entry.key), index)
        for index, entry in enumerate(entries)
        for sn in (entry.sn, *entry.further_sns)
    ]
    deleted: set[bytes] = set()
    for start in range(0, len(fingerprints), _LOOKUP_SIZE):
        chunk = [fingerprint for fingerprint, _ in fingerprints[start : start + _LOOKUP_SIZE]]
        rows = connection.execute(
            f"SELECT fingerprint FROM deleted_events WHERE fingerprint IN ({', '.join('?' * len(chunk))})", chunk
        )
        deleted.update(fingerprint for (fingerprint,) in rows)
    return {index for fingerprint, index in fingerprints if fingerprint in deleted}


def add(connection: sqlite3.Connection, seqs: Sequence[int]) -> None:
    """Add the fingerprints of raw events that are about to be deleted: all of these but the last one of the ledger."""
    key = _read_key(connection)
    for seq in seqs:
        rows = connection.execute(
            "SELECT sn, key FROM raw_events WHERE seq = ? AND seq < (SELECT max(seq) FROM raw_events)", (seq,)
        ).fetchall()
        connection.executemany(
            "INSERT INTO deleted_events VALUES (?) ON CONFLICT DO NOTHING",
            [(_compute_fingerprint(key, sn, event_key),) for sn, event_key in rows],
        )


def _read_key(connection: sqlite3.Connection) -> bytes:
    (key,) = connection.execute("SELECT key FROM fingerprint_key").fetchone()
    return bytes(key)


def _compute_fingerprint(key: bytes, sn: str, event_key: bytes) -> bytes:
    return blake2b(event_key + sn.encode(), key=key, digest_size=FINGERPRINT_BYTES).digest()


def identity_of_key(key: bytes) -> str:
    """Return what distinguishes ledgers by their keys, which stay secret."""
    return blake2b(b"identity", key=key, digest_size=FINGERPRINT_BYTES).hexdigest()


def read_key(path: Path) -> bytes:
    """Return the key of the fingerprints of a ledger, only reading it."""
    with closing(_connect(path)) as connection:
        return _read_key(connection)


def read_page(path: Path, after: bytes, limit: int) -> list[bytes]:
    """Return the next fingerprints of a ledger in their order, only reading it."""
    with closing(_connect(path)) as connection:
        rows = connection.execute(
            "SELECT fingerprint FROM deleted_events WHERE fingerprint > ? ORDER BY fingerprint LIMIT ?", (after, limit)
        )
        return [bytes(fingerprint) for (fingerprint,) in rows]


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
