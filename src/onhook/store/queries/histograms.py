"""How long calls rang, waited and talked: counted between edges, with median and 90th percentile."""

from bisect import bisect_right
from collections.abc import Sequence

import duckdb

from onhook.cdr.record_filter import Filter
from onhook.lib.errors import UsageError
from onhook.store.contract import DURATIONS, Spread
from onhook.store.queries.conditions import for_calls

EDGES_MAX = 60
"""Bars on one picture."""


def spread(connection: duckdb.DuckDBPyConnection, where: Filter, of: str, edges: Sequence[int]) -> Spread:
    """See `Store.spread`."""
    if of not in DURATIONS:
        raise UsageError(f"there is no spread of {of[:40]!r}", todo=f"use one of {', '.join(DURATIONS)}")
    if list(edges) != sorted({0, *edges}) or len(edges) > EDGES_MAX:
        raise UsageError("the edges of a spread grow from 0", todo=f"give at most {EDGES_MAX}")
    condition = for_calls(where)
    # Durations are whole seconds: few different ones, however many calls. To sort the calls themselves takes longer.
    found = connection.execute(
        f"SELECT {of}, count(*) FROM calls WHERE {condition.sql} GROUP BY {of} ORDER BY {of}", condition.values
    ).fetchall()
    known = [(value, calls) for value, calls in found if value is not None]
    counts = [0] * len(edges)
    for value, calls in known:
        if value >= 0:
            counts[bisect_right(edges, value) - 1] += calls
    return Spread(
        counts=counts,
        unknown=sum(calls for value, calls in found if value is None),
        median=_no_longer(known, 1, 2),
        p90=_no_longer(known, 9, 10),
        longest=known[-1][0] if known else None,
    )


def _no_longer(known: Sequence[tuple[int, int]], part: int, whole: int) -> int | None:
    """The duration that so many of the calls do not exceed."""
    wanted, passed = part * sum(calls for _, calls in known), 0
    for value, calls in known:
        passed += calls
        if passed * whole >= wanted:
            return value
    return None
