"""Pipes into which DuckDB writes files: no Python object is made for a row, and other threads run meanwhile."""

import fcntl
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import IO, Any

import duckdb

from onhook.store.connections import PIPE_DESCRIPTORS, pipe_path

PIPE_BYTES = 256 * 1024
"""Requested size of a pipe, where the system has that setting: four times the usual one, for fewer switches between
writing and reading. All pipes of one user have 64 MiB.
"""

_RAW_LINES = "FORMAT csv, HEADER false, QUOTE '', ESCAPE ''"
"""DuckDB writes a single text column as it is, with a line feed behind each value, whatever the text contains."""


def open_pipe() -> tuple[IO[bytes], IO[bytes]]:
    """Open a pipe, its read end first; its write end has one of the descriptors that DuckDB may write to."""
    read_descriptor, write_descriptor = os.pipe()
    allowed_descriptor = fcntl.fcntl(write_descriptor, fcntl.F_DUPFD_CLOEXEC, PIPE_DESCRIPTORS.start)
    os.close(write_descriptor)
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with suppress(OSError):  # the user's pipes have no space left; a small one is only slower
            fcntl.fcntl(read_descriptor, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return os.fdopen(read_descriptor, "rb", 0), os.fdopen(allowed_descriptor, "wb", 0)


def read_lines(snapshot: duckdb.DuckDBPyConnection, query: str, values: Mapping[str, Any]) -> bytes:
    """Return the texts that a query selects in one column, each with a line feed behind it."""
    read_end, write_end = open_pipe()
    with read_end, ThreadPoolExecutor(1, thread_name_prefix="store-pipe") as reader:
        content = reader.submit(read_end.read)
        with write_end:  # its end is the end of the content, also after an error
            snapshot.execute(f"COPY ({query}) TO '{pipe_path(write_end.fileno())}' ({_RAW_LINES})", dict(values))
        return content.result()
