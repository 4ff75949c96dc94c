"""`onhook sql`: the same answers and errors with a server and without."""

import asyncio
import json
from pathlib import Path

import pytest

from onhook.config import Config
from onhook.runtime.data_files import open_files
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


def test_sql_saved_question_is_listed_and_run(onhook: Command) -> None:
    """Those that are shared, and those of the administrator's token; not those of a user."""
    assert onhook("pbx", "add", "Office", "--sn", "3631A2124ABC", "--unsigned")[0] == 0
    assert onhook("sql", "--list")[1].splitlines()[1:] == []

    async def save() -> None:
        async with open_files(Config(data=Path("onhook-data")), create=True) as files:
            questions = files.appdb.saved_questions
            await questions.add("Numbers", "SELECT 40 + 2\nAS answer", author="token:admin")
            shared = await questions.add("Shared", "SELECT 1", author="Alice")
            await questions.change(shared.question_id, is_shared=True)
            await questions.add("Own", "SELECT 2", author="Alice")

    asyncio.run(save())
    lines = onhook("sql", "--list")[1].splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["Numbers", "no", "SELECT", "40", "+", "2", "AS", "answer"],
        ["Shared", "yes", "SELECT", "1"],
    ]
    assert [question["name"] for question in json.loads(onhook("sql", "--list", "--format", "json")[1])] == [
        *("Numbers", "Shared"),
    ]
    assert onhook("sql", "--saved", "numbers", "--format", "csv")[1] == "answer\r\n42\r\n"
    assert "there is no question 'Own'" in onhook("sql", "--saved", "Own")[2]
    assert "there are two queries" in onhook("sql", "SELECT 1", "--saved", "Shared")[2]


def test_sql_columns_lists_both_tables(onhook: Command) -> None:
    exit_code, output, _error = onhook("sql", "--columns")
    assert exit_code == 0
    assert "calls    answered_by" in output
    assert "records  call_from" in output


def test_sql_without_query_names_the_option(onhook: Command) -> None:
    exit_code, _output, error = onhook("sql")
    assert exit_code == 2
    assert "onhook sql --columns" in error
