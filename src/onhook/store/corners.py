"""Which of many calls are in the store, and in which corner of the file: asked for each batch that is put."""

from collections.abc import Sequence

import duckdb

from onhook.store.schema import call_key
from onhook.store.store import CallKey

OF_KEYS = "(SELECT unnest($call_key) AS call_key, unnest($sn) AS sn, unnest($call_id) AS call_id)"
"""The keys as a table; to be joined by all three columns, of which the first says where in the file to look."""


def stored(connection: duckdb.DuckDBPyConnection, keys: Sequence[CallKey]) -> list[CallKey]:
    """Those of the keys under which there is a call."""
    corners = [call_key(call_id) for _, call_id in keys]
    # Ids that tell their time, and the others: together they would span the whole file.
    timed = [place for place, corner in enumerate(corners) if corner > 0]
    untimed = [place for place, corner in enumerate(corners) if corner < 0]
    return [
        key
        for places in (timed, untimed)
        if places
        for key in _stored(connection, [keys[place] for place in places], [corners[place] for place in places])
    ]


def named(keys: Sequence[CallKey]) -> dict[str, object]:
    """The values that `OF_KEYS` names."""
    return {
        "call_key": [call_key(call_id) for _, call_id in keys],
        "sn": [sn for sn, _ in keys],
        "call_id": [call_id for _, call_id in keys],
    }


def _stored(connection: duckdb.DuckDBPyConnection, keys: Sequence[CallKey], corners: Sequence[int]) -> list[CallKey]:
    """New calls come at the end of the file, where few others are: to read those is faster than to hand in all keys."""
    near: list[CallKey] = connection.execute(
        f"SELECT sn, call_id FROM calls WHERE call_key BETWEEN $first AND $last LIMIT {len(keys) + 1}",
        {"first": min(corners), "last": max(corners)},
    ).fetchall()
    if len(near) <= len(keys):
        return list(set(near).intersection(keys))
    return connection.execute(
        f"SELECT sn, call_id FROM calls JOIN {OF_KEYS} AS wanted USING (call_key, sn, call_id)", named(keys)
    ).fetchall()
