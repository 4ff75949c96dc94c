"""Statements as PostgreSQL takes them: `$1` in place of `?`, each with the type of its value.

The server derives types of parameters from their first use alone, and rejects many statements where that says nothing,
such as `? IS NULL`. So each parameter gets the type of its value, and NULL is written into the statement.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from onhook.appdb.contract import InvalidValue
from onhook.lib.messages import _

STATEMENTS_MAX = 2_048
"""Translated statements that are kept: Onhook has some hundreds, a few of them with several types of values."""

INTEGER_MIN, INTEGER_MAX = -(2**63), 2**63 - 1

_TOKEN = re.compile(r"""'(?:[^']|'')*'|"[^"]*"|\?(\d*)""")
_TYPES = {bool: "bigint", int: "bigint", str: "text", bytes: "bytea", float: "double precision", type(None): "NULL"}


def translate(sql: str, values: Sequence[Any]) -> tuple[str, list[Any]]:
    """Return a statement and its values for PostgreSQL. Raises `InvalidValue`."""
    types = tuple([_type(value) for value in values])
    text, indexes = _translate(sql, types)
    # The flags of the database are numbers.
    return text, [int(value) if (value := values[index]).__class__ is bool else value for index in indexes]


@lru_cache(STATEMENTS_MAX)
def _translate(sql: str, types: tuple[str, ...]) -> tuple[str, tuple[int, ...]]:
    """Return the statement, and the indexes of the values that it takes, in order.

    >>> _translate("SELECT '?' WHERE a = ?2 OR ?1 IS NULL OR b = ?2", ("NULL", "text"))
    ("SELECT '?' WHERE a = $1::text OR NULL IS NULL OR b = $1::text", (1,))
    """
    indexes: list[int] = []
    count = 0

    def replace(match: re.Match[str]) -> str:
        nonlocal count
        if match[1] is None:
            return match[0]
        index = int(match[1]) - 1 if match[1] else count
        count += 1
        if types[index] == "NULL":
            return "NULL"
        if index not in indexes:
            indexes.append(index)
        return f"${indexes.index(index) + 1}::{types[index]}"

    return _TOKEN.sub(replace, sql), tuple(indexes)


def _type(value: Any) -> str:
    if isinstance(value, str):
        _check_text(value)
        return "text"
    if isinstance(value, int) and not INTEGER_MIN <= value <= INTEGER_MAX:
        raise _invalid_value_error(_("an integer of more than 64 bits"))
    return _TYPES[type(value)]


def _check_text(text: str) -> None:
    if "\0" in text:
        raise _invalid_value_error(_("a text with a NUL character"))
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise _invalid_value_error(error.reason) from None


def _invalid_value_error(reason: str) -> InvalidValue:
    # Without the value, which may be a secret.
    return InvalidValue(
        _("the application database cannot have such a value: {error}", error=reason),
        hint=_("use a smaller number, or a text of valid characters"),
    )
