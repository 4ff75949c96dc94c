"""Erasures in the file of the ledger: contents are replaced, and what was there before is overwritten.

Invariant: the file is never shortened, which its processes would take for a ledger that was cut off. So free pages are
filled with zeros instead of being given back.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path

from onhook.ledger.contract import ErasureState, RewrittenContent
from onhook.ledger.control_entries import Erased, copy_entry, decode_body, encode_control, to_ledger_entries
from onhook.ledger.sqlite_schema import connect, prepare_file, translate_error
from onhook.lib.errors import Unavailable
from onhook.lib.messages import _

ZEROS_BYTES = 8 * 1024 * 1024
"""Zeros written in one transaction, for which the intake waits: some 30 ms."""


CHAIN_BYTES = 4
LOCAL_BYTES = 600
"""Of each overflow page SQLite needs some bytes itself. A blob of so many full pages, and a few hundred bytes that stay
with its row, fills each page to its end; what is in the rest of a page that is not full would stay there
(https://www.sqlite.org/fileformat2.html, 1.6).
"""


def update_contents(connection: sqlite3.Connection, contents: Iterable[tuple[int, RewrittenContent]]) -> None:
    """Replace the contents of entries."""
    connection.executemany(
        "UPDATE raw_events SET dialect = ?, body = ?, signature = '' WHERE seq = ?",
        [(content.dialect, content.body, seq) for seq, content in contents],
    )


def select_states(connection: sqlite3.Connection) -> dict[int, ErasureState]:
    """Return the states of control entries by their numbers."""
    rows = connection.execute("SELECT seq, is_finished FROM erasures")
    return {seq: "finished" if is_finished else "rewritten" for seq, is_finished in rows}


def upsert_state(connection: sqlite3.Connection, seqs: Iterable[int], state: ErasureState) -> None:
    """Replace the state of control entries; a finished one stays so."""
    connection.executemany(
        "INSERT INTO erasures VALUES (?, ?) ON CONFLICT (seq) DO UPDATE"
        " SET is_finished = max(is_finished, excluded.is_finished)",
        [(seq, state == "finished") for seq in seqs],
    )


def select_position(connection: sqlite3.Connection) -> int:
    """Return the number up to which later events were rewritten."""
    (seq,) = connection.execute("SELECT position FROM erasure_state").fetchone()
    return int(seq)


def update_position(connection: sqlite3.Connection, seq: int) -> None:
    """Replace that number."""
    connection.execute("UPDATE erasure_state SET position = ?", (seq,))


def fill_free_pages(connection: sqlite3.Connection) -> bool:
    """Fill some free pages with zeros, once for a file; return whether there are more. Later ones are filled when they
    are freed (`secure_delete`).
    """
    if connection.execute("SELECT has_zeroed_pages FROM erasure_state").fetchone()[0]:
        return False
    connection.execute("CREATE TABLE IF NOT EXISTS zeros (content BLOB NOT NULL) STRICT")
    (page_count,), (page_bytes,) = (
        connection.execute(f"PRAGMA {name}").fetchone() for name in ("freelist_count", "page_size")
    )
    if page_count:
        filled_count = min(page_count, ZEROS_BYTES // page_bytes)
        size = filled_count * (page_bytes - CHAIN_BYTES) + LOCAL_BYTES
        connection.execute("INSERT INTO zeros VALUES (zeroblob(?))", (size,))
        return True
    connection.execute("PRAGMA secure_delete = OFF")  # they are zeros already
    connection.execute("DROP TABLE zeros")
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute("UPDATE erasure_state SET has_zeroed_pages = 1")
    return False


def empty_wal(connection: sqlite3.Connection) -> None:
    """Copy the WAL to the file and empty it. Raises `Unavailable` while a reader needs it."""
    (is_busy, _pages, _copied) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if is_busy:
        raise Unavailable(
            _("the write-ahead log of the ledger is in use"), hint=_("it is emptied when its readers have finished")
        )


def read_entries(path: Path) -> list[Erased]:
    """Return the control entries of erasures of a ledger, only reading it; none where it cannot be read, because it may
    be what is replaced by a backup.
    """
    if not path.exists():
        return []
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            return _select_entries(connection)
    except (sqlite3.Error, Unavailable):
        return []


def append_missing(path: Path, entries: Sequence[Erased], now_us: int) -> list[Erased]:
    """Append the entries that a ledger lacks, by their ids, without what it does not have; return them. No other
    process has it open. Raises `OnhookError`.
    """
    prepare_file(path)
    connection = connect(path, "append")
    try:
        known_ids = {entry.erasure_id for entry in _select_entries(connection)}
        missing = [entry for entry in entries if entry.erasure_id not in known_ids]
        connection.execute("BEGIN IMMEDIATE")
        (last_seq,) = connection.execute("SELECT coalesce(max(seq), 0) FROM raw_events").fetchone()
        (last_control_seq,) = connection.execute("SELECT coalesce(max(seq), 0) FROM control_entries").fetchone()
        bodies = [encode_control(copy_entry(entry, last_seq)) for entry in missing]
        for entry in to_ledger_entries(bodies, last_control_seq, now_us):
            cursor = connection.execute(
                "INSERT INTO raw_events (received_at, key, sn, dialect, via, signature, peer, body)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(entry.received_at, entry.key, entry.sn, entry.dialect),
                    *(entry.via, entry.signature, entry.peer, entry.body),
                ),
            )
            connection.execute("INSERT INTO control_entries VALUES (?)", (cursor.lastrowid,))
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    except sqlite3.Error as error:
        raise translate_error(error, path) from error
    finally:
        connection.close()
    return missing


def _select_entries(connection: sqlite3.Connection) -> list[Erased]:
    """Return the entries; none in a ledger that is older than control entries."""
    if connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'control_entries'").fetchone() is None:
        return []
    rows = connection.execute("SELECT body FROM raw_events JOIN control_entries USING (seq) ORDER BY seq")
    return [entry for (body,) in rows if isinstance(entry := decode_body(bytes(body)), Erased)]
