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
    connection: duckdb.DuckDBPyConnection, record_filter: RecordFilter, duration_name: str, edges: Sequence[int]
) -> DurationHistogram:
    """See `Store.spread`."""
    if duration_name not in DURATION_FIELDS:
        raise UsageError(
            f"there is no spread of {duration_name[:40]!r}", hint=f"use one of {', '.join(DURATION_FIELDS)}"
        )
    if list(edges) != sorted({0, *edges}) or len(edges) > EDGES_MAX:
        raise UsageError("the edges of a spread grow from 0", hint=f"give at most {EDGES_MAX}")
    condition = call_condition(record_filter)
    # Durations are whole seconds: few different ones, however many calls. To sort the calls themselves takes longer.
    rows = connection.execute(
        f"SELECT {duration_name}, count(*) FROM calls WHERE {condition.sql}"
        f" GROUP BY {duration_name} ORDER BY {duration_name}",
        condition.values,
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


def _quantile(value_counts: Sequence[tuple[int, int]], numerator: int, denominator: int) -> int | None:
    """The duration that so many of the calls do not exceed."""
    target, cumulative = numerator * sum(calls for _, calls in value_counts), 0
    for value, calls in value_counts:
        cumulative += calls
        if cumulative * denominator >= target:
            return value
    return None
