"""Erasures in the file of the ledger: contents are replaced, and what was there before is overwritten.

Invariant: the file is never shortened, which its processes would take for a ledger that was cut off. So free pages are
filled with zeros instead of being given back.
"""

import sqlite3
from collections.abc import Iterable

from onhook.ledger.contract import RewrittenContent
from onhook.lib.errors import Unavailable
from onhook.lib.messages import _

ZEROS_BYTES = 8 * 1024 * 1024
"""Zeros written in one transaction, for which the intake waits: some 30 ms."""


def update_contents(connection: sqlite3.Connection, contents: Iterable[tuple[int, RewrittenContent]]) -> None:
    """Replace the contents of entries."""
    connection.executemany(
        "UPDATE raw_events SET dialect = ?, body = ?, signature = '' WHERE seq = ?",
        [(content.dialect, content.body, seq) for seq, content in contents],
    )


def select_finished(connection: sqlite3.Connection) -> set[int]:
    """Return the numbers of the finished control entries."""
    return {seq for (seq,) in connection.execute("SELECT seq FROM finished_erasures")}


def insert_finished(connection: sqlite3.Connection, seq: int) -> None:
    """Add the number of a finished control entry."""
    connection.execute("INSERT INTO finished_erasures VALUES (?) ON CONFLICT DO NOTHING", (seq,))


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
        connection.execute("INSERT INTO zeros VALUES (zeroblob(?))", (min(page_count * page_bytes, ZEROS_BYTES),))
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
