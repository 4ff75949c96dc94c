"""A cell made by the database is the cell that `cdr/csv_injection.py` makes."""

import csv
import io
import re

import duckdb
from hypothesis import given
from hypothesis import strategies as st

from onhook.cdr.csv_injection import escape_formula
from onhook.store.export import csv as csv_lines
from onhook.store.queries.zones import ZoneOffset
from onhook.store.schema import TABLES

TEXT = "unnest($texts) AS text"
TEXTS = st.text(st.sampled_from("'=+-@\t\r\n\",;aZ0 9é🎧\x1f"), max_size=8)


@given(st.lists(TEXTS, min_size=1, max_size=50))
def test_cells_are_what_the_rule_says(texts: list[str]) -> None:
    """For every text: harmless, and quoted so that a reader of RFC 4180 sees exactly that."""
    cells = _made(csv_lines.cell_expression("text"), TEXT, texts=texts)
    for text, cell in zip(texts, cells, strict=True):
        assert next(csv.reader(io.StringIO(cell, newline=""), strict=True), [""]) == [escape_formula(text)]


@given(st.lists(st.lists(TEXTS, min_size=3, max_size=3), min_size=1, max_size=20))
def test_no_odd_text_is_taken_for_plain(rows: list[list[str]]) -> None:
    """One look at a whole row finds every text that needs care, wherever it stands in the row."""
    joined = ["\x1f".join(row) for row in rows]
    odd = _made("regexp_matches(text, $odd)::VARCHAR", TEXT, texts=joined, odd=_ODD)
    for row, seen in zip(rows, odd, strict=True):
        if any(escape_formula(text) != text or re.search('[",\r\n]', text) for text in row):
            assert seen == "true", row


def test_a_telephone_number_is_plain() -> None:
    """Numbers with a plus sign are in nearly every row: they must not make it slow."""
    texts = ["+4930555\x1f1001\x1f", "+49\x1f+49", "trunk-1\x1f+1", ""]
    assert _made("regexp_matches(text, $odd)::VARCHAR", TEXT, texts=texts, odd=_ODD) == ["false"] * len(texts)


def test_every_column_is_a_column() -> None:
    """The line can be made of the table as it is, with and without changes of the clock."""
    columns = ", ".join(f"NULL::{kind} AS {name}" for name, kind in TABLES["legs"].items())
    for known in ([ZoneOffset(0, 0)], [ZoneOffset(0, 3600), ZoneOffset(5, -12_600)]):
        with duckdb.connect() as connection:
            ((line,),) = connection.execute(csv_lines.csv_line_query(known, f"(SELECT {columns})")).fetchall()
        assert line.count(b",") == csv_lines.HEADER_LINE.count(b",")


_ODD = csv_lines.NEEDS_ESCAPING_PATTERN.replace("''", "'")


def _made(expression: str, columns: str, **values: object) -> list[str]:
    question = f"SELECT {expression} FROM (SELECT {columns})"  # noqa: S608 - both are ours, the values are bound
    with duckdb.connect() as connection:
        return [row[0] for row in connection.execute(question, values).fetchall()]
