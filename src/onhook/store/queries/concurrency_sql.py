"""SQL that counts concurrent calls: each call is a step up and a step down, and the running sum is their number.

Each interval begins with a step of zero, so that calls of the interval before count in it too.
"""

_CALL_SPANS = (
    "SELECT {trunk} AS trunk, started_at AS begun, ended_at AS ended FROM calls WHERE {{test}} AND {span_test}"
)
_ALL_SPANS = _CALL_SPANS.format(trunk="''", span_test="ended_at > started_at")
_TRUNK_SPANS = " UNION ALL ".join(
    _CALL_SPANS.format(trunk=name, span_test=f"ended_at > started_at AND {name} <> ''{unless}")
    for name, unless in (("src_trunk_name", ""), ("dst_trunk_name", " AND dst_trunk_name <> src_trunk_name"))
)

CONCURRENCY_QUERY = """
WITH spans AS ({spans}),
buckets AS (SELECT unnest($bucket_starts) AS starts_at),
steps AS (
    SELECT trunk, instant, sum(step) AS step FROM (
        SELECT trunk, begun AS instant, 1 AS step FROM spans
        UNION ALL SELECT trunk, ended, -1 FROM spans
        UNION ALL SELECT trunk, starts_at, 0 FROM (SELECT DISTINCT trunk FROM {trunks}), buckets
    ) GROUP BY trunk, instant
),
levels AS (SELECT trunk, instant, sum(step) OVER (PARTITION BY trunk ORDER BY instant) AS level FROM steps)
SELECT starts_at, trunk, max(level)::BIGINT AS calls, -(max(ROW(level, -instant))[2]) AS peak_at
FROM levels ASOF JOIN buckets ON instant >= starts_at
WHERE instant < {until} GROUP BY starts_at, trunk ORDER BY starts_at, trunk
"""
"""Per interval that begins at one of `$bucket_starts`, and per trunk: the peak, and when it was first reached."""


def concurrency_source(test: str, *, by_trunk: bool) -> dict[str, str]:
    """Return the arguments of `CONCURRENCY_QUERY`: the calls that match a test, all together or by trunk."""
    spans_sql = (_TRUNK_SPANS if by_trunk else _ALL_SPANS).format(test=test)
    return {"spans": spans_sql, "trunks": "spans" if by_trunk else "(SELECT '' AS trunk)"}
