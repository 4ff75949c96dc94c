"""Missed calls, and the calls that returned them."""

import duckdb

from onhook.cdr.filter import Filter
from onhook.cdr.journey import ANSWERED_SPELLINGS
from onhook.errors import UsageError
from onhook.store.conditions import Condition, for_calls
from onhook.store.rows import Row, moment
from onhook.store.store import LINE_DIGITS, PAGE_MAX, MissedCall, MissedCalls

_SPELLINGS = ", ".join(f"'{spelling}'" for spelling in sorted(ANSWERED_SPELLINGS))
_ANSWERED = f"status_folded IN ({_SPELLINGS})"
_DIGITS = "regexp_replace({number}, '[^0-9]', '', 'g')"
_LINE = f"right({_DIGITS}, {LINE_DIGITS})"
_MISSED_COLUMNS = "sn, pbx, call_id, call_key, started_at, from_number, status, wait_duration, did_number"

_QUESTION = f"""
WITH missed AS (
    SELECT {_MISSED_COLUMNS}, {_LINE.format(number="from_number")} AS line FROM calls
    WHERE {{test}} AND NOT {_ANSWERED}
),
spoken AS (
    SELECT {_LINE.format(number="from_number")} AS line, started_at, sn, call_id FROM calls
    WHERE {{seen}} AND {_ANSWERED}
    UNION ALL
    SELECT {_LINE.format(number="to_number")}, started_at, sn, call_id FROM calls WHERE {{seen}} AND {_ANSWERED}
),
judged AS MATERIALIZED (
    SELECT missed.*, spoken.sn AS by_sn, spoken.call_id AS by_call_id, spoken.started_at AS returned_at
    FROM missed ASOF LEFT JOIN (
        SELECT line, started_at, min(ROW(sn, call_id)) AS first_call, first_call[1] AS sn, first_call[2] AS call_id
        FROM spoken WHERE line <> '' GROUP BY line, started_at
    ) AS spoken ON missed.line = spoken.line AND missed.started_at < spoken.started_at
)
"""
_ANSWER = f"""
SELECT counts.*, listed.* FROM (SELECT count(*), count(by_sn), count(*) FILTER (line = '') FROM judged) AS counts
LEFT JOIN (
    SELECT {", ".join(f"judged.{name.strip()}" for name in _MISSED_COLUMNS.split(","))}, by_sn, by_call_id, returned_at,
        (SELECT coalesce(call_from, from_number) FROM legs WHERE legs.call_key = judged.call_key
            AND legs.sn = judged.sn AND legs.call_id = judged.call_id AND place = 0) AS call_from
    FROM judged WHERE {{kind}} ORDER BY judged.started_at DESC, judged.sn, judged.call_id LIMIT {{limit}}
) AS listed ON true ORDER BY listed.started_at DESC, listed.sn, listed.call_id
"""


def missed(connection: duckdb.DuckDBPyConnection, where: Filter, limit: int, *, is_returned: bool) -> MissedCalls:
    """See `Store.missed`."""
    if not 1 <= limit <= PAGE_MAX:
        raise UsageError(f"a page has 1 to {PAGE_MAX} rows, not {limit}", where="limit", todo="ask for fewer")
    condition = for_calls(where)
    kind = "by_sn IS NOT NULL" if is_returned else "by_sn IS NULL AND line <> ''"
    question = _QUESTION.format(test=condition.sql, seen=_seen(where).sql) + _ANSWER.format(kind=kind, limit=limit)
    rows = connection.execute(question, condition.values).fetchall()
    # There is a row of counts also where nothing is listed beside them.
    everything, returned, anonymous = rows[0][:3]
    return MissedCalls(
        missed=everything,
        returned=returned,
        unreturned=everything - returned - anonymous,
        anonymous=anonymous,
        data=[_missed_call(row[3:]) for row in rows if row[3] is not None],
    )


def _seen(where: Filter) -> Condition:
    """What may return a call: all that the one who asks may see, from the first missed one on."""
    return for_calls(Filter(since=where.since, within=where.within))


def _missed_call(row: Row) -> MissedCall:
    sn, pbx, call_id, _, started_at, _, status, wait_duration, did_number, by_sn, by_call_id, returned_at, call_from = (
        row
    )
    return MissedCall(
        sn=sn,
        pbx=pbx,
        call_id=call_id,
        started_at=moment(started_at * 1_000_000),
        call_from=call_from,
        status=status,
        wait_duration=wait_duration,
        did_number=did_number,
        returned_by=None if by_sn is None else (by_sn, by_call_id),
        returned_at=None if returned_at is None else moment(returned_at * 1_000_000),
    )
