"""Counters of requests, in the file of the ledger."""

import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from onhook.ledger.contract import Counter, CounterKey
from onhook.lib.errors import Unavailable
from onhook.lib.messages import _

COUNTERS_MAX = 1_000
"""Counters of one kind, and in one result: forged serial numbers must not fill the disk."""

OTHER_LABEL = "others"
"""The label of counters that were merged to stay within the limit."""


def upsert_counts(
    connection: sqlite3.Connection, counts: Mapping[CounterKey, int], now_us: int, peers: Mapping[CounterKey, str]
) -> None:
    """Add to counters; `peers` are the addresses of the last senders."""
    rows = [(key.kind, key.sn, key.label, count, now_us, now_us, peers.get(key, "")) for key, count in counts.items()]
    connection.executemany(_UPSERT_COUNTER, rows)
    for kind in {key.kind for key in counts}:
        _merge_oldest_counters(connection, kind)


def update_counts(connection: sqlite3.Connection, counts: Mapping[CounterKey, int]) -> None:
    """Subtract from counters, and delete those that fall to 0."""
    condition = "kind = ? AND sn = ? AND label = ?"
    keys = [(key.kind, key.sn, key.label) for key in counts]
    connection.executemany(
        f"UPDATE counters SET count = count - ? WHERE {condition}",
        [(count, *key) for key, count in zip(keys, counts.values(), strict=True)],
    )
    connection.executemany(f"DELETE FROM counters WHERE {condition} AND count <= 0", keys)


_SELECT_COUNTERS = "SELECT kind, sn, label, count, first_at, last_at, last_peer FROM counters"

_UPSERT_COUNTER = """INSERT INTO counters (kind, sn, label, count, first_at, last_at, last_peer)
    VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET count = count + excluded.count,
        last_peer = CASE WHEN excluded.last_at < last_at OR excluded.last_peer = '' THEN last_peer
            ELSE excluded.last_peer END,
        first_at = min(first_at, excluded.first_at), last_at = max(last_at, excluded.last_at)"""


def _merge_oldest_counters(connection: sqlite3.Connection, kind: str) -> None:
    """Merge the least recently updated counters of a kind, so that the newest unknown PBX is always listed."""
    (total,) = connection.execute("SELECT count(*) FROM counters WHERE kind = ?", (kind,)).fetchone()
    if total <= COUNTERS_MAX:
        return
    oldest = connection.execute(
        f"{_SELECT_COUNTERS} WHERE kind = ? AND label <> ? ORDER BY last_at LIMIT ?",
        (kind, OTHER_LABEL, total - COUNTERS_MAX + 1),
    ).fetchall()
    connection.executemany("DELETE FROM counters WHERE kind = ? AND sn = ? AND label = ?", [row[:3] for row in oldest])
    connection.executemany(_UPSERT_COUNTER, [(kind, "", OTHER_LABEL, *row[3:]) for row in oldest])


def select_counters(connection: sqlite3.Connection) -> list[Counter]:
    """Return the latest counters, as many of each kind: forged serial numbers of one kind hide no other."""
    rows: Iterable[tuple[str, str, str, int, int, int, str]] = connection.execute(
        f"""WITH ranked AS ({_SELECT_COUNTERS}
            ORDER BY row_number() OVER (PARTITION BY kind ORDER BY last_at DESC, sn, label) LIMIT ?)
        SELECT * FROM ranked ORDER BY last_at DESC, kind, sn, label""",
        (COUNTERS_MAX,),
    )
    return [Counter(*row) for row in rows]


def _select_counters_of(connection: sqlite3.Connection, sns: Sequence[str]) -> list[Counter]:
    marks = ", ".join("?" * len(sns))
    rows: Iterable[tuple[str, str, str, int, int, int, str]] = connection.execute(
        f"""{_SELECT_COUNTERS} WHERE upper(sn) IN ({marks}) OR upper(label) IN ({marks})
        ORDER BY last_at DESC, kind, sn, label LIMIT ?""",
        (*sns, *sns, COUNTERS_MAX),
    )
    return [Counter(*row) for row in rows]


def read_counters(path: Path, sns: Collection[str]) -> list[Counter]:
    """Return the counters of a ledger with one of these serial numbers, in capitals or not, also as the label: the
    latest first, at most 1,000, none without a file. Only reads the ledger. Raises `Unavailable`.
    """
    if not path.exists():
        return []
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            return _select_counters_of(connection, [sn.upper() for sn in sns])
    except sqlite3.Error as error:
        raise Unavailable(_("cannot read the ledger: {error}", error=error), location=str(path)) from error
