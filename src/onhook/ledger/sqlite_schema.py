"""The file `ledger.db`: create, check, open.

Invariants: a file that a power failure left half created is completed at the next start; a file of another program, or
of a newer Onhook, stays untouched; only its owner may read it, because it contains callers' numbers. A file that was
removed or cut off while open no longer counts as a ledger, although the operating system accepts writes.
"""

import os
import sqlite3
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from onhook.ledger.contract import CONTROL_DIALECT
from onhook.lib.errors import OnhookError, Unavailable, UsageError
from onhook.lib.messages import _
from onhook.lib.migrations import load_migrations

SCHEMA_VERSION = load_migrations("onhook.ledger")[-1].version
"""Stored in `PRAGMA user_version`; 0 is an empty file."""

APPLICATION_ID = 0x4F6E686B
"""`Onhk`: shown by `file ledger.db`; identifies a ledger."""

FILE_MODE = 0o600
"""SQLite gives its `-wal` and `-shm` the mode of the file itself."""

BUSY_SECONDS = 1.0
"""How long a writer waits for a writer of another process. A commit takes milliseconds, and a PBX times out after 3
seconds at the earliest (yeastar-p-series.md 4): one wait for the previous commit and one for this commit must fit.
"""

OPEN_SECONDS_MAX = 5.0
"""How long processes that start at the same time may wait for each other while the file is created."""

WAL_SIZE_LIMIT_BYTES = 64 * 1024 * 1024
"""A WAL that grew beyond this, behind a long reader, is truncated when it restarts."""

CACHE_KIBIBYTES = 8_192
"""An append touches the right-hand ends of table and index, which fit many times over, and, once retention has deleted
events, one random page of their fingerprints, of which no cache holds all: beside ten million (240 MB) one append takes
as long as before, a batch of 64 some 15 ms instead of 4 ms.
"""

ConnectionUse = Literal["try_append", "append", "read", "checkpoint"]
"""`try_append` fails at once while another process writes, `append` waits; `checkpoint` counts and checkpoints."""

_BUSY_SECONDS_BY_USE: Mapping[ConnectionUse, float] = {
    "try_append": 0.0,
    "append": BUSY_SECONDS,
    "read": BUSY_SECONDS,
    "checkpoint": 0.2,
}


def prepare_file(path: Path) -> None:
    """Create a missing file, and check that the file is a ledger of a known version.

    Raises `UsageError` for a file of another program or of a newer Onhook, `Unavailable` when it cannot be opened.
    """
    try:
        is_new = not path.exists()
        _restrict_permissions(path)
        _create_schema(path)
        if is_new:
            _sync_directory(path.parent)
    except (OSError, sqlite3.Error) as error:
        raise translate_error(error, path) from error


def create_ledger_after(path: Path, seq: int) -> None:
    """Create a ledger whose first raw event gets the number after `seq`. Raises `OnhookError`."""
    prepare_file(path)
    connection = connect(path, "append")
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('raw_events', ?)", (seq,))
        connection.execute("INSERT INTO ledger_begin VALUES (?)", (seq,))
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        raise translate_error(error, path) from error
    finally:
        connection.close()


def read_begin(path: Path) -> int:
    """Return the number after which a ledger begins that replaced a lost one, only reading it; 0 for any other one.
    Raises `Unavailable` where it cannot be read.
    """
    if not path.exists():
        return 0
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", timeout=BUSY_SECONDS, uri=True)
        try:
            if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'ledger_begin'").fetchone() is None:
                return 0
            row = connection.execute("SELECT after_seq FROM ledger_begin").fetchone()
            return 0 if row is None else int(row[0])
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise Unavailable(_("cannot read the ledger: {error}", error=error), location=str(path)) from error


def connect(path: Path, use: ConnectionUse) -> sqlite3.Connection:
    """Open a connection for use by one thread at a time. A commit returns after the fsync. Raises `OnhookError`."""
    try:
        # Whatever it is for, it waits for a process that opens the same file.
        connection = _connect(path, BUSY_SECONDS)
    except sqlite3.Error as error:
        raise translate_error(error, path) from error
    try:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA fullfsync = ON")  # on macOS a plain fsync stops at the drive's cache
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIBIBYTES}")
        connection.execute("PRAGMA secure_delete = ON")  # zeros in place of what is deleted or erased
        connection.execute("PRAGMA wal_autocheckpoint = 0")  # no commit waits for a checkpoint
        connection.execute(f"PRAGMA journal_size_limit = {WAL_SIZE_LIMIT_BYTES}")
        connection.execute(f"PRAGMA query_only = {'ON' if use == 'read' else 'OFF'}")
        connection.execute(f"PRAGMA busy_timeout = {round(_BUSY_SECONDS_BY_USE[use] * 1000)}")
    except sqlite3.Error as error:
        connection.close()
        raise translate_error(error, path) from error
    return connection


