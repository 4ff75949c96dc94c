"""Numbers and trunks in calls: what is known of a PBX's extensions, queues and contacts without asking it."""

from collections.abc import Sequence

import duckdb

from onhook.cdr.identity import CALLEE_KIND, extract_name
from onhook.store.contract import PARTIES_MAX, SeenParty, SeenTrunk

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
