"""How long calls rang, waited and talked: counted between edges, with median and 90th percentile."""

from bisect import bisect_right
from collections.abc import Sequence

import duckdb

from onhook.cdr.record_filter import RecordFilter
from onhook.lib.errors import UsageError
from onhook.store.contract import DURATION_FIELDS, DurationHistogram
from onhook.store.queries.conditions import call_condition

EDGES_MAX = 60
"""Bars on one picture."""


def histogram(
    connection: duckdb.DuckDBPyConnection, where: RecordFilter, of: str, edges: Sequence[int]
) -> DurationHistogram:
    """See `Store.spread`."""
    if of not in DURATION_FIELDS:
        raise UsageError(f"there is no spread of {of[:40]!r}", todo=f"use one of {', '.join(DURATION_FIELDS)}")
    if list(edges) != sorted({0, *edges}) or len(edges) > EDGES_MAX:
        raise UsageError("the edges of a spread grow from 0", todo=f"give at most {EDGES_MAX}")
    condition = call_condition(where)
    # Durations are whole seconds: few different ones, however many calls. To sort the calls themselves takes longer.
    rows = connection.execute(
        f"SELECT {of}, count(*) FROM calls WHERE {condition.sql} GROUP BY {of} ORDER BY {of}", condition.values
    ).fetchall()
    value_counts = [(value, calls) for value, calls in rows if value is not None]
    counts = [0] * len(edges)
    for value, calls in value_counts:
        if value >= 0:
            counts[bisect_right(edges, value) - 1] += calls
    return DurationHistogram(
        counts=counts,
        unknown=sum(calls for value, calls in rows if value is None),
        median=_quantile(value_counts, 1, 2),
        p90=_quantile(value_counts, 9, 10),
        longest=value_counts[-1][0] if value_counts else None,
    )


def _quantile(known: Sequence[tuple[int, int]], part: int, whole: int) -> int | None:
    """The duration that so many of the calls do not exceed."""
    target, cumulative = part * sum(calls for _, calls in known), 0
    for value, calls in known:
        cumulative += calls
        if cumulative * whole >= target:
            return value
    return None
