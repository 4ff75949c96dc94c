"""Output formats."""

import csv
import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onhook.cdr.csv_injection import unescape_cell
from onhook.cli.formats import (
    CALL_COLUMNS,
    CALL_TABLE,
    RECORD_COLUMNS,
    RECORD_TABLE,
    fit_columns,
    print_followed_rows,
    print_rows,
)
from onhook.cli.server_lookup import Row
from tests.factories import call, record

HOSTILE = "\x1b[2J=cmd|' /C calc'!A0 [bold]\r\n\u202e<1001>"


async def _rows(*rows: Row) -> AsyncIterator[Row]:
    for row in rows:
        yield row


def _hostile() -> Row:
    row: Row = msgspec.to_builtins(record(call_from=HOSTILE, call_to="+15550100", talk_duration=None))
    return row


async def test_print_table_removes_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    """No text is interpreted as markup."""
    await print_rows(_rows(_hostile()), "table", ZoneInfo("UTC"), RECORD_COLUMNS, RECORD_TABLE)
    out = capsys.readouterr().out
    assert out.count("\n") == 2
    assert "\x1b" not in out
    assert "[bold]" in out
    assert "–" in out  # noqa: RUF001 - the dash of an unknown value


async def test_print_table_long_name_leaves_the_other_columns(capsys: pytest.CaptureFixture[str]) -> None:
    """A sender may report a name of thousands of characters."""
    row: Row = msgspec.to_builtins(record(call_from="x" * 5_000 + "<1001>", call_to="1002", status="BUSY"))
    await print_rows(_rows(row), "table", ZoneInfo("UTC"), RECORD_COLUMNS, RECORD_TABLE)
    heads, line = capsys.readouterr().out.splitlines()
    assert "…" in line
    assert len(line) < 400
    assert line.index("BUSY") == heads.index("status")


@pytest.mark.parametrize(
    ("changes", "mark"),
    [
        ({"offset_from": "configured", "is_ambiguous": True}, " twice?"),
        ({"offset_from": "configured", "is_shifted": True}, " shifted"),
        ({"offset_from": "assumed"}, " UTC?"),
        ({"offset_from": "ids"}, ""),
    ],
)
async def test_print_table_start_that_is_not_certain_is_marked(
    capsys: pytest.CaptureFixture[str], changes: dict[str, Any], mark: str
) -> None:
    """Of a record, and of a call by its first leg."""
    leg = record(datetime(2026, 10, 25, 0, 30, tzinfo=UTC), **changes)
    for row, columns, table in (
        (msgspec.to_builtins(leg), RECORD_COLUMNS, RECORD_TABLE),
        (msgspec.to_builtins(msgspec.structs.replace(call(leg), legs=[leg])), CALL_COLUMNS, CALL_TABLE),
    ):
        await print_rows(_rows(row), "table", ZoneInfo("Europe/Berlin"), columns, table)
        (line,) = capsys.readouterr().out.splitlines()[1:]
        assert line.startswith(f"2026-10-25 02:30:00+02:00{mark}  ")
        await print_followed_rows(_rows(row), "table", ZoneInfo("Europe/Berlin"), columns, table)
        (line,) = capsys.readouterr().out.splitlines()[1:]
        assert line.startswith(f"2026-10-25 02:30:00+02:00{mark}  ")


@given(st.lists(st.integers(0, 9_000), min_size=1, max_size=12), st.integers(12, 300))
def test_fit_columns_wide_ones_are_cut_first(widths: list[int], available_width: int) -> None:
    width_max = fit_columns(widths, available_width)
    assert sum(min(width, width_max) for width in widths) <= available_width
    assert max(widths) <= width_max or sum(min(width, width_max + 1) for width in widths) > available_width


async def test_print_csv_can_be_read_back(capsys: pytest.CaptureFixture[str]) -> None:
    """A number with a plus is unchanged, an unknown value is empty."""
    await print_rows(_rows(_hostile()), "csv", ZoneInfo("Asia/Kathmandu"), RECORD_COLUMNS, RECORD_TABLE)
    heads, cells = csv.reader(io.StringIO(capsys.readouterr().out, newline=""))
    row = dict(zip(heads, cells, strict=True))
    assert unescape_cell(row["call_from"]) == HOSTILE
    assert row["call_to"] == "+15550100"
    assert row["talk_duration"] == ""
    assert row["started_at"].endswith("+05:45")


@pytest.mark.parametrize("sequence", [list, tuple])
async def test_print_csv_call_is_one_line(capsys: pytest.CaptureFixture[str], sequence: type) -> None:
    """The number of legs and the names of recordings, as lists from the API and as tuples from the files."""
    unknown = dict.fromkeys(CALL_COLUMNS)
    call = {**unknown, "recordings": sequence(("one.wav", "two.wav")), "legs": sequence(({"sn": "1"}, {"sn": "2"}))}
    await print_rows(_rows(call), "csv", ZoneInfo("UTC"), CALL_COLUMNS, CALL_TABLE)
    heads, cells = csv.reader(io.StringIO(capsys.readouterr().out, newline=""))
    row = dict(zip(heads, cells, strict=True))
    assert (row["recordings"], row["legs"]) == ("one.wav;two.wav", "2")


async def test_print_json_is_one_array(capsys: pytest.CaptureFixture[str]) -> None:
    for rows in ([], [_hostile()], [_hostile(), _hostile()]):
        await print_rows(_rows(*rows), "json", ZoneInfo("UTC"), RECORD_COLUMNS, RECORD_TABLE)
        assert len(msgspec.json.decode(capsys.readouterr().out)) == len(rows)
