"""Look-up of many calls by key and of many rows by id, range by range: used for each batch that is stored, and for each
page.

Nearly all calls of a batch are of the same few minutes; late events are of other times. Each such time is a separate
range of the file: searching a few ranges takes milliseconds, searching everything in between takes hundreds of them.
"""

from collections.abc import Collection, Iterator, Sequence
from itertools import pairwise

import duckdb
import msgspec

from onhook.cdr.identity import CallKey
from onhook.store.queries.conditions import SqlCondition
from onhook.store.schema import call_key

KEY_RANGES_MAX = 12
"""Each range is a query of its own; a batch with more ranges searches some of them together."""

KEY_RANGE_GAP_SECONDS = 86_400
"""Calls that began within this of the next are in one range; DuckDB reads some 120,000 rows at once anyway."""

ROW_ID_GAP = 131_072
"""Rows within this of the next are in one range: reading a row group of 122,880 rows between two costs less than the
comparison of all others with one more range.
"""


class KeyRange(msgspec.Struct, frozen=True):
    """Calls whose rows are close together."""

    keys: Sequence[CallKey]
    call_keys: Sequence[int]

    @property
    def values(self) -> dict[str, object]:
        """Return the parameters of a query for these calls."""
        return {
            "call_key": self.call_keys,
            "sn": [sn for sn, _ in self.keys],
            "call_id": [call_id for _, call_id in self.keys],
        }

    def condition(self, table: str) -> str:
        """Return the condition for this range of a table."""
        return f"{table}.call_key BETWEEN {self.call_keys[0]} AND {self.call_keys[-1]}"


KEYS_TABLE = "(SELECT unnest($call_key) AS call_key, unnest($sn) AS sn, unnest($call_id) AS call_id)"
"""The keys of a range as a table, to be joined by all three columns."""


def key_ranges(keys: Sequence[CallKey]) -> Iterator[KeyRange]:
    """Yield the keys, range by range."""
    sorted_keys = sorted((call_key(key[1]), key) for key in set(keys))
    for begin, end in _split_at_gaps([number for number, _ in sorted_keys], KEY_RANGE_GAP_SECONDS):
        yield KeyRange([key for _, key in sorted_keys[begin:end]], [number for number, _ in sorted_keys[begin:end]])


def existing_keys(connection: duckdb.DuckDBPyConnection, key_range: KeyRange) -> list[CallKey]:
    """Return the keys that have a call."""
    # New calls are at the end of the file, among few others: reading those is faster than passing all keys.
    nearby_keys: list[CallKey] = connection.execute(
        f"SELECT sn, call_id FROM calls WHERE {key_range.condition('calls')} LIMIT {len(key_range.keys) + 1}"
    ).fetchall()
    if len(nearby_keys) <= len(key_range.keys):
        return list(set(nearby_keys).intersection(key_range.keys))
    return connection.execute(
        f"SELECT sn, call_id FROM calls JOIN {KEYS_TABLE} AS wanted USING (call_key, sn, call_id)"
        f" WHERE {key_range.condition('calls')}",
        key_range.values,
    ).fetchall()


def in_row_ids(row_ids: Collection[int]) -> SqlCondition:
    """Return the condition for rows with these ids, at least one."""
    condition = _in_ranges("rowid", sorted(row_ids), ROW_ID_GAP)
    return SqlCondition(f"rowid IN (SELECT unnest($row_ids)) AND {condition}", {"row_ids": list(row_ids)})


def in_call_keys(call_keys: Collection[int]) -> SqlCondition:
    """Return the condition for rows with these values of `call_key`, at least one."""
    condition = _in_ranges("call_key", sorted(call_keys), KEY_RANGE_GAP_SECONDS)
    return SqlCondition(f"call_key IN (SELECT unnest($call_keys)) AND {condition}", {"call_keys": list(call_keys)})


def _in_ranges(column: str, numbers: Sequence[int], gap: int) -> str:
    """Return the condition for the few ranges of these ascending numbers: DuckDB skips row groups by it, which it does
    not do by a list.
    """
    ranges = (
        f"{column} BETWEEN {numbers[begin]} AND {numbers[end - 1]}" for begin, end in _split_at_gaps(numbers, gap)
    )
    return f"({' OR '.join(ranges)})"


def _split_at_gaps(numbers: Sequence[int], gap: int) -> Iterator[tuple[int, int]]:
    """Yield the bounds of the ranges of an ascending list, split at its widest gaps that are wider than `gap`."""
    gaps = [(following - previous, index) for index, (previous, following) in enumerate(pairwise(numbers), 1)]
    widest_gaps = sorted(wide_gap for wide_gap in gaps if wide_gap[0] > gap)[-KEY_RANGES_MAX + 1 :]
    cuts = [0, *sorted(index for _, index in widest_gaps), len(numbers)]
    return ((begin, end) for begin, end in pairwise(cuts) if end > begin)
