"""`onhook export`, and the notes of listings without rows."""

from pathlib import Path

import pytest

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
    """A file without records has a note."""
    target = tmp_path / f"calls.{form}"
    assert office("export", str(target)) == (0, f"2 records written to {target}.\n", "")
    assert office("export", str(target), "--number", "1003") == (0, f"1 record written to {target}.\n", "")
    empty_result = (0, f"0 records written to {target}.\n", "Note: no record matches.\n")
    assert office("export", str(target), "--number", "12345") == empty_result
    if form == "csv":
        assert office("export", str(target), "--excel", "semicolon")[1] == f"2 records written to {target}.\n"


@pytest.mark.parametrize(
    "words",
    [("calls", "--number", "12345"), ("records", "--number", "12345"), ("quarantine", "list"), ("destination", "list"),
     ("app", "list"), ("user", "list"), ("asterisk", "list"), ("sql", "SELECT 1 AS number WHERE false")],
    ids=" ".join,
)  # fmt: skip
def test_list_without_rows_has_a_note(office: Command, words: tuple[str, ...]) -> None:
    """On standard error, so that the output of a program stays as it is."""
    code, out, error = office(*words)
    assert (code, len(out.splitlines()), "Note: no matches.\n" in error) == (0, 1, True)


def test_list_without_rows_has_a_note_in_every_format(office: Command) -> None:
    for command in ("calls", "records"):
        assert office(command, "--number", "12345", "--format", "json") == (0, "[]\n", "Note: no matches.\n")
        assert office(command, "--number", "12345", "--format", "csv")[2] == "Note: no matches.\n"
    assert office("quarantine", "retry", "--all")[2] == "Note: no event is in the quarantine.\n"
