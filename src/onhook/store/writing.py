"""A batch of the projector, put into the store."""

from collections.abc import Sequence

import duckdb

from onhook.cdr.record import Call
from onhook.store.csv_lines import IS_ODD
from onhook.store.rows import Row, call_row, leg_rows, quarantine_rows
from onhook.store.schema import LEGS, call_key
from onhook.store.store import Batch, CallKey


def put(connection: duckdb.DuckDBPyConnection, batch: Batch) -> None:
    """Replace what stood under the keys of these calls; within the transaction of the one who calls."""
    _remove_calls(connection, _stored(connection, batch.calls))
    _append_legs(connection, [row for call in batch.calls for row in leg_rows(call)])
    _append(connection, "calls", [call_row(call) for call in batch.calls])
    gone = sorted({*batch.read_again, *(one.seq for one in batch.quarantined)})
    if gone:
        connection.execute("DELETE FROM quarantine WHERE seq IN (SELECT unnest($1))", [gone])
    _append(connection, "quarantine", quarantine_rows(batch.quarantined))
    connection.execute("UPDATE about SET position = greatest(position, $1)", [batch.position])


def _append_legs(connection: duckdb.DuckDBPyConnection, rows: Sequence[Row]) -> None:
    if rows:
        # `appender_data` is DuckDB's name for the rows that were handed in.
        question = f"INSERT INTO legs ({', '.join(LEGS)}, is_odd) SELECT {', '.join(LEGS)}, {IS_ODD} FROM appender_data"
        with connection.query_appender(question, dict(LEGS)) as appender:
            appender.append_rows(rows)


def _append(connection: duckdb.DuckDBPyConnection, table: str, rows: Sequence[Row]) -> None:
    if rows:
        with connection.appender(table) as appender:
            appender.append_rows(rows)


def _stored(connection: duckdb.DuckDBPyConnection, calls: Sequence[Call]) -> list[CallKey]:
    """Which of these calls are there already: few, as a rule, and looking for them costs less than removing them."""
    return [
        key
        for keys in _neighbours(calls)
        for key in connection.execute(
            f"SELECT calls.sn, calls.call_id FROM calls JOIN {_KEYS} AS wanted USING (sn, call_id) WHERE {_IN_CORNER}",
            _named(keys),
        ).fetchall()
    ]


def _remove_calls(connection: duckdb.DuckDBPyConnection, keys: Sequence[CallKey]) -> None:
    if keys:
        for table in ("legs", "calls"):
            connection.execute(
                f"DELETE FROM {table} USING {_KEYS} AS gone"
                f" WHERE {table}.sn = gone.sn AND {table}.call_id = gone.call_id AND {_IN_CORNER}",
                _named(keys),
            )


_KEYS = "(SELECT unnest($sn) AS sn, unnest($call_id) AS call_id)"
_IN_CORNER = "call_key BETWEEN $first AND $last"


def _named(keys: Sequence[CallKey]) -> dict[str, object]:
    corners = [call_key(call_id) for _, call_id in keys]
    return {
        "sn": [sn for sn, _ in keys],
        "call_id": [call_id for _, call_id in keys],
        "first": min(corners),
        "last": max(corners),
    }


def _neighbours(calls: Sequence[Call]) -> list[list[CallKey]]:
    """Those whose ids tell their time, and the others: together they would span the whole file."""
    keys = [(call.sn, call.call_id) for call in calls]
    timed = [key for key in keys if call_key(key[1]) > 0]
    untimed = [key for key in keys if call_key(key[1]) < 0]
    return [some for some in (timed, untimed) if some]
