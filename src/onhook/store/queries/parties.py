"""Numbers and trunks in calls: what is known of a PBX's extensions, queues and contacts without asking it."""

from collections.abc import Sequence

import duckdb

from onhook.cdr.identity import CALLEE_KIND, extract_name
from onhook.cdr.record_filter import RecordFilter
from onhook.lib.errors import UsageError
from onhook.lib.messages import _
from onhook.store.queries.conditions import leg_condition
from onhook.store.seen_parties import NUMBERS_MAX, PARTIES_MAX, SeenNumber, SeenParty, SeenTrunk

_KIND = f"CASE WHEN extra LIKE '%\"{CALLEE_KIND}\"%' THEN json_extract_string(extra, '$.{CALLEE_KIND}') END"
_CALLERS = "SELECT sn, from_number AS number, call_from AS text, NULL AS kind, started_at FROM legs WHERE {test}"
_CALLEES = f"SELECT sn, to_number, call_to, {_KIND}, started_at FROM legs WHERE {{test}}"
_INSIDE = ("src_trunk_name = '' AND from_number <> ''", "dst_trunk_name = '' AND to_number <> ''")
_OUTSIDE = ("src_trunk_name <> '' AND call_from IS NOT NULL", "dst_trunk_name <> '' AND call_to IS NOT NULL")

_QUERY = f"""
SELECT sn, number, coalesce(arg_max(text, started_at) FILTER (text IS NOT NULL), number), coalesce(max(kind), '')
FROM ({{parties}}) GROUP BY sn, number ORDER BY max(started_at) DESC, sn, number LIMIT {PARTIES_MAX}
"""


def list_parties(connection: duckdb.DuckDBPyConnection, sns: Sequence[str], *, is_external: bool) -> list[SeenParty]:
    """See `Store.list_parties`."""
    in_pbxs = " AND sn IN (SELECT unnest($sns))" if sns else ""
    caller_test, callee_test = _OUTSIDE if is_external else _INSIDE
    parties = f"{_CALLERS.format(test=caller_test + in_pbxs)} UNION ALL {_CALLEES.format(test=callee_test + in_pbxs)}"
    rows = connection.execute(_QUERY.format(parties=parties), {"sns": list(sns)} if sns else {}).fetchall()
    return [SeenParty(sn=sn, number=number, name=_name(number, text), kind=kind) for sn, number, text, kind in rows]


def list_numbers(
    connection: duckdb.DuckDBPyConnection, record_filter: RecordFilter, number: str | None
) -> list[SeenNumber]:
    """See `Store.list_numbers`."""
    condition = leg_condition(
        RecordFilter(
            since=record_filter.since,
            until=record_filter.until,
            pbx=record_filter.pbx,
            sn=record_filter.sn,
            scope=record_filter.scope,
        )
    )
    values = condition.values | ({} if number is None else {"number": number})
    sides = (
        f"SELECT sn, {side}_number AS number, {trunk} <> '' AS is_outside FROM legs WHERE {condition.sql}"
        + ("" if number is None else f" AND {side}_number = $number")
        for side, trunk in (("from", "src_trunk_name"), ("to", "dst_trunk_name"))
    )
    rows = connection.execute(
        f"SELECT DISTINCT sn, number, is_outside FROM ({' UNION ALL '.join(sides)}) LIMIT {NUMBERS_MAX + 1}", values
    ).fetchall()
    if len(rows) > NUMBERS_MAX:
        raise UsageError(
            _("more than {limit} numbers are compared with a masked one", limit=NUMBERS_MAX),
            hint=_("narrow the period"),
        )
    return [SeenNumber(*row) for row in rows]


def list_trunks(connection: duckdb.DuckDBPyConnection, sns: Sequence[str]) -> list[SeenTrunk]:
    """See `Store.list_trunks`."""
    in_pbxs = "WHERE sn IN (SELECT unnest($sns))" if sns else ""
    rows = connection.execute(
        f"SELECT DISTINCT sn, unnest([src_trunk_name, dst_trunk_name]) AS name FROM calls {in_pbxs}"
        f" ORDER BY name, sn LIMIT {PARTIES_MAX}",
        {"sns": list(sns)} if sns else {},
    ).fetchall()
    return [SeenTrunk(sn=sn, name=name) for sn, name in rows if name]


def _name(number: str, text: str) -> str:
    """Return the name in a party; empty where it is the number again."""
    name = extract_name(text)
    return "" if name == number else name
