"""Counts of visits to queues and ring groups, and the figures of agents in them."""

import duckdb
import msgspec

from onhook.cdr.queue_figures import AgentFigures, QueueCount
from onhook.cdr.record_filter import FILTER_NAMES, RecordFilter
from onhook.cdr.utc_offset import get_zone
from onhook.lib.errors import UsageError
from onhook.lib.messages import _
from onhook.store.contract import VISIT_STEPS
from onhook.store.queries.conditions import SqlCondition, call_condition, ceil_seconds
from onhook.store.queries.summaries import SUMMARY_ROWS_MAX, TIME_EXPRESSIONS, period_offsets
from onhook.store.queries.zones import offset_sql

_COUNT_QUERY = """
SELECT sn, pbx, queue, kind, {step} AS step, outcome, wait_duration, count(*), sum(talk_duration)::BIGINT
FROM ({visits}) GROUP BY ALL ORDER BY ALL LIMIT {limit}
"""

_AGENT_QUERY = """
WITH rings AS MATERIALIZED (SELECT *, {day} AS day FROM ({rings})),
days AS MATERIALIZED (
    SELECT sn, agent, is_outside, day, max(coalesce(ended_at, ring_started_at)) - min(ring_started_at) AS seconds
    FROM rings WHERE is_answered GROUP BY ALL
),
all_days AS (SELECT sn, agent, is_outside, sum(seconds) AS seconds FROM days GROUP BY ALL),
answered_days AS (SELECT DISTINCT sn, pbx, queue, kind, agent, is_outside, day FROM rings WHERE is_answered),
worked AS (
    SELECT sn, pbx, queue, kind, agent, is_outside, sum(seconds) AS seconds
    FROM answered_days JOIN days USING (sn, agent, is_outside, day) GROUP BY ALL
),
counts AS (
    SELECT sn, pbx, queue, kind, agent, is_outside, count(*) FILTER (is_answered) AS answered,
        count(*) FILTER (NOT is_answered) AS missed, sum(talk_duration) AS talk
    FROM rings GROUP BY ALL
)
SELECT sn, pbx, queue, kind, agent, is_outside, answered, missed, coalesce(talk, 0)::BIGINT,
    coalesce(worked.seconds, 0)::BIGINT, coalesce(all_days.seconds, 0)::BIGINT
FROM counts LEFT JOIN worked USING (sn, pbx, queue, kind, agent, is_outside)
    LEFT JOIN all_days USING (sn, agent, is_outside)
ORDER BY ALL LIMIT {limit}
"""


def count_visits(
    connection: duckdb.DuckDBPyConnection, record_filter: RecordFilter, by: str, zone_name: str
) -> list[QueueCount]:
    """See `Store.count_visits`."""
    if by not in VISIT_STEPS:
        raise UsageError(
            _("visits to queues are not counted by {value!r}", value=by[:40]),
            location="by",
            hint=_("use one of {choices}", choices=", ".join(filter(None, VISIT_STEPS))),
        )
    local = _local_start(connection, record_filter, zone_name)
    visits = _source(connection, "queue_visits", "outcome, wait_duration, table_rows.talk_duration", record_filter)
    query = _COUNT_QUERY.format(
        step=TIME_EXPRESSIONS[by].format(local=local) if by else "0",
        visits=visits.sql,
        limit=SUMMARY_ROWS_MAX + 1,
    )
    rows = connection.execute(query, visits.values).fetchall()
    _check_rows(len(rows))
    return [
        QueueCount(
            sn=sn,
            pbx=pbx,
            queue=queue,
            kind=kind,
            step=step,
            outcome=outcome,
            wait_duration=wait,
            calls=calls,
            talk_duration=talk,
        )
        for sn, pbx, queue, kind, step, outcome, wait, calls, talk in rows
    ]


