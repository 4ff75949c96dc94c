"""Counts of visits to queues and ring groups, and the figures of agents in them."""

import duckdb

from onhook.cdr.queue_figures import AgentFigures, QueueCount
from onhook.cdr.record_filter import RecordFilter
from onhook.cdr.utc_offset import get_zone
from onhook.lib.errors import UsageError
from onhook.lib.messages import _
from onhook.store.contract import VISIT_STEPS
from onhook.store.queries.conditions import call_condition, ceil_seconds
from onhook.store.queries.summaries import SUMMARY_ROWS_MAX, TIME_EXPRESSIONS, period_offsets
from onhook.store.queries.zones import offset_sql

_COUNT_QUERY = """
SELECT sn, pbx, queue, kind, {step} AS step, outcome, wait_duration, count(*), sum(talk_duration)::BIGINT
FROM ({visits}) GROUP BY ALL ORDER BY ALL LIMIT {limit}
"""

_AGENT_QUERY = """
WITH days AS MATERIALIZED (
    SELECT sn, pbx, queue, kind, agent, is_outside, {day} AS day, count(*) FILTER (is_answered) AS answered,
        count(*) FILTER (NOT is_answered) AS missed, sum(talk_duration) AS talk,
        min(ring_started_at) FILTER (is_answered) AS first_start,
        max(coalesce(ended_at, ring_started_at)) FILTER (is_answered) AS last_end
    FROM ({rings}) GROUP BY ALL
),
spans AS (
    SELECT sn, agent, is_outside, day, max(last_end) - min(first_start) AS seconds FROM days GROUP BY ALL
),
totals AS (SELECT sn, agent, is_outside, sum(seconds) AS all_seconds FROM spans GROUP BY ALL)
SELECT sn, pbx, queue, kind, agent, is_outside, sum(answered)::BIGINT, sum(missed)::BIGINT,
    coalesce(sum(talk), 0)::BIGINT, coalesce(sum(seconds) FILTER (answered > 0), 0)::BIGINT,
    coalesce(max(all_seconds), 0)::BIGINT
FROM days LEFT JOIN spans USING (sn, agent, is_outside, day) LEFT JOIN totals USING (sn, agent, is_outside)
GROUP BY ALL ORDER BY ALL LIMIT {limit}
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
    query = _COUNT_QUERY.format(
        step=TIME_EXPRESSIONS[by].format(local=local) if by else "0",
        visits=_source("queue_visits", "outcome, wait_duration, table_rows.talk_duration", record_filter),
        limit=SUMMARY_ROWS_MAX + 1,
    )
    rows = connection.execute(query, call_condition(record_filter).values).fetchall()
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
    query = _AGENT_QUERY.format(
        day=TIME_EXPRESSIONS["day"].format(local=_local_start(connection, record_filter, zone_name)),
        rings=_source("agent_rings", columns, record_filter),
        limit=SUMMARY_ROWS_MAX + 1,
    )
    rows = connection.execute(query, call_condition(record_filter).values).fetchall()
    _check_rows(len(rows))
    return [AgentFigures(**dict(zip(AgentFigures.__struct_fields__, row, strict=True))) for row in rows]


def _source(table: str, columns: str, record_filter: RecordFilter) -> str:
    """Return the query of the rows of a table that belong to matching calls; the time range is that of the calls, so
    that DuckDB skips other rows.
    """
    bounds = [
        f" AND table_rows.call_started_at {operator} {ceil_seconds(time)}"
        for operator, time in ((">=", record_filter.since), ("<", record_filter.until))
        if time is not None
    ]
    return (
        f"SELECT matching.sn, matching.pbx, matching.started_at, queue, kind, {columns} FROM {table} AS table_rows"
        " JOIN (SELECT call_key, sn, call_id, pbx, started_at FROM calls"
        f" WHERE {call_condition(record_filter).sql}) AS matching USING (call_key, sn, call_id)"
        f" WHERE true{''.join(bounds)}"
    )


def _local_start(connection: duckdb.DuckDBPyConnection, record_filter: RecordFilter, zone_name: str) -> str:
    zone_offsets = period_offsets(connection, record_filter, get_zone(zone_name))
    return f"started_at + ({offset_sql('started_at', zone_offsets)})"


def _check_rows(count: int) -> None:
    if count > SUMMARY_ROWS_MAX:
        raise UsageError(
            _("there are more than {limit} rows", limit=SUMMARY_ROWS_MAX), hint=_("choose a shorter period")
        )
