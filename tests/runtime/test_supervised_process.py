"""One supervised process: an error of its start or of its status never ends the supervision."""

import asyncio
import logging
import sys
from collections.abc import Sequence

import pytest

from onhook.config import Config
from onhook.ops.instance_lock import ProcessInfo
from onhook.runtime import supervisor
from onhook.runtime.supervisor import SupervisedProcess

READY = (sys.executable, "-c", """print('{"address": "127.0.0.1:1"}', flush=True); input()""")
INVALID_STATUS = (sys.executable, "-c", "print('a line of a library', flush=True); input()")
CRASH = (sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
INVALID_LATER_STATUS = (*READY[:2], READY[2].replace("; input()", "; print('another line', flush=True); input()"))


FAILING_LATER = (
    *READY[:2],
    READY[2].replace("; input()", """; print('{"error": "the disk is gone", "exit_code": 1}', flush=True); exit(1)"""),
)
KILLED = (*READY[:2], READY[2].replace("input()", "import os; os.kill(os.getpid(), 9)"))


async def restart_until_ready(
    monkeypatch: pytest.MonkeyPatch, commands: Sequence[Sequence[str]], name: str = "hub"
) -> list[str]:
    """Start a process with these commands, one after the other, until the last one is ready; return the addresses."""
    monkeypatch.setattr(supervisor, "RESTART_SECONDS_FIRST", 0.01)
    remaining_commands, has_started_last = list(commands), asyncio.Event()
    addresses: list[str] = []

    def build_command(*_arguments: object) -> Sequence[str]:
        return remaining_commands.pop(0)

    def on_change(_name: str, info: ProcessInfo | None) -> None:
        if info is not None:
            addresses.append(info.address)
            if not remaining_commands:
                has_started_last.set()

    monkeypatch.setattr(supervisor, "build_command", build_command)
    process = SupervisedProcess(name, on_change)
    await process.start(Config())
    try:
        async with asyncio.timeout(20):
            await has_started_last.wait()
    finally:
        await process.stop()
    return addresses


@pytest.mark.parametrize(
    ("failing_command", "error"),
    [
        (("/nonexistent/python",), "hub could not be started"),
        (INVALID_STATUS, "hub printed an invalid status"),
        (CRASH, "hub was ended by SIGSEGV before it was ready"),
    ],
)
async def test_supervised_process_that_cannot_be_started_is_retried(
    failing_command: Sequence[str], error: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Also when it is to be restarted."""
    with caplog.at_level(logging.ERROR, "serve"):
        addresses = await restart_until_ready(monkeypatch, [failing_command, failing_command, READY])
    assert addresses == ["127.0.0.1:1"]
    assert [error in record.message for record in caplog.records] == [True, True]


async def test_supervised_process_with_an_invalid_later_status_is_restarted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, "serve"):
        addresses = await restart_until_ready(monkeypatch, [INVALID_LATER_STATUS, READY])
    assert addresses == ["127.0.0.1:1"] * 2
    assert ["hub printed an invalid status" in record.message for record in caplog.records] == [True]


async def test_supervised_process_intake_is_restarted_within_a_second_however_often_it_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits: list[float] = []

    async def wait_or_wake(_process: SupervisedProcess, seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(SupervisedProcess, "_wait_or_wake", wait_or_wake)
    await restart_until_ready(monkeypatch, [INVALID_STATUS] * 9 + [READY], name="intake")
    assert 0.5 <= max(waits) <= 1.0


async def test_supervised_process_error_that_ends_it_later_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "serve"):
        await restart_until_ready(monkeypatch, [FAILING_LATER, READY])
    assert [record.message for record in caplog.records] == ["the disk is gone", "hub exited, restarting"]


async def test_supervised_process_killed_by_a_signal_is_logged_with_its_name(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "serve"):
        await restart_until_ready(monkeypatch, [KILLED, READY])
    assert [vars(record).get("signal") for record in caplog.records] == ["SIGKILL"]


@pytest.mark.parametrize("command", [KILLED, CRASH, INVALID_STATUS])
async def test_supervised_process_end_by_itself_is_reported_as_one(
    command: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As is a start that fails; a requested end is not."""
    monkeypatch.setattr(supervisor, "RESTART_SECONDS_FIRST", 0.01)
    commands, ends = [command, READY, READY], []
    ready_event = asyncio.Event()
    monkeypatch.setattr(supervisor, "build_command", lambda *_arguments: commands.pop(0))

    def on_change(_name: str, info: ProcessInfo | None) -> None:
        if info is not None and len(commands) in (0, 1):
            ready_event.set()

    process = SupervisedProcess("hub", on_change, on_end=lambda name, is_requested: ends.append((name, is_requested)))
    await process.start(Config())
    try:
        async with asyncio.timeout(20):
            await ready_event.wait()
            assert ends == [("hub", False)]
            ready_event.clear()
            process.restart()
            await ready_event.wait()
            assert ends == [("hub", False), ("hub", True)]
    finally:
        await process.stop()
