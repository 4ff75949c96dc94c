"""A search as a Parquet file: DuckDB sorts it, on disk if it is large, and writes it into a pipe."""

import asyncio
from collections.abc import AsyncGenerator
from functools import partial
from typing import IO

import duckdb

from onhook.store.connections import DuckDbDatabase, pipe_path
from onhook.store.export.leg_source import LegSource
from onhook.store.export.pipes import open_pipe
from onhook.store.schema import column_expression

ROW_GROUP_ROWS = 30_720
"""Rows kept in memory until they are written; a multiple of DuckDB's 2,048."""

CHUNK_BYTES_MAX = 256 * 1024

ROW_ORDER = "legs.started_at, legs.sn, legs.call_id, legs.leg_index"

_TIME_COLUMNS = ("started_at", "answered_at", "ended_at")


async def parquet_chunks(
    database: DuckDbDatabase, snapshot: duckdb.DuckDBPyConnection, source: LegSource
) -> AsyncGenerator[bytes, None]:
    """Yield the file; times as UTC timestamps, texts and numbers under their own names."""
    read_end, write_end = open_pipe()
    copy_task = asyncio.create_task(database.run_in_thread(partial(_copy, snapshot, source, write_end), snapshot))
    reader = asyncio.StreamReader()
    transport: asyncio.ReadTransport | None = None
    try:
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), read_end
        )
        while chunk := await reader.read(CHUNK_BYTES_MAX):
            yield chunk
        await copy_task
    finally:
        # Closing the read end makes a running COPY fail.
        (read_end if transport is None else transport).close()
        copy_task.cancel()
        await asyncio.gather(copy_task, return_exceptions=True)
        write_end.close()


def _copy(snapshot: duckdb.DuckDBPyConnection, source: LegSource, pipe: IO[bytes]) -> None:
    columns = ", ".join(f"{_typed_expression(name)} AS {name}" for name in source.columns)
    with pipe:
        snapshot.execute(
            f"COPY (SELECT {source.adapt(columns)} FROM {source.rows_sql} ORDER BY {ROW_ORDER})"
            f" TO '{pipe_path(pipe.fileno())}' (FORMAT parquet, ROW_GROUP_SIZE {ROW_GROUP_ROWS})",
            source.values,
        )


def _typed_expression(column: str) -> str:
    if column in _TIME_COLUMNS:
        return f"to_timestamp({column_expression(column)})"
    return "make_timestamp(received_at) AT TIME ZONE 'UTC'" if column == "received_at" else column_expression(column)
