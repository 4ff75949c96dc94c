"""Changed fields of an entry of the audit log, one row each. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from onhook.lib.messages import _
from onhook.lib.text import UNKNOWN

IDENTITY_FIELDS = ("name", "sn", "call_id", "label")
"""Columns by which a row before a change is recognised after it."""

_EMPTY_VALUES: tuple[object, ...] = (None, "", {}, [])


class FieldChange(msgspec.Struct, frozen=True):
    """A field whose value changed, as texts; a field of a second table or row has its table or number in front."""

    field: str
    before: str
    after: str


def list_field_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[FieldChange]:
    """Return the fields that differ between the rows before and after a change, by table; nested values by path.

    A row that was added or removed has those fields that are not empty.

    >>> list_field_changes({"pbxs": [{"name": "a", "zone": None}]}, {"pbxs": [{"name": "a", "zone": "UTC"}]})
    [FieldChange(field='zone', before='–', after='UTC')]
    """
    if before.get("too_long") or after.get("too_long"):
        return [FieldChange(_("values"), UNKNOWN, _("too long to be stored"))]
    tables = list(dict.fromkeys([*before, *after]))
    return [
        FieldChange(prefix + path, _format_value(old), _format_value(new))
        for table in tables
        for prefix, row_before, row_after in _list_rows(table, before, after, has_prefix=len(tables) > 1)
        for path, old, new in _list_differences(row_before, row_after)
    ]


def _list_rows(
    table: str, before: Mapping[str, Any], after: Mapping[str, Any], *, has_prefix: bool
) -> Iterator[tuple[str, Mapping[str, Any], Mapping[str, Any]]]:
    """Yield the pairs of rows of a table, each with the text in front of its fields."""
    pairs = _pair_rows(_rows(before.get(table)), _rows(after.get(table)))
    for number, (row_before, row_after) in enumerate(pairs, 1):
        word = table.replace("_", " ") if len(pairs) == 1 else f"{table.replace('_', ' ')} {number}"
        yield f"{word}: " if has_prefix or len(pairs) > 1 else "", row_before, row_after


def _rows(value: Any) -> list[Mapping[str, Any]]:
    """Return the rows of a table; another value, of an older entry, is a row with it."""
    values = value if isinstance(value, list) else [] if value is None else [value]
    return [row if isinstance(row, dict) else {"": row} for row in values]


def _pair_rows(
    before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]
) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Return each row before with the same one after, empty where there is none."""
    pairs: list[tuple[Mapping[str, Any], Mapping[str, Any]]] = []
    added_rows, removed_rows = list(after), []
    for row in before:
        match = next((candidate for candidate in added_rows if _identity(candidate) == _identity(row)), None)
        if match is None:
            removed_rows.append(row)
        else:
            added_rows.remove(match)
            pairs.append((row, match))
    # One row that is no longer recognised, and one that is new: it was renamed.
    if len(removed_rows) == len(added_rows) == 1:
        return [*pairs, (removed_rows[0], added_rows[0])]
    return [*pairs, *((row, {}) for row in removed_rows), *(({}, row) for row in added_rows)]


def _identity(row: Mapping[str, Any]) -> tuple[object, ...]:
    return tuple(row.get(name) for name in IDENTITY_FIELDS)


def _list_differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[tuple[str, object, object]]:
    """Yield path, value before and value after of each field that differs."""
    for name in dict.fromkeys([*before, *after]):
        old, new = before.get(name), after.get(name)
        if isinstance(old or {}, dict) and isinstance(new or {}, dict) and (old or new):
            for path, nested_old, nested_new in _list_differences(old or {}, new or {}):
                yield f"{name}.{path}", nested_old, nested_new
        elif old != new and not (_is_empty(old) and _is_empty(new)):
            yield name, old, new


def _is_empty(value: object) -> bool:
    """Return whether a value says nothing: a switch that is off in a new row is one."""
    return value is False or value in _EMPTY_VALUES


def _format_value(value: object) -> str:
    """Return a value as text; a list by commas, anything nested as JSON, an empty one as a dash."""
    if value in _EMPTY_VALUES:
        return UNKNOWN
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if isinstance(value, list) and all(isinstance(item, str | int) for item in value):
        return ", ".join(map(str, value))
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
