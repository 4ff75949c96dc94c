"""The file `onhook.db`: opening, migrations, statements and transactions.

Invariants: a file of a newer Onhook is left alone; all steps of an upgrade are applied in one transaction.
"""

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from onhook.lib.errors import OnhookError, Unavailable, UsageError
from onhook.lib.messages import _
from onhook.lib.migrations import load_migrations

BUSY_SECONDS = 5.0
"""Time to wait for another process that writes: writes are made by hand, so any wait is short."""

FILE_MODE = 0o600
"""The file contains secrets."""

APPLICATION_ID = 0x4F6E6873
"""`Onhs`: shown by `file onhook.db`, and identifies Onhook's own files."""


class SqliteDatabase:
    """One connection, shared by the threads of one process; other processes have their own."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        try:
            # Created here and not by SQLite, so that other users can never read it.
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, FILE_MODE))
            self._connection = sqlite3.connect(
                path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
        except (OSError, sqlite3.Error) as error:
            raise Unavailable(
                _("cannot open the application database: {error}", error=error),
                location=str(path),
                hint=_("run `onhook doctor`"),
            ) from error
        try:
            self._prepare(path)
        except BaseException:
            self._connection.close()
            raise

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a query. Raises `Unavailable`."""
        with self._lock, _translate_errors():
            return self._connection.execute(sql, values).fetchall()

    def write(self, sql: str, values: Sequence[Any] = ()) -> int:
        """Run one statement durably; return the changed rows. Raises `Unavailable`, `sqlite3.IntegrityError`."""
        with self._lock, _translate_errors():
            return self._connection.execute(sql, values).rowcount

    @contextmanager
    def transaction(self, begin: str = "BEGIN IMMEDIATE") -> Iterator[None]:
        """Run a transaction; with a plain `BEGIN`, all reads see one moment."""
        with self._lock, _translate_errors():
            try:
                self._connection.execute(begin)
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                # After a full disk SQLite may have rolled back already.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def version(self) -> tuple[int, int]:
        """Return a value that changes with every write, also of other processes; costs about 3 microseconds."""
        with self._lock, _translate_errors():
            return self._connection.execute("PRAGMA data_version").fetchone()[0], self._connection.total_changes

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def _prepare(self, path: Path) -> None:
        with _translate_errors():
            # Before the first pragma that writes: a foreign file is left as it is.
            self._check_application_id(path)
            self._connection.execute("PRAGMA journal_mode = WAL")
            # A secret that the console showed as added must survive a power cut.
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.execute("PRAGMA foreign_keys = ON")
            # The database is small; most of the default cache of 2 MB would stay empty.
            self._connection.execute("PRAGMA cache_size = -256")
            self._migrate(path)

    def _migrate(self, path: Path) -> None:
        migrations = load_migrations("onhook.appdb")
        newest_version = migrations[-1].version
        if self._schema_version() == newest_version:
            return
        with self.transaction():
            # Checked again inside: another process may have been first.
            self._check_application_id(path)
            current_version = self._schema_version()
            if current_version > newest_version:
                raise OnhookError(
                    (_("the application database was written by a newer Onhook")),
                    location=str(path),
                    hint=_("install that version again"),
                )
            self._connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            for migration in migrations[current_version:]:
                for statement in migration.statements:
                    self._connection.execute(statement)
                self._connection.execute(f"PRAGMA user_version = {migration.version}")

    def _check_application_id(self, path: Path) -> None:
        """Check that the file is Onhook's; an empty file is new. Raises `UsageError` for another program's database."""
        # One statement, so one snapshot: another process may create the schema between two of them.
        form, application_id, table_count = self._connection.execute(
            "SELECT user_version, application_id, (SELECT count(*) FROM sqlite_schema)"
            " FROM pragma_user_version, pragma_application_id"
        ).fetchone()
        if application_id != APPLICATION_ID and (application_id or table_count or form):
            raise UsageError(
                _("this is a database of another program"), location=str(path), hint=_("name another data directory")
            )

    def _schema_version(self) -> int:
        return int(self._connection.execute("PRAGMA user_version").fetchone()[0])


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
def _translate_errors() -> Iterator[None]:
    """Translate SQLite's errors: only a lock, a full disk and the like are worth a retry."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise Unavailable(
            _("cannot use the application database now: {error}", error=error),
            location="onhook.db",
            hint=_("try again; `onhook doctor` checks the disk"),
        ) from error
    except sqlite3.IntegrityError:
        # A constraint is violated; the caller knows which, and reports it.
        raise
    except sqlite3.DatabaseError as error:
        raise OnhookError(
            (_("the application database is damaged: {error}", error=error)),
            location="onhook.db",
            hint=_("restore a backup with `onhook restore`"),
        ) from error
