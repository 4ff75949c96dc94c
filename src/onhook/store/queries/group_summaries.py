"""Counts of calls by groups of numbers, such as departments: a call once in a group, however many of its numbers it
reached.
"""

from collections.abc import Mapping
from typing import Any

import duckdb

from onhook.cdr.record_filter import RecordFilter
from onhook.store.contract import GroupSide
from onhook.store.queries.conditions import call_condition
from onhook.store.queries.measures import COUNT_EXPRESSIONS, MADE_BY_INTERNAL, MEASURES, WENT_TO_INTERNAL
from onhook.store.queries.summaries import leg_time_range

_GROUPS = (
    "WITH party_groups AS MATERIALIZED (SELECT unnest($group_parties::VARCHAR[]) AS party,"
    " unnest($group_names::VARCHAR[]) AS group_name)"
)
_IS_CALLEE = "legs.to_number || chr(31) || legs.sn = party"
_IS_CALLER = "{table}.from_number || chr(31) || {table}.sn = party"

_WENT_TO = f"""
(SELECT calls.*, visits.group_name FROM calls JOIN (
    SELECT DISTINCT call_key, sn, call_id, group_name FROM legs JOIN party_groups ON {_IS_CALLEE}
    WHERE {WENT_TO_INTERNAL}{{time_range}}
) AS visits USING (call_key, sn, call_id)) AS calls
"""
_ANSWERED_BY = f"""
(SELECT calls.*, visits.group_name FROM calls JOIN (
    SELECT DISTINCT call_key, sn, call_id, to_number AS number, group_name FROM legs JOIN party_groups ON {_IS_CALLEE}
    WHERE {WENT_TO_INTERNAL}{{time_range}}
) AS visits USING (call_key, sn, call_id) WHERE visits.number = calls.answered_by) AS calls
"""
_MADE_BY = f"""
(SELECT calls.*, group_name FROM calls JOIN party_groups ON {_IS_CALLER.format(table="calls")}
WHERE {MADE_BY_INTERNAL}) AS calls
"""
_PARTY = f"""
(SELECT calls.*, coalesce(parties.group_name, '') AS group_name FROM calls LEFT JOIN (
    SELECT call_key, sn, call_id, group_name FROM legs JOIN party_groups ON {_IS_CALLER.format(table="legs")}
    WHERE src_trunk_name = ''{{time_range}}
    UNION
    SELECT call_key, sn, call_id, group_name FROM legs JOIN party_groups ON {_IS_CALLEE}
    WHERE dst_trunk_name = ''{{time_range}}
) AS parties USING (call_key, sn, call_id)) AS calls
"""

_SOURCES: Mapping[GroupSide, str] = {
    "went_to": _WENT_TO,
    "answered_by": _ANSWERED_BY,
    "made_by": _MADE_BY,
    "party": _PARTY,
}


def summary_by_group(
    connection: duckdb.DuckDBPyConnection,
    record_filter: RecordFilter,
    side: GroupSide,
    groups: Mapping[tuple[str, str], str],
) -> list[dict[str, Any]]:
    """See `Store.summary_by_group`."""
    condition = call_condition(record_filter)
    source = _SOURCES[side].format(time_range=leg_time_range(record_filter, None))
    rows = connection.execute(
        f"{_GROUPS} SELECT group_name, {COUNT_EXPRESSIONS} FROM {source} WHERE {condition.sql}"
        " GROUP BY group_name ORDER BY group_name",
        {
            **condition.values,
            "group_parties": [f"{number}\x1f{sn}" for sn, number in groups],
            "group_names": list(groups.values()),
        },
    ).fetchall()
    return [dict(zip(("group", *MEASURES), row, strict=True)) for row in rows]
