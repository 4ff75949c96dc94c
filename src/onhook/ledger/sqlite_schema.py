"""The file `ledger.db`: created, checked, opened.

Laws: a file half made by a power cut is made whole at the next start; a file that is not ours, or of a newer Onhook, is
left alone; only its owner may read it, for callers' numbers are inside. What was removed while it was open is no ledger
any more, though the system lets us write on.
"""

import os
import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from onhook.lib.errors import OnhookError, Unavailable, UsageError
from onhook.lib.migrations import load_migrations

SCHEMA_VERSION = load_migrations("onhook.ledger")[-1].version
"""In `PRAGMA user_version`; 0 is an empty file."""

APPLICATION_ID = 0x4F6E686B
"""`Onhk`: what `file ledger.db` shows, and how we know our own."""

FILE_MODE = 0o600
"""SQLite gives its `-wal` and `-shm` the mode of the file itself."""

BUSY_SECONDS = 1.0
"""How long a writer waits for one of another process. A commit takes milliseconds, and a PBX gives up after 3 seconds
at the earliest (yeastar-p-series.md 4): one wait for the commit before ours and one for ours must fit in."""

OPEN_SECONDS_MAX = 5.0
"""How long processes that start at once may stand in each other's way while the file is made."""

WAL_SIZE_LIMIT_BYTES = 64 * 1024 * 1024
"""A WAL that grew beyond this, behind a long reader, is cut when it begins anew."""

CACHE_KIBIBYTES = 8_192
"""Right-hand ends of table and index are all that an append touches; they fit many times over."""

ConnectionUse = Literal["try_append", "append", "read", "checkpoint"]
"""`try_append` fails at once while another process writes, `append` waits; `checkpoint` counts and checkpoints."""

_BUSY_SECONDS_BY_USE: Mapping[ConnectionUse, float] = {
    "try_append": 0.0,
    "append": BUSY_SECONDS,
    "read": BUSY_SECONDS,
    "checkpoint": 0.2,
}


def prepare_file(path: Path) -> None:
    """Create the file where there is none, and see that it is a ledger that we know.

    Raises `UsageError` for a file that is none of ours or newer than we are, `Unavailable` when it cannot be opened.
    """
    try:
        is_new = not path.exists()
        _restrict_permissions(path)
        _create_schema(path)
        if is_new:
            _sync_directory(path.parent)
    except (OSError, sqlite3.Error) as error:
        raise translate_error(error, path) from error


def connect(path: Path, use: ConnectionUse) -> sqlite3.Connection:
    """A connection that one thread at a time may use. A commit returns after the fsync."""
    connection = _connect(path, _BUSY_SECONDS_BY_USE[use])
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA fullfsync = ON")  # on macOS a plain fsync stops at the drive's cache
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIBIBYTES}")
    connection.execute("PRAGMA wal_autocheckpoint = 0")  # no commit shall wait for one
    connection.execute(f"PRAGMA journal_size_limit = {WAL_SIZE_LIMIT_BYTES}")
    connection.execute(f"PRAGMA query_only = {'ON' if use == 'read' else 'OFF'}")
    return connection


class FileIdentity:
    """Whether the files that we write are still those that others would find under their names.

    A file that is removed, or has another put in its place, goes on to take what is written, and is gone with the last
    who has it open.
    """

    def __init__(self, path: Path) -> None:
        self._paths = [path, path.with_name(path.name + "-wal")]
        self._initial_stats: list[os.stat_result] = []

    def check(self) -> None:
        """Raises `Unavailable` where they are not. To be called after each commit; the first call remembers them."""
        try:
            stats = [path.stat() for path in self._paths]
        except OSError as error:
            raise self._removed_error() from error
        if not self._initial_stats:
            self._initial_stats = stats
        if not all(map(os.path.samestat, stats, self._initial_stats)):
            raise self._removed_error()

    def _removed_error(self) -> Unavailable:
        return Unavailable(
            "the ledger was removed, or another put in its place, while it was open",
            location=str(self._paths[0]),
            hint="put it back and start again, or start with another data directory",
        )


def translate_error(error: OSError | sqlite3.Error, path: Path) -> OnhookError:
    """What the disk or SQLite says, as an error of ours: `Unavailable` where another try can help."""
    if isinstance(error, OSError):
        return Unavailable(f"the ledger cannot be opened: {error.strerror}", location=str(path), hint="check its place")
    if isinstance(error, sqlite3.OperationalError):
        return Unavailable(
            f"the ledger cannot be used now: {error}", location=str(path), hint="free disk space or locks"
        )
    if isinstance(error, sqlite3.DatabaseError):
        return UsageError(f"this is no sound ledger: {error}", location=str(path), hint="restore it from a backup")
    return OnhookError(f"the ledger fails: {error}", location=str(path))


def _restrict_permissions(path: Path) -> None:
    """Create the file, empty, or take from others what they may do with it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
    try:
        if os.fstat(descriptor).st_mode & 0o077:
            os.fchmod(descriptor, FILE_MODE)
    finally:
        os.close(descriptor)


def _create_schema(path: Path) -> None:
    connection = _connect(path, BUSY_SECONDS)
    try:
        if _version(connection, path) < SCHEMA_VERSION:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("BEGIN IMMEDIATE")  # of several processes one upgrades the file, the others find it done
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
    """The version of the schema; 0 in an empty file. Raises `UsageError` for a file that we must not touch."""
    # One statement, so one snapshot: another process may create the schema between two of them.
    version, application, tables = connection.execute(
        "SELECT user_version, application_id, (SELECT count(*) FROM sqlite_schema)"
        " FROM pragma_user_version, pragma_application_id"
    ).fetchone()
    if (version or tables) and application != APPLICATION_ID:
        raise UsageError("this is a database, but not a ledger", location=str(path), hint="name another data directory")
    if version > SCHEMA_VERSION:
        raise UsageError(
            f"the ledger is of a newer Onhook (version {version}, we know {SCHEMA_VERSION})",
            location=str(path),
            hint="upgrade Onhook",
        )
    return int(version)


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """WAL stays switched on in the file. The switch needs the file for itself, and SQLite does not wait for that."""
    deadline = time.monotonic() + OPEN_SECONDS_MAX
    while True:
        try:
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.OperationalError:
            mode = "busy"
        if mode == "wal":
            return
        if time.monotonic() > deadline:
            raise sqlite3.OperationalError("it cannot be switched to WAL: another program or the file system objects")
        time.sleep(0.01)


def _connect(path: Path, busy_seconds: float) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=busy_seconds, isolation_level=None, check_same_thread=False)


def _sync_directory(directory: Path) -> None:
    """Without this a power cut may forget that the file exists at all."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
