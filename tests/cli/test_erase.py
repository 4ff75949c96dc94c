"""`onhook erase`: the number is gone from all files, with a server and without one."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from onhook.cdr.call_details import CallDetails
from onhook.pbx.yeastar.payload import Yeastar
from tests.cli.conftest import Command
from tests.runtime.harness import SN, Server, wait_until

FINISHED_SECONDS_MAX = 60.0
"""The store is made anew, and the hub starts again with it."""


def webhook_body(number: int, call_from: str) -> bytes:
    details = CallDetails(
        call_id=f"1777{number:06}.{number}",
        time_start=f"2026-04-27 19:04:{number:02}",
        call_from=call_from,
        call_to="Bob<1002>",
        call_duration=30,
        talk_duration=20,
        status="ANSWERED",
        type="Inbound",
    )
    return Yeastar().format(details, SN, "p-2026")


def find_bytes(directory: Path, text: bytes) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file() and text in path.read_bytes()]


def count_finished(server: Server) -> int:
    with closing(sqlite3.connect(server.directory / "ledger.db")) as connection:
        return int(connection.execute("SELECT coalesce(sum(is_finished), 0) FROM erasures").fetchone()[0])


def read_callers(server: Server) -> list[str]:
    return sorted(call["call_from"] for call in server.calls())


@pytest.mark.slow
def test_erase_with_a_server_and_without_leaves_no_bytes(server: Server) -> None:
    server.start()
    server.post(webhook_body(1, "Alice<0301234567>"))
    server.post(webhook_body(2, "Carol<0407654321>"))
    wait_until(lambda: len(server.calls()) == 2)
    output = server.run_command("erase", "0301234567", "--yes")
    assert "Calls, which stay without it: 1" in output
    assert read_callers(server) == ["Carol<0407654321>", "erased"]
    wait_until(lambda: count_finished(server) == 1, seconds=FINISHED_SECONDS_MAX)
    wait_until(lambda: not find_bytes(server.directory, b"0301234567"), seconds=FINISHED_SECONDS_MAX)
    assert find_bytes(server.directory, b"Alice") == []
    wait_until(lambda: read_callers(server) == ["Carol<0407654321>", "erased"])
    assert server.stop() == 0
    assert find_bytes(server.directory, b"0301234567") == []
    assert "The number was erased." in server.run_command("erase", "0407654321", "--yes")
    assert find_bytes(server.directory, b"0407654321") == []
    calls = json.loads(server.run_command("calls", "--format", "json"))
    assert [call["call_from"] for call in calls] == ["erased", "erased"]
    assert b"0301234567" not in server.log.read_bytes()


def test_erase_number_that_is_too_short_says_what_to_write(onhook: Command) -> None:
    secret = "0123456789abcdef0123456789abcdef"
    assert onhook("pbx", "add", "Office", "--sn", "3631A2124ABC", "--secret", secret)[0] == 0
    Path("onhook-data/ledger.db").touch()
    exit_code, _output, error = onhook("erase", "7")
    assert exit_code == 2
    assert "at least 2 digits" in error
