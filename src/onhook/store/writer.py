"""Writing of a projector batch into the store."""

from collections.abc import Sequence

import duckdb

from onhook.cdr.identity import CallKey
from onhook.store.contract import StoreBatch
from onhook.store.export.csv import NEEDS_ESCAPING_SQL
from onhook.store.queries.locality import KEYS_TABLE, existing_keys, key_ranges
from onhook.store.queries.weekly import WEEK_SECONDS
from onhook.store.rollups import invalidate_weeks
from onhook.store.rows import Row, agent_ring_row, call_row, leg_rows, quarantine_rows, queue_visit_row
from onhook.store.schema import CALL_TABLES, CALLS, LEGS

_STARTED_AT, _ENDED_AT = (list(CALLS).index(name) for name in ("started_at", "ended_at"))


def put(connection: duckdb.DuckDBPyConnection, batch: StoreBatch) -> None:
    """Replace these calls, within the caller's transaction."""
    replaced_keys = [(call.sn, call.call_id) for call in batch.calls]
    removed_spans = _remove(connection, [*replaced_keys, *batch.removed_keys])
    _append_legs(connection, [row for call in batch.calls for row in leg_rows(call)])
    rows = [call_row(call) for call in batch.calls]
    _append_rows(connection, "calls", rows)
    _append_visits(connection, batch)
    invalidate_weeks(connection, [*removed_spans, *((row[_STARTED_AT], row[_ENDED_AT]) for row in rows)])
    _delete_quarantine_rows(connection, sorted({*batch.reparsed_seqs, *(entry.seq for entry in batch.quarantined)}))
    _append_rows(connection, "quarantine", quarantine_rows(batch.quarantined))
    connection.execute(
        "UPDATE metadata SET position = $1, position_key = $2, re_read_seq = $3 WHERE position < $1",
        [batch.position, batch.position_key, batch.re_read_seq],
    )


def delete(connection: duckdb.DuckDBPyConnection, keys: Sequence[CallKey], quarantined_seqs: Sequence[int]) -> None:
    """Delete these calls, within the caller's transaction."""
    invalidate_weeks(connection, _remove(connection, keys))
    _delete_quarantine_rows(connection, quarantined_seqs)


def rename_pbx(connection: duckdb.DuckDBPyConnection, sn: str, name: str) -> bool:
    """Give the calls of the first week of a PBX with another name this one, within the caller's transaction; return
    whether there was one. A week of calls is little enough for the memory of the writer.
    """
    rows = connection.execute(
        f"SELECT started_at // {WEEK_SECONDS} AS week, min(started_at), max(started_at), max(ended_at) FROM calls"
        " WHERE sn = $1 AND pbx <> $2 GROUP BY week ORDER BY week LIMIT 1",
        [sn, name],
    ).fetchall()
    for _week, since, until, ended_at in rows:
        for table, column in (("calls", "started_at"), ("legs", "call_started_at")):
            renamed = f"sn = $1 AND {column} BETWEEN $2 AND $3"
            connection.execute(f"UPDATE {table} SET pbx = $4 WHERE {renamed}", [sn, since, until, name])
            if table == "legs":
                connection.execute(
                    f"UPDATE legs SET needs_escaping = {NEEDS_ESCAPING_SQL} WHERE {renamed}", [sn, since, until]
                )
        invalidate_weeks(connection, [(since, ended_at)])
    return bool(rows)


def _delete_quarantine_rows(connection: duckdb.DuckDBPyConnection, seqs: Sequence[int]) -> None:
    if seqs:
        connection.execute("DELETE FROM quarantine WHERE seq IN (SELECT unnest($1))", [list(seqs)])


def _append_legs(connection: duckdb.DuckDBPyConnection, rows: Sequence[Row]) -> None:
    """Append rows to `legs`. BIGINT columns are passed as DOUBLE: an int takes the appender five times as long as a
    float; below 2**53, where all values are, floats are exact.
    """
    if rows:
        input_types = {name: "DOUBLE" if column_type == "BIGINT" else column_type for name, column_type in LEGS.items()}
        # `appender_data` is DuckDB's name for the appended rows.
        typed_columns = ", ".join(f"{name}::{column_type} AS {name}" for name, column_type in LEGS.items())
        typed_rows = f"SELECT {typed_columns} FROM appender_data"
        names = ", ".join(LEGS)
        query = f"INSERT INTO legs ({names}, needs_escaping) SELECT {names}, {NEEDS_ESCAPING_SQL} FROM ({typed_rows})"
        with connection.query_appender(query, input_types) as appender:
            appender.append_rows(rows)


def _append_visits(connection: duckdb.DuckDBPyConnection, batch: StoreBatch) -> None:
    visits = [visit for call_visits in batch.call_visits for visit in call_visits.visits]
    _append_rows(connection, "queue_visits", [queue_visit_row(visit) for visit in visits])
    rings = [ring for call_visits in batch.call_visits for ring in call_visits.rings]
    _append_rows(connection, "agent_rings", [agent_ring_row(ring) for ring in rings])


def _append_rows(connection: duckdb.DuckDBPyConnection, table: str, rows: Sequence[Row]) -> None:
    if rows:
        with connection.appender(table) as appender:
            appender.append_rows(rows)


def _remove(connection: duckdb.DuckDBPyConnection, keys: Sequence[CallKey]) -> list[tuple[int, int | None]]:
    """Delete these calls, most of which do not exist; return the seconds of the starts and ends of the deleted ones."""
    stored_keys = [key for key_range in key_ranges(keys) for key in existing_keys(connection, key_range)]
    spans: list[tuple[int, int | None]] = []
    for key_range in key_ranges(stored_keys):
        for table in CALL_TABLES:
            deleted = connection.execute(
                f"DELETE FROM {table} USING {KEYS_TABLE} AS gone WHERE {key_range.condition(table)}"
                f" AND {table}.call_key = gone.call_key AND {table}.sn = gone.sn AND {table}.call_id = gone.call_id"
                + (" RETURNING calls.started_at, calls.ended_at" if table == "calls" else ""),
                key_range.values,
            )
            if table == "calls":
                spans += deleted.fetchall()
    return spans
