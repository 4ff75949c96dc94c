"""Equal results from the API of a running server and from the files."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.harness import SECRET, SN, Server, wait_until

QUESTIONS: list[tuple[str, ...]] = [
    ("calls", "--limit", "7"),
    ("calls", "--since", "2026-04-02", "--until", "2026-04-03", "--zone", "Asia/Kathmandu", "--number", "1001"),
    ("records", "--limit", "1100", "--type", "inbound"),
    ("records", "--pbx", "Office", "--call-to", "6400", "--min-talk-duration", "60", "--status", "Answered"),
    ("records", "--sn", "unknown"),
]


def _simulated(server: Server) -> None:
    """Simulate some days of an office, with malformed events."""
    server.start()
    url = f"http://{server.address('intake')}/"
    made_up = ("--start", "2026-04-01", "--count", "1200", "--malformed", "0.01", "--connections", "32")
    server.run_command("simulate", "--to", url, "--sn", SN, "--secret", SECRET, *made_up)
    wait_until(lambda: "is 0 events behind" in server.run_command("doctor", exit_code=None))


def _answers(server: Server, directory: Path) -> dict[str, Any]:
    """Return the output of all commands, with quarantine and exports."""
    answers: dict[str, Any] = {}
    for question in QUESTIONS:
        answers[" ".join(question)] = json.loads(server.run_command(*question, "--format", "json"))
    answers["csv"] = server.run_command("records", "--limit", "100000", "--format", "csv", "--zone", "Asia/Kathmandu")
    answers["csv of calls"] = server.run_command("calls", "--limit", "100000", "--format", "csv")
    answers["table"] = server.run_command("calls", "--zone", "Asia/Kathmandu")
    answers["quarantine"] = server.run_command("quarantine", "list", "--limit", "1000")
    number = answers["quarantine"].splitlines()[1].split()[0]
    answers["quarantined"] = [
        line
        for line in server.run_command("quarantine", "show", number).splitlines()
        if not line.startswith("received_at")
    ]
    answers["retried"] = server.run_command("quarantine", "retry", number, exit_code=1)
    for form in ("csv", "jsonl"):
        file = directory / f"calls.{form}"
        server.run_command("export", str(file), "--zone", "Asia/Kathmandu")
        answers[f"export {form}"] = file.read_bytes()
    return answers


@pytest.mark.slow
def test_data_client_results_are_equal_with_and_without_a_server(server: Server, tmp_path: Path) -> None:
    """In every format; CSV equals the export, the latest first."""
    _simulated(server)
    while_it_runs = _answers(server, tmp_path)
    server.stop()
    assert _answers(server, tmp_path) == while_it_runs
    assert [len(while_it_runs[" ".join(question)]) for question in QUESTIONS[::4]] == [7, 0]
    printed_rows = list(csv.reader(io.StringIO(while_it_runs["csv"], newline="")))
    exported = list(csv.reader(io.StringIO(while_it_runs["export csv"].decode(), newline="")))
    assert printed_rows[0] == exported[0]
    assert sorted(printed_rows) == sorted(exported)
    assert len(printed_rows) > 1100
    _check_calls(list(csv.DictReader(io.StringIO(while_it_runs["csv of calls"], newline=""))))
    _check_forms(server, tmp_path)


def _check_calls(rows: list[dict[str, str]]) -> None:
    """Check that there are several legs and recordings, and no Python syntax."""
    assert max(int(row["legs"]) for row in rows) > 1
    assert any(row["recordings"] for row in rows)
    assert not any(row["recordings"].startswith(("(", "[")) for row in rows)


def _check_forms(server: Server, directory: Path) -> None:
    """Check that a file of each format appears complete under its name, and no other."""
    before = set(directory.iterdir())
    for form in ("parquet", "xlsx"):
        server.run_command("export", str(directory / f"calls.{form}"))
    assert (directory / "calls.parquet").read_bytes()[:4] == b"PAR1"
    assert (directory / "calls.xlsx").read_bytes()[:2] == b"PK"
    assert {path.name for path in set(directory.iterdir()) - before} == {"calls.parquet", "calls.xlsx"}
