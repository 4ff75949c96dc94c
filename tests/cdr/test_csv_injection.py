"""Cells that neither a spreadsheet nor a terminal obeys, and that can be read back."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onhook.cdr.csv_injection import escape_cell, escape_json_controls, unescape_cell

TEXTS = st.text(st.sampled_from("'=+-@\t\r\n\\x15bcaZ9é\x00\x1b\x7f\x9b\u00a0")) | st.text()
CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


@given(TEXTS)
def test_cell_has_no_control_characters_and_is_read_back(text: str) -> None:
    cell = escape_cell(text)
    assert CONTROLS.search(cell) is None
    assert unescape_cell(cell) == text


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("\x1b[2J", r"\x1b[2J"),
        ("\x9b", r"\x9b"),
        (r"\x1b", r"\x5cx1b"),
        ("C:\\xavier", r"C:\xavier"),
        ("a\tb\n", "a\tb\n"),
    ],
)
def test_cell_control_character_is_shown_by_its_number(text: str, cell: str) -> None:
    assert escape_cell(text) == cell


@given(TEXTS)
def test_json_has_no_control_characters_and_is_the_same(text: str) -> None:
    encoded = escape_json_controls(json.dumps([text], ensure_ascii=False).encode())
    assert CONTROLS.search(encoded.decode()) is None
    assert json.loads(encoded) == [text]
