"""Statements with their parameters, for PostgreSQL."""

from typing import Any

import pytest

from onhook.appdb.contract import InvalidValue
from onhook.appdb.postgresql_statements import translate


@pytest.mark.parametrize(
    ("sql", "values", "expected"),
    [
        ("SELECT ?, ?", (1, "a"), ("SELECT $1::bigint, $2::text", [1, "a"])),
        ("SELECT ?2, ?1, ?2", (1, "a"), ("SELECT $1::text, $2::bigint, $1::text", ["a", 1])),
        ("SELECT ?, ?, ?", (None, b"a", 0.5), ("SELECT NULL, $1::bytea, $2::double precision", [b"a", 0.5])),
        ("SELECT ?1 IS NULL OR a < ?1", (None,), ("SELECT NULL IS NULL OR a < NULL", [])),
        ("SELECT ?", (True,), ("SELECT $1::bigint", [1])),
        (r"""SELECT '?', 'it''s ?', "a?" WHERE a LIKE ? ESCAPE '\'""", ("b",), None),
    ],
)
def test_translate_parameters(sql: str, values: tuple[Any, ...], expected: tuple[str, list[Any]] | None) -> None:
    """Each has the type of its value; flags are numbers; texts and quoted names stay as they are."""
    text, parameters = translate(sql, values)
    assert (text, parameters) == (expected or (sql.replace("LIKE ?", "LIKE $1::text"), ["b"]))
    assert [type(value) for value in parameters if value == 1] in ([], [int])


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, "geheim\ud800", "geheim\0"], ids=ascii)
def test_translate_value_that_cannot_be_stored_is_rejected_without_being_shown(value: object) -> None:
    with pytest.raises(InvalidValue) as caught:
        translate("SELECT ?", (value,))
    assert "geheim" not in str(caught.value)
