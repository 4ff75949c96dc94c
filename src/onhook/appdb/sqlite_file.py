"""The file `onhook.db`: connections, migrations, errors and copies. Everything here blocks: it runs in threads, or in
commands of the command line that have nothing else to do.

Invariants: a file of a newer Onhook is left alone; all steps of an upgrade are applied in one transaction.
"""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from onhook.appdb.contract import ConstraintViolation, DamagedDatabase, DamagedText, InvalidValue
from onhook.lib.errors import OnhookError, Unavailable, UsageError
from onhook.lib.messages import _
from onhook.lib.migrations import load_baseline, load_migrations

BUSY_SECONDS = 5.0
"""Time to wait for another process that writes: writes are made by hand, so any wait is short."""

LOCK_PAUSE_SECONDS = 0.005
"""Between two tries where SQLite does not wait by itself."""

FILE_MODE = 0o600
"""The file contains secrets."""

APPLICATION_ID = 0x4F6E6873
"""`Onhs`: shown by `file onhook.db`, and identifies Onhook's own files."""

CACHE_KIBIBYTES = 256
"""Per connection: the database is small; most of the default cache of 2 MB would stay empty."""

_LOCK_CODES = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


class Locked(Unavailable):
    """Another connection has the lock; the statement changed nothing."""


def open_writer(path: Path) -> sqlite3.Connection:
    """Open the file for writing, create it where it is missing, and apply pending migrations.

    Raises `Unavailable`, and `OnhookError` for a damaged file or that of a newer Onhook.
    """
    with translate_errors(path):
        # Created here and not by SQLite, so that other users can never read it.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, FILE_MODE))
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        connection.text_factory = _decode_text
        try:
            _prepare(connection, path)
        except BaseException:
            connection.close()
            raise
        return connection


def open_reader(path: Path) -> sqlite3.Connection:
    """Open the file, which exists, for reading. Raises `Unavailable`."""
    with translate_errors(path):
        uri = f"{path.absolute().as_uri()}?mode=ro"
        connection = sqlite3.connect(uri, timeout=0, uri=True, isolation_level=None, check_same_thread=False)
        connection.text_factory = _decode_text
        try:
            connection.execute(f"PRAGMA cache_size = -{CACHE_KIBIBYTES}")
        except BaseException:
            connection.close()
            raise
        return connection


def overwrite_deleted(connection: sqlite3.Connection) -> None:
    """Write the file anew, without what was deleted, and empty the WAL. Raises `Locked` while a reader needs it."""
    connection.execute("VACUUM")
    (is_busy, _pages, _copied) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if is_busy:
        raise Locked(_("the write-ahead log is in use"), hint=_("try again in a moment"))


def _decode_text(data: bytes) -> str:
    # The default raises, and one damaged text would make its whole table unreadable.
    try:
        return data.decode()
    except UnicodeDecodeError:
        return DamagedText(data.decode(errors="replace"))


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    # Before the first pragma that writes: a foreign file is left as it is.
    _check_application_id(connection, path)
    _set_wal_mode(connection)
    # A secret that the console showed as added must survive a power cut.
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA secure_delete = ON")  # zeros in place of what is deleted or erased
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIBIBYTES}")
    _migrate(connection, path)
    # From now on the caller waits for a lock on its event loop, where the wait can be cancelled.
    connection.execute("PRAGMA busy_timeout = 0")


def _set_wal_mode(connection: sqlite3.Connection) -> None:
    """Set the mode of a new file. Where two processes do so at the same time, SQLite reports a lock at once instead of
    waiting for it.
    """
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _LOCK_CODES or time.monotonic() > deadline:
                raise
        else:
            return
        time.sleep(LOCK_PAUSE_SECONDS)


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    migrations = load_migrations("onhook.appdb", "sqlite")
    newest_version = migrations[-1].version
    if _schema_version(connection) == newest_version:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Checked again inside: another process may have been first.
        _check_application_id(connection, path)
        current_version = _schema_version(connection)
        if current_version > newest_version:
            raise OnhookError(
                _("the application database was written by a newer Onhook"),
                location=str(path),
                hint=_("install that version again"),
            )
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        if current_version == 0:
            baseline = load_baseline("onhook.appdb", "sqlite")
            migrations = (baseline, *migrations[baseline.version :])
        else:
            migrations = migrations[current_version:]
        for migration in migrations:
            for statement in migration.statements:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {migration.version}")
        connection.execute("COMMIT")
    except BaseException:
        # After a full disk SQLite may have rolled back already.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _check_application_id(connection: sqlite3.Connection, path: Path) -> None:
    """Check that the file is Onhook's; an empty file is new. Raises `UsageError` for another program's database."""
    # One statement, so one snapshot: another process may create the schema between two of them.
    form, application_id, table_count = connection.execute(
        "SELECT user_version, application_id, (SELECT count(*) FROM sqlite_schema)"
        " FROM pragma_user_version, pragma_application_id"
    ).fetchone()
    if application_id != APPLICATION_ID and (application_id or table_count or form):
        raise UsageError(
            _("this is a database of another program"), location=str(path), hint=_("name another data directory")
        )


