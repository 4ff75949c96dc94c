"""`onhook sql`: the same answers and errors with a server and without."""

import json

import pytest

from tests.cli.conftest import Command
from tests.runtime.harness import Server, wait_until, webhook_body

QUERY = "SELECT call_from, call_to, talk_duration FROM calls"


@pytest.mark.slow
def test_sql_without_and_with_a_server_has_the_same_answer(server: Server) -> None:
    server.start()
    server.post(webhook_body(1))
    wait_until(lambda: len(server.calls()) == 1)
    wait_until(lambda: json.loads(server.run_command("sql", QUERY, "--format", "json"))["data"] != [])
    from_server = server.run_command("sql", QUERY, "--format", "csv")
    refused_by_server = server.execute("sql", "SELECT * FROM quarantine")
    server.stop()
    assert from_server == server.run_command("sql", QUERY, "--format", "csv")
    assert from_server == "call_from,call_to,talk_duration\n1001,1002,20\n"
    refused_by_files = server.execute("sql", "SELECT * FROM quarantine")
    assert refused_by_files.returncode == refused_by_server.returncode == 2
    assert refused_by_files.stderr == refused_by_server.stderr
    assert "there is no table 'quarantine'" in refused_by_files.stderr
    assert "select from `records` or `calls`" in refused_by_files.stderr
    assert not (server.directory / "sql").exists()


def test_sql_columns_lists_both_tables(onhook: Command) -> None:
    exit_code, output, _error = onhook("sql", "--columns")
    assert exit_code == 0
    assert "calls    answered_by" in output
    assert "records  call_from" in output


def test_sql_without_query_names_the_option(onhook: Command) -> None:
    exit_code, _output, error = onhook("sql")
    assert exit_code == 2
    assert "onhook sql --columns" in error
