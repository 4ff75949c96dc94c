"""A batch of the projector, put into the store."""

from collections.abc import Sequence

import duckdb

from onhook.store.contract import Batch, CallKey
from onhook.store.export.csv import IS_ODD
from onhook.store.queries.locality import OF_KEYS, corners, stored
from onhook.store.rollups import touch
from onhook.store.rows import Row, call_row, leg_rows, quarantine_rows
from onhook.store.schema import CALLS, LEGS

_STARTED_AT, _ENDED_AT = (list(CALLS).index(name) for name in ("started_at", "ended_at"))


def put(connection: duckdb.DuckDBPyConnection, batch: Batch) -> None:
    """Replace what stood under the keys of these calls; within the transaction of the one who calls."""
    gone_spans = _remove(connection, [(call.sn, call.call_id) for call in batch.calls])
    _append_legs(connection, [row for call in batch.calls for row in leg_rows(call)])
    rows = [call_row(call) for call in batch.calls]
    _append(connection, "calls", rows)
    touch(connection, [*gone_spans, *((row[_STARTED_AT], row[_ENDED_AT]) for row in rows)])
    _let_out(connection, sorted({*batch.read_again, *(one.seq for one in batch.quarantined)}))
    _append(connection, "quarantine", quarantine_rows(batch.quarantined))
    connection.execute("UPDATE about SET position = greatest(position, $1)", [batch.position])


def forget(connection: duckdb.DuckDBPyConnection, keys: Sequence[CallKey], quarantined: Sequence[int]) -> None:
    """Delete what stands under these keys; within the transaction of the one who calls."""
    touch(connection, _remove(connection, keys))
    _let_out(connection, quarantined)


def _let_out(connection: duckdb.DuckDBPyConnection, seqs: Sequence[int]) -> None:
    if seqs:
        connection.execute("DELETE FROM quarantine WHERE seq IN (SELECT unnest($1))", [list(seqs)])


def _append_legs(connection: duckdb.DuckDBPyConnection, rows: Sequence[Row]) -> None:
    """A whole number for a BIGINT column takes the appender five times as long as a float for a DOUBLE; below 2**53,
    where all of ours are, floats are as exact."""
    if rows:
        handed = {name: "DOUBLE" if kind == "BIGINT" else kind for name, kind in LEGS.items()}
        # `appender_data` is DuckDB's name for the rows that were handed in.
        typed = f"SELECT {', '.join(f'{name}::{kind} AS {name}' for name, kind in LEGS.items())} FROM appender_data"
        names = ", ".join(LEGS)
        question = f"INSERT INTO legs ({names}, is_odd) SELECT {names}, {IS_ODD} FROM ({typed})"
        with connection.query_appender(question, handed) as appender:
            appender.append_rows(rows)


def _append(connection: duckdb.DuckDBPyConnection, table: str, rows: Sequence[Row]) -> None:
    if rows:
        with connection.appender(table) as appender:
            appender.append_rows(rows)


def _remove(connection: duckdb.DuckDBPyConnection, keys: Sequence[CallKey]) -> list[tuple[int, int | None]]:
    """What stands under these keys; few of them have anything, as a rule. The seconds of its starts and ends."""
    there = [key for corner in corners(keys) for key in stored(connection, corner)]
    spans: list[tuple[int, int | None]] = []
    for corner in corners(there):
        for table in ("legs", "calls"):
            gone = connection.execute(
                f"DELETE FROM {table} USING {OF_KEYS} AS gone WHERE {corner.within(table)}"
                f" AND {table}.call_key = gone.call_key AND {table}.sn = gone.sn AND {table}.call_id = gone.call_id"
                + (" RETURNING calls.started_at, calls.ended_at" if table == "calls" else ""),
                corner.values,
            )
            if table == "calls":
                spans += gone.fetchall()
    return spans
