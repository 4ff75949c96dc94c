"""`onhook export`, and the notes of listings without rows."""

import asyncio
import os
import re
import stat
from pathlib import Path

import pytest

from onhook.cdr.call_details import CallDetails
from onhook.ledger.contract import LedgerEntry
from onhook.ledger.sqlite import SqliteLedger
from onhook.pbx.yeastar.payload import Yeastar
from tests.cli.conftest import Command

CALLS = (
    "ID,Time,Call From,Call To,Status,Reason\n"
    '20261120100037A000C,2026/11/20 10:00:37,1001,1002,BUSY,"two\nlines"\n'
    "20261120100537A000D,2026/11/20 10:05:37,1001,1003,ANSWERED,\n"
)


@pytest.fixture
def office(onhook: Command, tmp_path: Path) -> Command:
    """Yield the command line with a PBX that has two calls."""
    assert onhook("pbx", "add", "Office", "--sn", "3631A2124ABC", "--secret", "first-secret")[0] == 0
    file = tmp_path / "cdr.csv"
    file.write_text(CALLS)
    assert onhook("import", str(file), "--pbx", "Office")[0] == 0
    return onhook


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet", "xlsx"])
def test_export_prints_the_number_of_records(office: Command, tmp_path: Path, form: str) -> None:
    """A file without records has a note; whatever the umask and the file before, only its owner reads it."""
    target = tmp_path / f"calls.{form}"
    target.touch(0o644)
    umask = os.umask(0)
    try:
        assert office("export", str(target)) == (0, f"2 records written to {target}.\n", "")
    finally:
        os.umask(umask)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert office("export", str(target), "--number", "1003") == (0, f"1 record written to {target}.\n", "")
    empty_result = (0, f"0 records written to {target}.\n", "Note: no record matches.\n")
    assert office("export", str(target), "--number", "12345") == empty_result
    if form == "csv":
        assert office("export", str(target), "--excel", "semicolon")[1] == f"2 records written to {target}.\n"


@pytest.mark.parametrize("mask", ["none", "last3", "hash"])
def test_export_masks_external_numbers(onhook: Command, tmp_path: Path, mask: str) -> None:
    assert onhook("pbx", "add", "Office", "--sn", "3631A2124ABC", "--secret", "first-secret")[0] == 0
    file, target = tmp_path / "cdr.csv", tmp_path / "calls.csv"
    file.write_text(CALLS.replace(",1003,", ",+4915794638271,"))
    assert onhook("import", str(file), "--pbx", "Office")[0] == 0
    assert onhook("export", str(target), "--mask", mask, "--number", "+4915794638271")[1].startswith("1 record written")
    text = target.read_text()
    assert ("94638271" in text) is (mask == "none")
    assert {"none": "+4915794638271", "last3": "+4915794638***", "hash": "anon-"}[mask] in text
    assert "1001" in text


@pytest.mark.parametrize(
    ("words", "note"),
    [
        ("calls --number 12345", "no matches"),
        ("records --number 12345", "no matches"),
        ("quarantine list", "no rows"),
        ("destination list", "no rows"),
        ("app list", "no rows"),
        ("user list", "no rows"),
        ("asterisk list", "no rows"),
    ],
)
def test_list_without_rows_has_a_note(office: Command, words: str, note: str) -> None:
    """On standard error, so that the output of a program stays as it is; nothing matches where there is a filter."""
    code, out, error = office(*words.split())
    assert (code, len(out.splitlines()), f"Note: {note}.\n" in error) == (0, 1, True)


def test_sql_without_rows_has_a_note(office: Command) -> None:
    code, out, error = office("sql", "SELECT 1 AS number WHERE false")
    assert (code, len(out.splitlines()), "Note: no rows.\n" in error) == (0, 1, True)


def test_list_without_rows_has_a_note_in_every_format(office: Command) -> None:
    for command in ("calls", "records"):
        assert office(command, "--number", "12345", "--format", "json") == (0, "[]\n", "Note: no matches.\n")
        assert office(command, "--number", "12345", "--format", "csv")[2] == "Note: no matches.\n"
    assert office("quarantine", "retry", "--all")[2] == "Note: no event is in the quarantine.\n"


CONTROLS = re.compile(b"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\xc2[\x80-\x9f]")
HOSTILE = "\x1b[2J\x9b1m\x7f\\x41"


async def _store_hostile_event(folder: Path) -> None:
    event = CallDetails(
        call_id="1795000000.1", time_start="2026-11-18 12:26:40", call_from=f"{HOSTILE}<1001>",
        call_to=f"1002{HOSTILE}",
        status="ANSWERED", type="Internal", src_trunk_name=f"={HOSTILE}", extra={"made_by": HOSTILE},
    )  # fmt: skip
    body = Yeastar().format(event, "3631A2124ABC", "p-2025")
    ledger = SqliteLedger(folder / "onhook-data" / "ledger.db")
    entry = LedgerEntry(
        sn="3631A2124ABC", dialect="yeastar", via="webhook", received_at=1_795_000_100_000_000,
        key=Yeastar().peek(body).key, body=body,
    )  # fmt: skip
    await ledger.append([entry])
    await ledger.close()


@pytest.mark.slow
def test_output_has_no_control_characters(office: Command, tmp_path: Path) -> None:
    """Of a file that a terminal shows, and of each command in each format."""
    asyncio.run(_store_hostile_event(tmp_path))
    outputs = ["".join(office(command, "--format", form)[1:]) for command in ("calls", "records") for form in FORMATS]
    outputs += [office("sql", "SELECT call_from FROM records", "--format", form)[1] for form in FORMATS]
    assert all("1002" in output or "1001" in output for output in outputs)
    assert [CONTROLS.search(output.encode()) for output in outputs] == [None] * len(outputs)
    for form in ("csv", "jsonl"):
        file = tmp_path / f"hostile.{form}"
        assert office("export", str(file))[0] == 0
        assert CONTROLS.search(file.read_bytes()) is None


def test_export_with_control_characters_is_read_back(office: Command, tmp_path: Path) -> None:
    """The imported line is the stored record."""
    asyncio.run(_store_hostile_event(tmp_path))
    file = tmp_path / "hostile.csv"
    assert office("export", str(file), "--call-id", "1795000000.1")[0] == 0
    before = office("records", "--format", "json", "--call-id", "1795000000.1")[1]
    out = office("import", str(file), "--pbx", "Office")[1]
    assert "Of the new lines 1 describe records that are stored already" in out
    assert office("records", "--format", "json", "--call-id", "1795000000.1")[1] == before


FORMATS = ("table", "csv", "json")
