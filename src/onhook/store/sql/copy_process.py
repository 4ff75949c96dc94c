"""A process that copies the store for queries, and ends: `python -m onhook.store.sql.copy_process PID`.

Invariants: the copy is a state that the store had: of whole batches, also while the hub writes and checkpoints. The hub
does nothing for it and waits for nothing. The copy has the two views and what they read, and nothing else.

The engine changes the blocks of its file only with a checkpoint, which ends with a new header, and appends everything
else to its write-ahead log. So the log is copied first, which can be read up to any byte, then the file. A header that
is the same afterwards proves that the copy is whole.
"""

import fcntl
import os
import shutil
import sys
import time
from contextlib import suppress
from pathlib import Path

import duckdb
import msgspec

from onhook.lib.messages import mark
from onhook.store.sql.confinement import ProcessLimits
from onhook.store.sql.query_process import answer, engine_config
from onhook.store.sql.views import CALL_ROWS, TABLES, VIEWS
from onhook.store.sql.wire import CopyRequest, QueryError, QueryFailure, SqlReply

MEMORY_BYTES_MAX = 512 * 2**20
ENGINE_MEMORY = "256MiB"
"""Of this process. No query runs beside it."""

CPU_SECONDS_MAX = 120
WALL_SECONDS_MAX = 300
FILE_BYTES_MAX = 2**40
"""The space on the disk is checked while the copy is written."""

ATTEMPTS_MAX = 5
"""Attempts to copy between two checkpoints, which come every 150,000 records."""

CHUNK_BYTES = 8 * 2**20
"""Copied at once, and written to the disk before the next: so the ledger's own writes never wait for a long queue."""

HEADER_BYTES = 3 * 4_096
"""The header of the file and two of its states, of which a checkpoint writes one."""

FILE_MODE = 0o600

_FICLONE = 0x40049409
"""Linux: share the blocks of another file, which costs no space and no time on file systems that can."""


def main() -> int:
    """Make the copy that the request on standard input names."""
    limits = ProcessLimits(
        memory_bytes=MEMORY_BYTES_MAX,
        cpu_seconds=CPU_SECONDS_MAX,
        wall_seconds=WALL_SECONDS_MAX,
        file_bytes=FILE_BYTES_MAX,
    )
    return answer(
        limits,
        lambda content: make_copy(msgspec.json.decode(content, type=CopyRequest)),
        memory_failure=_memory_failure(),
    )


def make_copy(request: CopyRequest) -> SqlReply:
    """Copy the store, and remove from the copy what queries must not see. Raises `QueryError`."""
    source, target = Path(request.source), Path(request.target)
    for attempt in range(1, ATTEMPTS_MAX + 1):
        try:
            if copy_files(source, target, request.reserve_bytes):
                prepare_copy(target)
                return SqlReply()
        except OSError as error:
            raise _disk_error(error) from error
        except duckdb.OutOfMemoryException:
            raise
        except duckdb.Error as error:
            # The store was replaced or written while it was copied, or it is damaged.
            if attempt == ATTEMPTS_MAX:
                raise _unusable_error(str(error).partition("\n")[0][:200]) from error
    raise QueryError(
        QueryFailure(
            kind="unavailable",
            message=mark("the store is being written too fast to be copied"),
            hint=mark("try again in a minute"),
        )
    )


def copy_files(source: Path, target: Path, reserve_bytes: int) -> bool:
    """Copy a database file and its write-ahead log; return whether they belong together."""
    _remove_database(target)
    with source.open("rb") as source_file:
        header = source_file.read(HEADER_BYTES)
        # A checkpoint removes the log.
        with suppress(FileNotFoundError), _log_path(source).open("rb") as log_file:
            _copy(log_file.fileno(), _log_path(target), reserve_bytes)
        _copy(source_file.fileno(), target, reserve_bytes)
    # Opened again: the store may have been replaced meanwhile.
    with source.open("rb") as source_file:
        return source_file.read(HEADER_BYTES) == header


def prepare_copy(target: Path) -> None:
    """Apply the write-ahead log to the copy; remove all tables but those of the views, and create the views."""
    with duckdb.connect(str(target), config=engine_config(ENGINE_MEMORY)) as connection:
        for (name,) in connection.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall():
            connection.execute(f'DROP VIEW "{name}"')
        for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall():
            if name not in TABLES:
                connection.execute(f'DROP TABLE "{name}"')
        connection.execute(f"ALTER TABLE calls RENAME TO {CALL_ROWS}")
        for name, selection in VIEWS.items():
            connection.execute(f"CREATE VIEW {name} AS {selection}")
        connection.execute("CHECKPOINT")


def _copy(source: int, path: Path, reserve_bytes: int) -> None:
    """Copy an open file; share its blocks where the file system can. Raises `QueryError` where the disk gets full."""
    target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
    try:
        if not _share_blocks(source, target):
            _copy_slowly(source, target, path.parent, reserve_bytes)
    finally:
        os.close(target)


def _share_blocks(source: int, target: int) -> bool:
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        return False
    return True


def _copy_slowly(source: int, target: int, directory: Path, reserve_bytes: int) -> None:
    """Copy chunk by chunk; after each, pause for as long as it took: the disk belongs to the ledger."""
    offset = 0
    while True:
        _check_space(directory, max(os.fstat(source).st_size - offset, 0), reserve_bytes)
        started_at = time.monotonic()
        chunk = os.pread(source, CHUNK_BYTES, offset)
        if not chunk:
            return
        offset += os.write(target, chunk)
        os.fdatasync(target)
        time.sleep(time.monotonic() - started_at)


def _check_space(directory: Path, needed_bytes: int, reserve_bytes: int) -> None:
    free_bytes = shutil.disk_usage(directory).free
    if free_bytes < needed_bytes + reserve_bytes:
        raise QueryError(
            QueryFailure(
                kind="unavailable",
                message=mark("the disk has {free} MiB left; a copy of the store for queries needs {needed} MiB"),
                hint=mark("free disk space"),
                values={"free": free_bytes // 2**20, "needed": (needed_bytes + reserve_bytes) // 2**20},
            )
        )


def _disk_error(error: OSError) -> QueryError:
    return QueryError(
        QueryFailure(
            kind="unavailable",
            message=mark("the store cannot be copied: {error}"),
            hint=mark("check the disk"),
            values={"error": f"{error.strerror or error} ({error.filename})"},
        )
    )


def _memory_failure() -> QueryFailure:
    """Return the failure of a copy that reached a limit of memory: no query is to blame."""
    return QueryFailure(
        kind="unavailable",
        message=mark("the copy of the store for queries needs more than {memory} MiB of memory"),
        hint=mark("try again in a minute; `onhook doctor` checks the store"),
        values={"memory": MEMORY_BYTES_MAX // 2**20},
    )


def _unusable_error(text: str) -> QueryError:
    return QueryError(
        QueryFailure(
            kind="unavailable",
            message=mark("the copy of the store cannot be read: {error}"),
            hint=mark("try again in a minute; `onhook doctor` checks the store"),
            values={"error": text},
        )
    )


def _log_path(path: Path) -> Path:
    return path.with_name(path.name + ".wal")


def _remove_database(path: Path) -> None:
    path.unlink(missing_ok=True)
    _log_path(path).unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
