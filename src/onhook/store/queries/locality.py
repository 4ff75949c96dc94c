"""Which of many calls are in the store, and in which corners of the file: asked for each batch that is put.

Nearly all calls of a batch are of the same few minutes; late reports are of other times. Each such time is a corner of
the file of its own: to look into a few corners takes milliseconds, to look for everything in between hundreds of them.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import duckdb
import msgspec

from onhook.store.contract import CallKey
from onhook.store.schema import call_key

CORNERS_MAX = 12
"""Each is a question of its own; a batch of calls of more times than this looks for some of them together."""

CORNER_SECONDS = 86_400
"""Calls that began within this of the next are in one corner; DuckDB reads some 120,000 rows at once anyway."""


class Corner(msgspec.Struct, frozen=True):
    """Some calls whose rows are near each other."""

    keys: Sequence[CallKey]
    call_keys: Sequence[int]

    @property
    def values(self) -> dict[str, object]:
        """What `OF_KEYS` names."""
        return {
            "call_key": self.call_keys,
            "sn": [sn for sn, _ in self.keys],
            "call_id": [call_id for _, call_id in self.keys],
        }

    def within(self, table: str) -> str:
        """A condition for rows in this corner of a table."""
        return f"{table}.call_key BETWEEN {self.call_keys[0]} AND {self.call_keys[-1]}"


OF_KEYS = "(SELECT unnest($call_key) AS call_key, unnest($sn) AS sn, unnest($call_id) AS call_id)"
"""The keys of a corner as a table, to be joined by all three columns."""


def corners(keys: Sequence[CallKey]) -> Iterator[Corner]:
    """The keys, corner by corner."""
    placed = sorted((call_key(key[1]), key) for key in set(keys))
    for begin, end in _cut([place for place, _ in placed]):
        yield Corner([key for _, key in placed[begin:end]], [place for place, _ in placed[begin:end]])


def stored(connection: duckdb.DuckDBPyConnection, corner: Corner) -> list[CallKey]:
    """Those of the keys under which there is a call."""
    # New calls come at the end of the file, where few others are: to read those is faster than to hand in all keys.
    near: list[CallKey] = connection.execute(
        f"SELECT sn, call_id FROM calls WHERE {corner.within('calls')} LIMIT {len(corner.keys) + 1}"
    ).fetchall()
    if len(near) <= len(corner.keys):
        return list(set(near).intersection(corner.keys))
    return connection.execute(
        f"SELECT sn, call_id FROM calls JOIN {OF_KEYS} AS wanted USING (call_key, sn, call_id)"
        f" WHERE {corner.within('calls')}",
        corner.values,
    ).fetchall()


def _cut(places: Sequence[int]) -> Iterator[tuple[int, int]]:
    """From where to where in an ascending list the corners go: cut at the widest gaps."""
    gaps = [(after - before, number) for number, (before, after) in enumerate(pairwise(places), 1)]
    wide = sorted(gap for gap in gaps if gap[0] > CORNER_SECONDS)[-CORNERS_MAX + 1 :]
    cuts = [0, *sorted(number for _, number in wide), len(places)]
    return ((begin, end) for begin, end in pairwise(cuts) if end > begin)
