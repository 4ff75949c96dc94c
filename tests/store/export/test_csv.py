"""CSV cells from the database equal those of `cdr/csv_injection.py`."""

import csv
import io
import json
import re

import duckdb
from hypothesis import given
from hypothesis import strategies as st

from onhook.cdr.csv_injection import escape_controls, escape_formula
from onhook.store.export import csv as csv_lines
from onhook.store.queries.zones import ZoneOffset
from onhook.store.schema import TABLES

TEXT = "unnest($texts) AS text"
TEXTS = st.text(st.sampled_from("'=+-@\t\r\n\",;aZ0 9é🎧\x1f"), max_size=8)


@given(st.lists(TEXTS, min_size=1, max_size=50))
def test_cell_expression_escapes_and_quotes_any_text(texts: list[str]) -> None:
    """A reader of RFC 4180 reads back the escaped text."""
    cells = _evaluate(csv_lines.cell_expression("text"), TEXT, texts=texts)
    for text, cell in zip(texts, cells, strict=True):
        assert next(csv.reader(io.StringIO(cell, newline=""), strict=True), [""]) == [escape_formula(text)]


@given(st.lists(st.lists(TEXTS, min_size=3, max_size=3), min_size=1, max_size=20))
def test_needs_escaping_finds_every_special_text(rows: list[list[str]]) -> None:
    """One match over a whole row finds each text that needs escaping, in any place of the row."""
    joined = ["\x1f".join(row) for row in rows]
    pattern = _evaluate("regexp_matches(text, $pattern)::VARCHAR", TEXT, texts=joined, pattern=_NEEDS_ESCAPING)
    for row, result in zip(rows, pattern, strict=True):
        if any(escape_formula(text) != text or re.search('[",\r\n]', text) for text in row):
            assert result == "true", row


def test_needs_escaping_ignores_telephone_numbers() -> None:
    """Nearly every row has numbers with a plus sign: they must stay on the fast path."""
    texts = ["+4930555\x1f1001\x1f", "+49\x1f+49", "trunk-1\x1f+1", ""]
    assert _evaluate("regexp_matches(text, $pattern)::VARCHAR", TEXT, texts=texts, pattern=_NEEDS_ESCAPING) == [
        "false"
    ] * len(texts)


CELLS = st.text(st.sampled_from('",\r\n\x00\x1b\x7f\x9b\\x1bé'), max_size=6)


@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=5))
def test_escape_controls_changes_texts_alone(texts: list[tuple[str, str]]) -> None:
    """Each text as `csv_injection` does, `extra` as JSON, and nothing else, whatever the cells contain."""
    names = csv_lines.HEADER_LINE.decode().strip().split(",")
    rows = [
        [
            {"call_from": text, "call_to": "", "extra": json.dumps([other], ensure_ascii=False)}.get(name, "1")
            for name in names
        ]
        for text, other in texts
    ]
    output = io.StringIO(newline="")
    csv.writer(output, lineterminator="\r\n").writerows(rows)
    escaped = csv_lines.escape_controls(output.getvalue().encode()).decode()
    read_rows = list(csv.reader(io.StringIO(escaped, newline=""), strict=True))
    assert re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]", escaped) is None
    for row, read_row in zip(rows, read_rows, strict=True):
        assert json.loads(read_row[-1]) == json.loads(row[-1])
        assert read_row[:-1] == [escape_controls(cell) for cell in row[:-1]]


def test_csv_line_query_uses_columns_of_legs() -> None:
    """Rows that need no escaping are the same lines by both queries."""
    columns = ", ".join(f"NULL::{kind} AS {name}" for name, kind in TABLES["legs"].items())
    for zone_offsets in ([ZoneOffset(0, 0)], [ZoneOffset(0, 3600), ZoneOffset(5, -12_600)]):
        with duckdb.connect() as connection:
            lines = [
                connection.execute(
                    csv_lines.csv_line_query(zone_offsets, f"(SELECT {columns})", needs_escaping=needs_escaping)
                ).fetchall()
                for needs_escaping in (False, True)
            ]
        assert lines[0] == lines[1]
        assert lines[0][0][0].count(",") == csv_lines.HEADER_LINE.count(b",")


def test_escape_controls_finds_a_control_character_anywhere_in_a_large_chunk() -> None:
    line = b"1,2026-04-27 19:04:36,1001,1002" + b"," * 29 + b"\r\n"
    chunk = line * 10_000
    for position in (40, len(chunk) // 2 // len(line) * len(line) + 2, len(chunk) - 40):
        changed = chunk[:position] + b"\x1b" + chunk[position:]
        assert csv_lines.escape_controls(changed) == chunk[:position] + b"\\x1b" + chunk[position:]
    assert csv_lines.escape_controls(chunk) is chunk


_NEEDS_ESCAPING = csv_lines.NEEDS_ESCAPING_PATTERN.replace("''", "'")


def _evaluate(expression: str, columns: str, **values: object) -> list[str]:
    query = f"SELECT {expression} FROM (SELECT {columns})"  # noqa: S608 - constants of the test, the values are bound
    with duckdb.connect() as connection:
        return [row[0] for row in connection.execute(query, values).fetchall()]
