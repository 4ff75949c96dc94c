"""Columns that hold JSON, with the version of its form; and rows that this Onhook cannot read.

A row that cannot be read is left out of every list, so that it is disabled and nothing else is; `Unreadable` names it
with the reason.
"""

from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Generic, TypeVar, cast

import msgspec

from onhook.appdb.contract import DamagedText, Row
from onhook.lib.errors import OnhookError
from onhook.lib.messages import _

VERSION = 1
"""Of the form of all JSON columns. A newer Onhook may write another one."""

REASON_CHARACTERS_MAX = 300

CHECKED_ROWS_MAX = 1_000
"""Latest rows that are checked of a table which grows with use, such as the audit log: as many as pages show."""

ValueT = TypeVar("ValueT")


class UnreadableRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row that cannot be read: its table, its name there, and the reason."""

    table: str
    name: str
    reason: str


class RowUnreadable(OnhookError):
    """The stored form is damaged, or that of a newer Onhook; everything else works."""

    http_status = 409


class _Stored(msgspec.Struct, Generic[ValueT]):
    version: int
    value: ValueT


def encode_column(value: object) -> str:
    """Return the text of a column."""
    return msgspec.json.encode(_Stored(VERSION, value)).decode()


def decode_column(text: str, value_type: type[ValueT]) -> ValueT:
    """Return the value of a column. Raises `RowUnreadable`."""
    if isinstance(text, DamagedText):
        raise _damaged_text_error()
    try:
        stored = _decoder(cast("Hashable", value_type)).decode(text)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise _error(str(error)) from error
    if stored.version != VERSION:
        raise _error(_("version {version}, supported: {supported}", version=stored.version, supported=VERSION))
    value: ValueT = stored.value
    return value


def encode_json_text(text: str) -> str:
    """Return the text of a column for a value that is JSON already; an empty one stays empty."""
    return encode_column(msgspec.Raw(text.encode())) if text else ""


def decode_json_text(text: str) -> str:
    """Return the JSON of a column, empty where it is empty. Raises `RowUnreadable`."""
    return bytes(decode_column(text, msgspec.Raw)).decode() if text else ""


def read_rows(rows: Iterable[Row], read: Callable[[Row], ValueT]) -> list[ValueT]:
    """Return what the rows contain, without those that cannot be read."""
    return [value for row in rows if not isinstance(value := _read(row, read), RowUnreadable)]


def read_row(row: Row, read: Callable[[Row], ValueT]) -> ValueT:
    """Return what one row contains. Raises `RowUnreadable`."""
    value = _read(row, read)
    if isinstance(value, RowUnreadable):
        raise value
    return value


def list_unreadable(
    table: str, rows: Iterable[Row], read: Callable[[Row], Any], *, name_columns: Sequence[int] = (0,)
) -> list[UnreadableRow]:
    """Return the rows that cannot be read; `name_columns` are the numbers of the columns that name a row."""
    return [
        UnreadableRow(table=table, name=" ".join(str(row[column]) for column in name_columns), reason=value.message)
        for row in rows
        if isinstance(value := _read(row, read), RowUnreadable)
    ]


async def collect_unreadable(
    listers: Mapping[str, Callable[[], Awaitable[list[UnreadableRow]]]],
) -> list[UnreadableRow]:
    """Return the unreadable rows of all tables; a table that cannot be read at all is a row without a name."""
    unreadable: list[UnreadableRow] = []
    for table, list_rows in listers.items():
        try:
            unreadable += await list_rows()
        except OnhookError as error:
            unreadable.append(UnreadableRow(table=table, name="", reason=str(error)))
    return unreadable


def _read(row: Row, read: Callable[[Row], ValueT]) -> ValueT | RowUnreadable:
    if any(isinstance(value, DamagedText) for value in row):
        return _damaged_text_error()
    try:
        return read(row)
    except RowUnreadable as error:
        return error
    except OnhookError as error:
        return _error(error.message)
    except (ValueError, TypeError, OverflowError, LookupError, AttributeError) as error:
        # Whatever stands in a column: the row is to blame, and no other row suffers.
        return _error(f"{type(error).__name__}: {error}")


def _damaged_text_error() -> RowUnreadable:
    # Without the text, which may be a secret.
    return _error(_("a text is not UTF-8"))


def _error(reason: str) -> RowUnreadable:
    return RowUnreadable(
        _("the stored form cannot be read: {reason}", reason=reason[:REASON_CHARACTERS_MAX]),
        location="onhook.db",
        hint=_("upgrade Onhook, restore a backup, or remove it"),
    )


@cache
def _decoder(value_type: Hashable) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(_Stored[value_type])  # type: ignore[valid-type] # a type at run time
