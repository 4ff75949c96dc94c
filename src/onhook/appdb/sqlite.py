"""The file `onhook.db`: opened, brought to the newest form, read, and written a statement or a transaction at a time.

Laws: a form once released is never edited, a new one is added below it; a file of a newer Onhook is left alone.
"""

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from onhook.lib.errors import OnhookError, Unavailable, UsageError

BUSY_SECONDS = 5.0
"""How long to wait for another process that writes: settings are written by hand, so any wait is short."""

FILE_MODE = 0o600
"""Secrets are inside."""

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE pbxs (
        sn TEXT PRIMARY KEY,
        name TEXT NOT NULL UNIQUE COLLATE NOCASE,
        dialect TEXT NOT NULL,
        zone TEXT,
        is_unsigned INTEGER NOT NULL,
        plan TEXT NOT NULL,
        created_at INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE secrets (
        secret_id INTEGER PRIMARY KEY AUTOINCREMENT,
        sn TEXT NOT NULL REFERENCES pbxs ON DELETE CASCADE,
        label TEXT NOT NULL,
        text TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        UNIQUE (sn, text)
    ) STRICT;
    CREATE TABLE tokens (
        name TEXT PRIMARY KEY,
        hash BLOB NOT NULL UNIQUE,
        role TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        last_used INTEGER
    ) STRICT;
    """,
    """
    CREATE TABLE subscriptions (
        subscription_id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE COLLATE NOCASE,
        wishes TEXT NOT NULL,
        app TEXT NOT NULL,
        state TEXT NOT NULL,
        reason TEXT NOT NULL,
        failing_since INTEGER,
        delivered INTEGER NOT NULL,
        failed INTEGER NOT NULL,
        revision INTEGER NOT NULL,
        created_at INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE signing_secrets (
        secret_id INTEGER PRIMARY KEY AUTOINCREMENT,
        subscription_id INTEGER NOT NULL REFERENCES subscriptions ON DELETE CASCADE,
        label TEXT NOT NULL,
        text TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        UNIQUE (subscription_id, text)
    ) STRICT;
    CREATE TABLE streams (
        stream_id INTEGER PRIMARY KEY AUTOINCREMENT,
        subscription_id INTEGER NOT NULL REFERENCES subscriptions ON DELETE CASCADE,
        filter TEXT NOT NULL,
        cursor INTEGER,
        until INTEGER,
        is_held INTEGER NOT NULL,
        created_at INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX streams_by_subscription ON streams (subscription_id);
    CREATE TABLE deliveries (
        delivery_id INTEGER PRIMARY KEY AUTOINCREMENT,
        subscription_id INTEGER NOT NULL REFERENCES subscriptions ON DELETE CASCADE,
        state TEXT NOT NULL,
        event_id TEXT NOT NULL,
        seq INTEGER NOT NULL,
        sn TEXT NOT NULL,
        call_id TEXT NOT NULL,
        body BLOB NOT NULL,
        attempts INTEGER NOT NULL,
        due_at INTEGER NOT NULL,
        owed_at INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX deliveries_by_call ON deliveries (subscription_id, state, sn, call_id, delivery_id);
    CREATE INDEX deliveries_by_due ON deliveries (subscription_id, state, due_at);
    CREATE TABLE attempts (
        attempt_id INTEGER PRIMARY KEY AUTOINCREMENT,
        delivery_id INTEGER NOT NULL REFERENCES deliveries ON DELETE CASCADE,
        at INTEGER NOT NULL,
        milliseconds INTEGER NOT NULL,
        status INTEGER,
        said TEXT NOT NULL,
        body BLOB NOT NULL
    ) STRICT;
    CREATE INDEX attempts_by_delivery ON attempts (delivery_id);
    """,
    """
    CREATE TABLE apps (
        name TEXT PRIMARY KEY COLLATE NOCASE,
        client_id TEXT NOT NULL UNIQUE,
        secret_hash BLOB NOT NULL,
        pbxs TEXT NOT NULL,
        networks TEXT NOT NULL,
        manner TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        last_used INTEGER
    ) STRICT;
    CREATE TABLE blocked (
        address TEXT PRIMARY KEY,
        until INTEGER NOT NULL
    ) STRICT;
    """,
    """
    CREATE TABLE places (
        sn TEXT PRIMARY KEY REFERENCES pbxs ON DELETE CASCADE,
        addresses TEXT NOT NULL,
        path TEXT NOT NULL
    ) STRICT;
    """,
    """
    CREATE TABLE apis (
        sn TEXT PRIMARY KEY REFERENCES pbxs ON DELETE CASCADE,
        url TEXT NOT NULL,
        client_id TEXT NOT NULL,
        client_secret TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        tokens TEXT NOT NULL
    ) STRICT;
    """,
    """
    CREATE TABLE receiving (
        sn TEXT PRIMARY KEY REFERENCES pbxs ON DELETE CASCADE,
        stretches TEXT NOT NULL DEFAULT '',
        contact TEXT NOT NULL DEFAULT '',
        progress TEXT NOT NULL DEFAULT '',
        wish TEXT NOT NULL DEFAULT '',
        outcome TEXT NOT NULL DEFAULT '',
        silence_minutes INTEGER
    ) STRICT;
    CREATE TABLE alarms (
        alarm_id INTEGER PRIMARY KEY AUTOINCREMENT,
        sn TEXT NOT NULL REFERENCES pbxs ON DELETE CASCADE,
        kind TEXT NOT NULL,
        what TEXT NOT NULL,
        todo TEXT NOT NULL,
        began_at INTEGER NOT NULL,
        seen_at INTEGER NOT NULL,
        ended_at INTEGER,
        times INTEGER NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX alarms_going_on ON alarms (sn, kind) WHERE ended_at IS NULL;
    """,
    """
    CREATE TABLE people (
        name TEXT PRIMARY KEY COLLATE NOCASE,
        role TEXT NOT NULL,
        limits TEXT,
        password BLOB,
        stamp INTEGER NOT NULL,
        created_at INTEGER NOT NULL,
        last_seen INTEGER
    ) STRICT;
    CREATE TABLE invitations (
        hash BLOB PRIMARY KEY,
        name TEXT NOT NULL REFERENCES people ON DELETE CASCADE,
        expires_at INTEGER NOT NULL
    ) STRICT;
    ALTER TABLE tokens ADD COLUMN limits TEXT;
    CREATE TABLE audit (
        audit_id INTEGER PRIMARY KEY AUTOINCREMENT,
        at INTEGER NOT NULL,
        who TEXT NOT NULL,
        by TEXT NOT NULL,
        address TEXT NOT NULL,
        what TEXT NOT NULL,
        status INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE notes (
        note_id INTEGER PRIMARY KEY AUTOINCREMENT,
        sn TEXT NOT NULL,
        call_id TEXT NOT NULL,
        text TEXT NOT NULL,
        tags TEXT NOT NULL,
        who TEXT NOT NULL,
        at INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX notes_by_call ON notes (sn, call_id);
    CREATE INDEX deliveries_of_a_call ON deliveries (call_id);
    CREATE TABLE searches (
        search_id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE COLLATE NOCASE,
        path TEXT NOT NULL,
        who TEXT NOT NULL
    ) STRICT;
    """,
    """
    CREATE TABLE asterisks (
        sn TEXT PRIMARY KEY REFERENCES pbxs ON DELETE CASCADE,
        host TEXT NOT NULL,
        port INTEGER NOT NULL,
        user TEXT NOT NULL,
        secret TEXT NOT NULL,
        tls TEXT NOT NULL,
        trunks TEXT,
        inbound TEXT NOT NULL,
        has_pins INTEGER NOT NULL,
        learned TEXT NOT NULL DEFAULT '',
        is_connected INTEGER NOT NULL DEFAULT 0,
        connected_at INTEGER,
        covered_until INTEGER,
        trouble TEXT NOT NULL DEFAULT ''
    ) STRICT;
    CREATE TABLE asterisk_gaps (
        gap_id INTEGER PRIMARY KEY AUTOINCREMENT,
        sn TEXT NOT NULL REFERENCES asterisks ON DELETE CASCADE,
        since INTEGER NOT NULL,
        until INTEGER NOT NULL,
        filled_at INTEGER
    ) STRICT;
    """,
    """
    ALTER TABLE subscriptions ADD COLUMN not_before INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE deliveries ADD COLUMN busy INTEGER NOT NULL DEFAULT 0;
    DELETE FROM deliveries WHERE state <> 'delivered' AND delivery_id NOT IN
        (SELECT min(delivery_id) FROM deliveries WHERE state <> 'delivered' GROUP BY subscription_id, event_id);
    CREATE UNIQUE INDEX deliveries_undelivered ON deliveries (subscription_id, event_id) WHERE state <> 'delivered';
    CREATE INDEX deliveries_by_age ON deliveries (subscription_id, state, owed_at);
    UPDATE deliveries SET due_at = 4611686018427387904 WHERE state = 'waiting' AND delivery_id NOT IN
        (SELECT min(delivery_id) FROM deliveries WHERE state = 'waiting' GROUP BY subscription_id, sn, call_id);
    """,
    """
    CREATE TABLE recordings (
        sn TEXT PRIMARY KEY REFERENCES pbxs ON DELETE CASCADE,
        directory TEXT NOT NULL
    ) STRICT
    """,
    """
    CREATE TABLE keeping (
        sn TEXT PRIMARY KEY REFERENCES pbxs ON DELETE CASCADE,
        days INTEGER NOT NULL
    ) STRICT
    """,
    """
    CREATE TABLE sources (
        sn TEXT PRIMARY KEY REFERENCES pbxs ON DELETE CASCADE,
        place TEXT NOT NULL,
        cdr_table TEXT NOT NULL,
        columns TEXT NOT NULL,
        password TEXT NOT NULL
    ) STRICT;
    DROP TABLE asterisk_gaps;
    """,
)
"""One step each, in order; `PRAGMA user_version` counts those that were done."""


APPLICATION_ID = 0x4F6E6873
"""`Onhs`: what `file onhook.db` shows, and how we know our own."""


class SqliteDatabase:
    """One connection, shared by the threads of one process; other processes have their own."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        try:
            # Made here and not by SQLite, so that it never stands open to others, however short.
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, FILE_MODE))
            self._connection = sqlite3.connect(
                path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
        except (OSError, sqlite3.Error) as error:
            raise Unavailable(
                f"cannot open the settings: {error}", where=str(path), todo="run `onhook doctor`"
            ) from error
        try:
            self._prepare(path)
        except BaseException:
            self._connection.close()
            raise

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query. Raises `Unavailable`."""
        with self._lock, _translate_errors():
            return self._connection.execute(sql, values).fetchall()

    def write(self, sql: str, values: Sequence[Any] = ()) -> int:
        """Run one statement durably; how many rows it changed. Raises `Unavailable`, `sqlite3.IntegrityError`."""
        with self._lock, _translate_errors():
            return self._connection.execute(sql, values).rowcount

    @contextmanager
    def transaction(self, begin: str = "BEGIN IMMEDIATE") -> Iterator[None]:
        """Everything written inside counts, or nothing; with a plain `BEGIN`, everything read is of one moment."""
        with self._lock, _translate_errors():
            self._connection.execute(begin)
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def version(self) -> tuple[int, int]:
        """Changes when anybody has written: `PRAGMA data_version` tells of others. It costs about 3 microseconds."""
        with self._lock, _translate_errors():
            return self._connection.execute("PRAGMA data_version").fetchone()[0], self._connection.total_changes

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._connection.close()

    def _prepare(self, path: Path) -> None:
        with _translate_errors():
            # Before the first pragma that writes: what is not ours is left as it is.
            self._check_ours(path)
            self._connection.execute("PRAGMA journal_mode = WAL")
            # A secret that was shown to a person as added must still be there after a power cut.
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.execute("PRAGMA foreign_keys = ON")
            # Settings are small; the default cache of 2 MB would be mostly air.
            self._connection.execute("PRAGMA cache_size = -256")
            self._migrate(path)

    def _migrate(self, path: Path) -> None:
        if self._form() == len(MIGRATIONS):
            return
        with self.transaction():
            # Asked again inside: another process may have been first.
            self._check_ours(path)
            current_version = self._form()
            if current_version > len(MIGRATIONS):
                raise OnhookError(
                    "the settings were written by a newer Onhook", where=str(path), todo="install that version again"
                )
            self._connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            for step, script in enumerate(MIGRATIONS[current_version:], current_version + 1):
                for statement in script.split(";"):
                    self._connection.execute(statement)
                self._connection.execute(f"PRAGMA user_version = {step}")

    def _check_ours(self, path: Path) -> None:
        """An empty file is a new one of ours. Raises `UsageError` for a database of another program."""
        # One statement, so one snapshot: another process may create the schema between two of them.
        form, application_id, table_count = self._connection.execute(
            "SELECT user_version, application_id, (SELECT count(*) FROM sqlite_schema)"
            " FROM pragma_user_version, pragma_application_id"
        ).fetchone()
        if application_id != APPLICATION_ID and (application_id or table_count or form):
            raise UsageError(
                "this is a database, but not our settings", where=str(path), todo="name another data directory"
            )

    def _form(self) -> int:
        return int(self._connection.execute("PRAGMA user_version").fetchone()[0])


def copy_database(source: Path, target: Path) -> None:
    """A consistent copy of a SQLite file, also while others write it (SQLite's Online Backup API).

    The copy appears under its name whole or not at all. Raises `Unavailable`.
    """
    partial_path = target.with_name(target.name + ".part")
    try:
        partial_path.unlink(missing_ok=True)
        os.close(os.open(partial_path, os.O_CREAT | os.O_EXCL | os.O_RDWR, FILE_MODE))
        try:
            _copy_pages(source, partial_path)
            _fsync_file(partial_path)
            partial_path.replace(target)
        finally:
            partial_path.unlink(missing_ok=True)
    except (OSError, sqlite3.Error) as error:
        raise Unavailable(
            f"cannot copy {source.name}: {error}", where=str(target), todo="look at the rights and the space there"
        ) from error


def check_integrity(path: Path) -> str:
    """What SQLite finds wrong with a file's structure; empty where nothing is."""
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", timeout=BUSY_SECONDS, uri=True)
    except sqlite3.Error as error:
        return str(error)
    try:
        result = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.Error as error:
        return str(error)
    finally:
        connection.close()
    return "" if result == "ok" else result


def _copy_pages(source: Path, target: Path) -> None:
    source_connection = sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", timeout=BUSY_SECONDS, uri=True)
    try:
        target_connection = sqlite3.connect(target, isolation_level=None)
        try:
            # One step for all pages: in WAL mode a reader holds up no writer, and a copy in
            # several steps would begin again whenever another process has written.
            source_connection.backup(target_connection)
            # The copy is one file: whoever carries it away cannot forget a -wal beside it.
            target_connection.execute("PRAGMA journal_mode = DELETE")
        finally:
            target_connection.close()
    finally:
        source_connection.close()


def _fsync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


@contextmanager
def _translate_errors() -> Iterator[None]:
    """What SQLite says, in our words: only a lock, a full disk and the like are worth another try."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise Unavailable(
            f"cannot use the settings now: {error}",
            where="onhook.db",
            todo="try again; `onhook doctor` looks at the disk",
        ) from error
    except sqlite3.IntegrityError:
        # What the caller asked for breaks a rule of ours; the caller knows which, and says so.
        raise
    except sqlite3.DatabaseError as error:
        raise OnhookError(
            f"the settings are damaged: {error}", where="onhook.db", todo="bring back a copy with `onhook restore`"
        ) from error
