"""A search as a Parquet file: DuckDB sorts it, on disk where it is large, and writes it into a pipe."""

import asyncio
import fcntl
import os
from collections.abc import AsyncGenerator
from functools import partial
from typing import IO

import duckdb

from onhook.store.connections import PIPE_NUMBERS, Database, pipe_path
from onhook.store.queries.conditions import Condition
from onhook.store.schema import RECORD_COLUMNS, expression

ROW_GROUP_ROWS = 30_720
"""What is held until it is written; a multiple of DuckDB's 2,048."""

PIECE_BYTES_MAX = 256 * 1024

ORDER = "legs.started_at, legs.sn, legs.call_id, legs.place"

_MOMENTS = ("started_at", "answered_at", "ended_at")


async def pieces(
    database: Database, view: duckdb.DuckDBPyConnection, condition: Condition
) -> AsyncGenerator[bytes, None]:
    """The file; moments as UTC timestamps, texts and numbers under their own names."""
    reading, writing = _pipe()
    copied = asyncio.create_task(database.in_thread(partial(_copy, view, condition, writing), view))
    reader = asyncio.StreamReader()
    transport: asyncio.ReadTransport | None = None
    try:
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), reading
        )
        while piece := await reader.read(PIECE_BYTES_MAX):
            yield piece
        await copied
    finally:
        # Whoever still writes into the pipe learns that nobody reads any more.
        (reading if transport is None else transport).close()
        copied.cancel()
        await asyncio.gather(copied, return_exceptions=True)
        writing.close()


def _pipe() -> tuple[IO[bytes], IO[bytes]]:
    """Both ends; the one that is written has a number that the engine may write to."""
    reading, writing = os.pipe()
    numbered = fcntl.fcntl(writing, fcntl.F_DUPFD_CLOEXEC, PIPE_NUMBERS.start)
    os.close(writing)
    return os.fdopen(reading, "rb", 0), os.fdopen(numbered, "wb", 0)


def _copy(view: duckdb.DuckDBPyConnection, condition: Condition, pipe: IO[bytes]) -> None:
    columns = ", ".join(f"{_typed(name)} AS {name}" for name in RECORD_COLUMNS)
    with pipe:
        view.execute(
            f"COPY (SELECT {columns} FROM legs WHERE {condition.sql} ORDER BY {ORDER})"
            f" TO '{pipe_path(pipe.fileno())}' (FORMAT parquet, ROW_GROUP_SIZE {ROW_GROUP_ROWS})",
            condition.values,
        )


def _typed(column: str) -> str:
    if column in _MOMENTS:
        return f"to_timestamp({expression(column)})"
    return "make_timestamp(received_at) AT TIME ZONE 'UTC'" if column == "received_at" else expression(column)