def _schema_version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def copy_database(source: Path, target: Path) -> None:
    """Copy a SQLite file consistently, also while it is written (SQLite's Online Backup API).

    The copy appears under its name complete or not at all. Raises `Unavailable`.
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
            _("cannot copy {source_name}: {error}", source_name=source.name, error=error),
            location=str(target),
            hint=_("check the permissions and the disk space"),
        ) from error


def check_integrity(path: Path) -> str:
    """Return the errors that SQLite finds in a file's structure; empty where there are none."""
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


def end_sign_ins(path: Path) -> None:
    """End all sessions and revoke all tokens of apps in the copy of a database: some of them may have been ended after
    it was made. Raises `Unavailable`.
    """
    with closing(sqlite3.connect(path)) as connection, translate_errors(path.name):
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        for table in {"sessions", "app_tokens"} & tables:  # an older file has none
            connection.execute(f"DELETE FROM {table}")
        connection.commit()


def discard_pending_mails(path: Path, detail: str, now_us: int) -> None:
    """Discard the mails that wait to be sent in the copy of a database, and forget their content: the original sends
    them. Raises `Unavailable`.
    """
    with closing(sqlite3.connect(path)) as connection, translate_errors(path.name):
        connection.execute("PRAGMA secure_delete = ON")
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        if "mails" in tables:  # an older file has none
            connection.execute(
                "UPDATE mails SET state = 'discarded', content = '', ended_at = ?, detail = ? WHERE state = 'pending'",
                (now_us, detail),
            )
        if "pending_issue_notices" in tables:
            connection.execute("DELETE FROM pending_issue_notices")
        connection.commit()


def leave_wal_mode(path: Path) -> None:
    """Make a database one file, with no write-ahead log beside it that can be forgotten. No other process has it open.
    Raises `Unavailable`.
    """
    with translate_errors(path.name), closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE").fetchall()


def _copy_pages(source: Path, target: Path) -> None:
    source_connection = sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", timeout=BUSY_SECONDS, uri=True)
    try:
        target_connection = sqlite3.connect(target, isolation_level=None)
        try:
            # One step for all pages: in WAL mode a reader delays no writer, and a copy in several steps would begin
            # again whenever another process has written.
            source_connection.backup(target_connection)
            # The copy is one file: no -wal can be forgotten when it is moved.
            target_connection.execute("PRAGMA journal_mode = DELETE")
        finally:
            target_connection.close()
    finally:
        source_connection.close()


def _fsync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


@contextmanager
def translate_errors(location: Path | str) -> Iterator[None]:
    """Translate the errors of SQLite: only a lock, a full disk and the like are worth a retry. A lock of another
    connection is `Locked`, for callers that wait for it.
    """
    try:
        yield
    except (OSError, sqlite3.OperationalError) as error:
        is_locked = getattr(error, "sqlite_errorcode", 0) & 0xFF in _LOCK_CODES
        raise (Locked if is_locked else Unavailable)(
            _("cannot use the application database now: {error}", error=error),
            location=str(location),
            hint=_("try again; `onhook doctor` checks the disk"),
        ) from error
    except sqlite3.IntegrityError as error:
        raise ConstraintViolation(
            _("the application database rejects a value: {error}", error=error), location=str(location)
        ) from error
    except (OverflowError, UnicodeEncodeError, sqlite3.DataError) as error:
        raise InvalidValue(
            _("the application database cannot have such a value: {error}", error=_describe(error)),
            location=str(location),
            hint=_("use a smaller number, or a text of valid characters"),
        ) from error
    except sqlite3.ProgrammingError:
        # A mistake in Onhook's own code says nothing about the file.
        raise
    except sqlite3.DatabaseError as error:
        raise DamagedDatabase(
            _("the application database is damaged: {error}", error=error),
            location=str(location),
            hint=_("restore a backup with `onhook restore`"),
        ) from error


def _describe(error: Exception) -> str:
    # Without the text, which may be a secret.
    return error.reason if isinstance(error, UnicodeEncodeError) else str(error)


def has_pbxs(path: Path) -> bool:
    """Return whether a PBX is registered, also one that cannot be read; True where a damaged or older file does not
    say. False without a file. Raises `Unavailable` where the file is locked.
    """
    if not path.exists():
        return False
    connection = open_reader(path)
    try:
        with translate_errors(path):
            connection.execute(f"PRAGMA busy_timeout = {round(BUSY_SECONDS * 1_000)}")
            return connection.execute("SELECT 1 FROM pbxs LIMIT 1").fetchone() is not None
    except Unavailable:
        raise
    except OnhookError:
        return True
    finally:
        connection.close()
