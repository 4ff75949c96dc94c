"""SQL that counts concurrent calls: each call is a step up and a step down, and the running sum is their number.

Each interval begins with a step of zero, so that calls of the interval before count in it too.
"""

from onhook.store.queries.conditions import LEG_OF_CALL

_ALL_SPANS = (
    "SELECT '' AS pbx, '' AS trunk, started_at AS begun, ended_at AS ended FROM calls"
    " WHERE {test} AND ended_at > started_at"
)
_TRUNK_SPANS = (
    "SELECT DISTINCT pbx, trunk, call_key, sn, call_id, begun, ended FROM ("
    "SELECT calls.*, unnest([legs.src_trunk_name, legs.dst_trunk_name]) AS trunk FROM ("
    "SELECT call_key, sn, call_id, pbx, started_at AS begun, ended_at AS ended FROM calls"
    f" WHERE {{test}} AND ended_at > started_at) AS calls JOIN legs ON {LEG_OF_CALL}) WHERE trunk <> ''"
)
"""A call is one of each trunk of its legs, as the filter `trunk` finds it, from its start to its end."""

CONCURRENCY_QUERY = """
WITH spans AS ({spans}),
buckets AS (SELECT unnest($bucket_starts) AS starts_at),
steps AS (
    SELECT pbx, trunk, instant, sum(step) AS step FROM (
        SELECT pbx, trunk, begun AS instant, 1 AS step FROM spans
        UNION ALL SELECT pbx, trunk, ended, -1 FROM spans
        UNION ALL SELECT pbx, trunk, starts_at, 0 FROM (SELECT DISTINCT pbx, trunk FROM {trunks}), buckets
    ) GROUP BY pbx, trunk, instant
),
levels AS (SELECT pbx, trunk, instant, sum(step) OVER (PARTITION BY pbx, trunk ORDER BY instant) AS level FROM steps)
SELECT starts_at, pbx, trunk, max(level)::BIGINT AS calls, -(max(ROW(level, -instant))[2]) AS peak_at
FROM levels ASOF JOIN buckets ON instant >= starts_at
WHERE instant < {until} GROUP BY starts_at, pbx, trunk ORDER BY starts_at, pbx, trunk
"""
"""Per interval that begins at one of `$bucket_starts`, and per trunk of a PBX: the peak, and when it was first
reached.
"""


def concurrency_source(test: str, *, by_trunk: bool) -> dict[str, str]:
    """Return the arguments of `CONCURRENCY_QUERY`: the calls that match a test, all together or by PBX and trunk."""
    spans_sql = (_TRUNK_SPANS if by_trunk else _ALL_SPANS).format(test=test)
    return {"spans": spans_sql, "trunks": "spans" if by_trunk else "(SELECT '' AS pbx, '' AS trunk)"}