def agent_figures(
    connection: duckdb.DuckDBPyConnection, record_filter: RecordFilter, zone_name: str
) -> list[AgentFigures]:
    """See `Store.agent_figures`. A day is that of the call's start."""
    columns = (
        "agent, is_outside, is_answered, table_rows.started_at AS ring_started_at, table_rows.ended_at,"
        " table_rows.talk_duration"
    )
    rings = _source(connection, "agent_rings", columns, record_filter)
    query = _AGENT_QUERY.format(
        day=TIME_EXPRESSIONS["day"].format(local=_local_start(connection, record_filter, zone_name)),
        rings=rings.sql,
        limit=SUMMARY_ROWS_MAX + 1,
    )
    rows = connection.execute(query, rings.values).fetchall()
    _check_rows(len(rows))
    return [AgentFigures(**dict(zip(AgentFigures.__struct_fields__, row, strict=True))) for row in rows]


def _source(
    connection: duckdb.DuckDBPyConnection, table: str, columns: str, record_filter: RecordFilter
) -> SqlCondition:
    """Return the query of the rows of a table that belong to matching calls; the time range is that of the calls, so
    that DuckDB skips other rows.

    Where the filter has PBXs and a period alone, and no PBX was renamed, the calls themselves are not joined: that
    takes longer than all the rest.
    """
    bounds = [
        f" AND table_rows.call_started_at {operator} {ceil_seconds(time)}"
        for operator, time in ((">=", record_filter.since), ("<", record_filter.until))
        if time is not None
    ]
    names = _pbx_names(connection, record_filter)
    if names is None:
        condition = call_condition(record_filter)
        columns = f"matching.started_at, {columns}"
        matching = f"SELECT call_key, sn, call_id, pbx, started_at FROM calls WHERE {condition.sql}"
        keys, values = "call_key, sn, call_id", condition.values
    else:
        columns = f"table_rows.call_started_at AS started_at, {columns}"
        matching = "SELECT unnest($pbx_sns::VARCHAR[]) AS sn, unnest($pbx_names::VARCHAR[]) AS pbx"
        keys, values = "sn", {"pbx_sns": list(names), "pbx_names": list(names.values())}
    return SqlCondition(
        f"SELECT matching.sn, matching.pbx, queue, kind, {columns} FROM {table} AS table_rows"
        f" JOIN ({matching}) AS matching USING ({keys}) WHERE true{''.join(bounds)}",
        values,
    )


def _pbx_names(connection: duckdb.DuckDBPyConnection, record_filter: RecordFilter) -> dict[str, str] | None:
    """Return the names of the PBXs in the filter by their serial numbers; None where rows cannot be selected by them:
    there are other filters, or a PBX was renamed, as calls keep the name that it had.
    """
    filter_names = {name for name in FILTER_NAMES if getattr(record_filter, name) is not None}
    is_of_calls = record_filter.call_filter is not None or record_filter.parties
    is_of_numbers = record_filter.scope is not None and record_filter.scope.limits_numbers
    if is_of_calls or is_of_numbers or not filter_names <= {"since", "until", "pbx", "sn"}:
        return None
    condition = call_condition(msgspec.structs.replace(record_filter, pbx=None))
    rows = connection.execute(f"SELECT DISTINCT sn, pbx FROM calls WHERE {condition.sql}", condition.values).fetchall()
    names: dict[str, str] = dict(rows)
    if len(names) < len(rows):
        return None
    return {sn: name for sn, name in names.items() if record_filter.pbx in {None, name}}


def _local_start(connection: duckdb.DuckDBPyConnection, record_filter: RecordFilter, zone_name: str) -> str:
    zone_offsets = period_offsets(connection, record_filter, get_zone(zone_name))
    return f"started_at + ({offset_sql('started_at', zone_offsets)})"


def _check_rows(count: int) -> None:
    if count > SUMMARY_ROWS_MAX:
        raise UsageError(
            _("there are more than {limit} rows", limit=SUMMARY_ROWS_MAX), hint=_("choose a shorter period")
        )
