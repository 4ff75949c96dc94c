"""`onhook calls`: filters, zone, and calls as they end."""

import json
import signal
import subprocess
import threading

import pytest

from onhook.cdr.call_filter import SEARCH_NAMES
from onhook.cdr.record_filter import FILTER_NAMES
from onhook.cli.filter_options import FILTER_HELP
from tests.cli.conftest import Command
from tests.runtime.harness import ONHOOK, Server, call_id, command_environment, wait_until, webhook_body

FILTERS = (
    ("--q", "Alice", True),
    ("--q", "1003", False),
    ("--answered-by", "1002", True),
    ("--answered-by", "1001", False),
    ("--min-wait-duration", "5", True),
    ("--min-wait-duration", "600", False),
    ("--tag", "vip", False),
    ("--note", "later", False),
)


def test_filters_of_the_command_line_are_those_of_the_api() -> None:
    assert set(FILTER_HELP) == {*FILTER_NAMES, *SEARCH_NAMES}


@pytest.mark.slow
def test_calls_filters_are_the_same_without_a_server(server: Server) -> None:
    server.start()
    assert server.post(webhook_body(1)) == 200
    wait_until(lambda: len(server.calls()) == 1)
    server.stop()
    for option, value, is_match in FILTERS:
        rows = json.loads(server.run_command("calls", option, value, "--format", "json"))
        assert len(rows) == is_match, (option, value)
    server.run_command("calls", "--min-wait-duration", "long", exit_code=2)


@pytest.mark.slow
def test_calls_times_are_in_the_zone_of_the_server(server: Server) -> None:
    """The zone of the command line has precedence."""
    server.start("--zone", "Asia/Kathmandu")
    assert server.post(webhook_body(1)) == 200
    wait_until(lambda: len(server.calls()) == 1)
    assert "+05:45" in server.run_command("calls")
    assert "+05:45" in server.run_command("records")
    assert "+00:00" in server.run_command("calls", "--zone", "UTC")


@pytest.mark.slow
def test_calls_follow_prints_each_matching_call_as_it_ends(server: Server) -> None:
    server.start()
    words = [str(ONHOOK), "calls", "--follow", "--format", "json", "--answered-by", "1002"]
    environment = command_environment(server.directory)
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        lines: list[str] = []
        reader = threading.Thread(target=lambda: lines.extend(iter(process.stdout.readline, "")))  # type: ignore[union-attr] # a pipe
        reader.start()
        # The command may not be connected yet: calls are sent until it prints one.
        numbers = iter(range(1, 1_000))
        wait_until(lambda: server.post(webhook_body(next(numbers))) == 200 and bool(lines))
        process.send_signal(signal.SIGINT)
        reader.join()
    assert process.returncode == 130
    sent_ids = {call_id(number) for number in range(1, next(numbers))}
    assert {json.loads(line)["call_id"] for line in lines} <= sent_ids


def test_calls_follow_without_a_server_is_one_sentence(onhook: Command) -> None:
    assert onhook("pbx", "add", "Office", "--sn", "3631A2124ABC", "--secret", "0123456789abcdef")[0] == 0
    code, _, error = onhook("calls", "--follow")
    assert (code, error.count("\n"), "onhook serve" in error) == (1, 1, True)
