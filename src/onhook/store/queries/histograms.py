"""Distribution of ring, wait and talk durations: counts between edges, median and 90th percentile."""

from bisect import bisect_right
from collections.abc import Sequence

import duckdb

from onhook.cdr.record_filter import RecordFilter
from onhook.lib.errors import UsageError
from onhook.lib.messages import _
from onhook.store.figures import DURATION_FIELDS, DurationHistogram
from onhook.store.queries.conditions import call_condition

EDGES_MAX = 60
"""Bars of one chart."""


def histogram(
    connection: duckdb.DuckDBPyConnection, record_filter: RecordFilter, duration_name: str, edges: Sequence[int]
) -> DurationHistogram:
    """Return the histogram; see `Store.histogram`."""
    if duration_name not in DURATION_FIELDS:
        raise UsageError(
            _("there is no histogram of {name!r}", name=duration_name[:40]),
            hint=_("use one of {choices}", choices=", ".join(DURATION_FIELDS)),
        )
    if list(edges) != sorted({0, *edges}) or len(edges) > EDGES_MAX:
        raise UsageError(
            _("the edges of a histogram must grow from 0"), hint=_("give at most {limit}", limit=EDGES_MAX)
        )
    condition = call_condition(record_filter)
    # Durations are whole seconds: few different ones, however many calls. Sorting the calls themselves takes longer.
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
    """Return the duration that this fraction of the calls does not exceed."""
    target, cumulative = numerator * sum(calls for _seconds, calls in value_counts), 0
    for value, calls in value_counts:
        cumulative += calls
        if cumulative * denominator >= target:
            return value
    return None
