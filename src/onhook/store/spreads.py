"""How long calls rang, waited and talked: counted between edges, with median and 90th percentile."""

from collections.abc import Sequence

import duckdb

from onhook.cdr.filter import Filter
from onhook.errors import UsageError
from onhook.store.conditions import for_calls
from onhook.store.store import DURATIONS, Spread

EDGES_MAX = 60
"""Bars on one picture."""


def spread(connection: duckdb.DuckDBPyConnection, where: Filter, of: str, edges: Sequence[int]) -> Spread:
    """See `Store.spread`."""
    if of not in DURATIONS:
        raise UsageError(f"there is no spread of {of[:40]!r}", todo=f"use one of {', '.join(DURATIONS)}")
    if list(edges) != sorted({0, *edges}) or len(edges) > EDGES_MAX:
        raise UsageError("the edges of a spread grow from 0", todo=f"give at most {EDGES_MAX}")
    condition = for_calls(where)
    bins = [
        f"count(*) FILTER ({of} >= {low}" + (f" AND {of} < {high})" if high is not None else ")")
        for low, high in zip(edges, [*edges[1:], None], strict=True)
    ]
    row = connection.execute(
        f"SELECT {', '.join(bins)}, count(*) - count({of}), quantile_disc({of}, [0.5, 0.9]), max({of})"
        f" FROM calls WHERE {condition.sql}",
        condition.values,
    ).fetchall()[0]
    *counts, unknown, quantiles, longest = row
    median, p90 = quantiles or (None, None)
    return Spread(counts=counts, unknown=unknown, median=median, p90=p90, longest=longest)