class FileIdentity:
    """Check that the open files are still the ones under their names, and that the ledger was not cut off.

    A file that was removed or replaced while open still accepts writes; they are lost when the last process closes it.
    A connection goes on with the pages in its cache and in the WAL after the file was cut off: it is never shortened
    by SQLite, because nothing is vacuumed.
    """

    def __init__(self, path: Path) -> None:
        """Record the file, which exists. Raises `Unavailable`."""
        self._path = path
        # Texts, because `Path` is slower.
        self._names = (str(path), f"{path}-wal")
        try:
            self._stat = path.stat()
        except OSError as error:
            raise translate_error(error, path) from error
        self._wal_stat: os.stat_result | None = None
        self._is_cut_off = False
        self._lock = threading.Lock()

    def check(self) -> None:
        """Check the files, before and after each commit and each checkpoint, in any thread: some microseconds. The WAL,
        which exists since the first transaction, is recorded by the first call.

        Raises `Unavailable` for a removed or replaced file, and from then on for a ledger that is shorter than before:
        a checkpoint lengthens the file again, with holes instead of what was lost.
        """
        with self._lock:  # two threads must not compare sizes in another order than they read them
            try:
                stat, wal_stat = map(os.stat, self._names)
            except OSError as error:
                raise self._removed_error() from error
            initial_wal_stat = self._wal_stat = self._wal_stat or wal_stat
            if not (os.path.samestat(stat, self._stat) and os.path.samestat(wal_stat, initial_wal_stat)):
                raise self._removed_error()
            self._is_cut_off = self._is_cut_off or stat.st_size < self._stat.st_size
            if self._is_cut_off:
                raise Unavailable(
                    _("the ledger was cut off while it was open"),
                    location=str(self._path),
                    hint=_("stop the server, then restore a backup with `onhook restore`"),
                )
            self._stat = stat

    def _removed_error(self) -> Unavailable:
        return Unavailable(
            _("the ledger was removed or replaced while it was open"),
            location=str(self._path),
            hint=_("restore the file and restart, or start with another data directory"),
        )


def translate_error(error: OSError | sqlite3.Error, path: Path) -> OnhookError:
    """Translate an error of the disk or of SQLite: `Unavailable` where a retry can help."""
    if isinstance(error, OSError):
        return Unavailable(
            _("cannot open the ledger: {error}", error=error.strerror),
            location=str(path),
            hint=_("check the path and its permissions"),
        )
    if isinstance(error, sqlite3.OperationalError):
        return Unavailable(
            _("the ledger is unavailable: {error}", error=error),
            location=str(path),
            hint=_("check the disk space and other programs that lock the file"),
        )
    if isinstance(error, sqlite3.DatabaseError):
        return UsageError(
            _("the ledger is damaged: {error}", error=error), location=str(path), hint=_("restore it from a backup")
        )
    return OnhookError(_("the ledger failed: {error}", error=error), location=str(path))


def _restrict_permissions(path: Path) -> None:
    """Create the file, empty, or remove the permissions of other users."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
    try:
        if os.fstat(descriptor).st_mode & 0o077:
            os.fchmod(descriptor, FILE_MODE)
    finally:
        os.close(descriptor)


def _create_schema(path: Path) -> None:
    connection = _connect(path, OPEN_SECONDS_MAX)
    try:
        if _version(connection, path) < SCHEMA_VERSION:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("BEGIN IMMEDIATE")  # one process upgrades the file; the others find it upgraded
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            for migration in load_migrations("onhook.ledger")[_version(connection, path) :]:
                for statement in migration.statements:
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {migration.version}")
            connection.execute("COMMIT")
        _switch_to_wal(connection)
    finally:
        connection.close()


def _version(connection: sqlite3.Connection, path: Path) -> int:
    """Return the version of the schema; 0 in an empty file. Raises `UsageError` for a file that must not be changed."""
    # One statement, so one snapshot: another process may create the schema between two of them.
    version, application, tables = connection.execute(
        "SELECT user_version, application_id, (SELECT count(*) FROM sqlite_schema)"
        " FROM pragma_user_version, pragma_application_id"
    ).fetchone()
    if (version or tables) and application != APPLICATION_ID:
        raise UsageError(_("this database is not a ledger"), location=str(path), hint=_("name another data directory"))
    if version > SCHEMA_VERSION:
        raise UsageError(
            _(
                "a newer Onhook wrote this ledger (version {version}, this Onhook supports {supported})",
                version=version,
                supported=SCHEMA_VERSION,
            ),
            location=str(path),
            hint=_("upgrade Onhook"),
        )
    return int(version)


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """Switch the file to WAL, which is persistent. The switch needs exclusive access, and SQLite does not
    wait for that.
    """
    deadline = time.monotonic() + OPEN_SECONDS_MAX
    while True:
        try:
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.OperationalError:
            mode = "busy"
        if mode == "wal":
            return
        if time.monotonic() > deadline:
            raise sqlite3.OperationalError(
                _("cannot switch to WAL: another program uses the file, or the file system does not support it")
            )
        time.sleep(0.01)


def _connect(path: Path, busy_seconds: float) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=busy_seconds, isolation_level=None, check_same_thread=False)


def _sync_directory(directory: Path) -> None:
    """Make the directory entry durable; without this a power failure may lose the file's name."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def has_raw_events(path: Path) -> bool:
    """Return whether a ledger has events of PBXs, only reading it. Raises `Unavailable` where it cannot be read."""
    if not path.exists():
        return False
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", timeout=BUSY_SECONDS, uri=True)
        try:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            table = "raw_events" if "raw_events" in tables else "reports"
            query = f"SELECT 1 FROM {table} WHERE dialect <> '{CONTROL_DIALECT}' LIMIT 1"
            return table in tables and connection.execute(query).fetchone() is not None
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise Unavailable(_("cannot read the ledger: {error}", error=error), location=str(path)) from error
