"""Masked records as a temporary table of an export: every format is written by the same SQL as without a mask."""

from collections.abc import Sequence

import duckdb

from onhook.cdr.record_masking import Masking
from onhook.store.export.csv import NEEDS_ESCAPING_SQL
from onhook.store.export.leg_source import MASKED_ID_COLUMN, MASKED_TABLE, ROW_ORDER, LegSource
from onhook.store.queries.conditions import SqlCondition
from onhook.store.rows import leg_row, record_from_row
from onhook.store.schema import DERIVED, LEGS, LEGS_DERIVED, record_selection

_COLUMNS = {**LEGS, MASKED_ID_COLUMN: "VARCHAR"}


def fill_masked_legs(
    connection: duckdb.DuckDBPyConnection, conditions: Sequence[SqlCondition], masking: Masking
) -> LegSource:
    """Fill the temporary table with the masked records of these time ranges, in place of an earlier one."""
    columns = {**_COLUMNS, **LEGS_DERIVED}
    definitions = ", ".join(f"{name} {column_type}" for name, column_type in columns.items())
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {MASKED_TABLE} ({definitions})")
    for condition in conditions:
        _append(connection, condition, masking)
    return LegSource(SqlCondition("true", {}), is_masked=True)


def _append(connection: duckdb.DuckDBPyConnection, condition: SqlCondition, masking: Masking) -> None:
    rows = connection.execute(
        f"SELECT {record_selection()}, leg_index FROM legs WHERE {condition.sql} ORDER BY {ROW_ORDER}", condition.values
    ).fetchall()
    if not rows:
        return
    records = [(row[-1], masking.mask_record(record_from_row(row[:-1]))) for row in rows]
    # BIGINT as DOUBLE: see `writer`.
    input_types = {name: "DOUBLE" if kind == "BIGINT" else kind for name, kind in _COLUMNS.items()}
    typed_columns = ", ".join(f"{name}::{kind} AS {name}" for name, kind in _COLUMNS.items())
    names = ", ".join(_COLUMNS)
    query = (
        f"INSERT INTO {MASKED_TABLE} ({names}, needs_escaping)"
        f" SELECT {names}, {NEEDS_ESCAPING_SQL} FROM (SELECT {typed_columns} FROM appender_data)"
    )
    query = query.replace(DERIVED["record_id"], MASKED_ID_COLUMN)
    with connection.query_appender(query, input_types) as appender:
        appender.append_rows([(*leg_row(leg_index, record), record.record_id) for leg_index, record in records])
