"""The watchdog, with processes that answer, do not, or are being started."""

import asyncio
import logging
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from onhook.config import Config
from onhook.lib.service_manager import ServiceManager, ServiceNotifier
from onhook.runtime import supervisor
from onhook.runtime.supervisor import SupervisedProcess
from onhook.runtime.watchdog import watchdog

READY = """print('{"address": "127.0.0.1:1"}', flush=True)"""
ANSWERING = f"""{READY}
import sys
while sys.stdin.read(1):
    print('{{"is_answer": true}}', flush=True)"""
SILENT = f"{READY}; input(); import time; time.sleep(60)"
STARTING = "input()"


class RecordedProcess:
    """Answers as it is set."""

    name = "hub"

    def __init__(self) -> None:
        self.answers = True
        self._pinged = asyncio.Event()

    async def is_responsive(self, timeout_seconds: float) -> bool:
        self._pinged.set()
        return self.answers

    async def wait_for_pings(self, count: int) -> None:
        for _number in range(count):
            self._pinged.clear()
            await self._pinged.wait()


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[socket.socket]:
    """Yield the socket of a service manager."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as new_receiver:
        new_receiver.bind(str(tmp_path / "notify"))
        yield new_receiver


async def test_watchdog_reports_only_while_all_processes_answer(
    receiver: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    process, loop = RecordedProcess(), asyncio.get_running_loop()
    manager = ServiceManager(watchdog_seconds=0.04)
    with caplog.at_level(logging.INFO, "serve"):
        async with asyncio.timeout(20), watchdog(manager, ServiceNotifier(receiver.getsockname()), [process]):
            assert await loop.sock_recv(receiver, 100) == b"WATCHDOG=1"
            process.answers = False
            await process.wait_for_pings(2)
            _drain(receiver)
            await process.wait_for_pings(3)
            with pytest.raises(BlockingIOError):
                receiver.recv(100)
            process.answers = True
            assert await loop.sock_recv(receiver, 100) == b"WATCHDOG=1"
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]
    assert vars(caplog.records[0])["processes"] == "hub"
    _drain(receiver)


async def test_watchdog_without_a_limit_sends_nothing(receiver: socket.socket) -> None:
    async with watchdog(ServiceManager(), ServiceNotifier(receiver.getsockname()), [RecordedProcess()]):
        await asyncio.sleep(0)
    with pytest.raises(BlockingIOError):
        receiver.recv(100)


def _drain(receiver: socket.socket) -> None:
    try:
        while receiver.recv(100):
            pass
    except BlockingIOError:
        return


@pytest.mark.parametrize(
    ("script", "timeout_seconds", "is_responsive"), [(ANSWERING, 20.0, True), (SILENT, 0.2, False)]
)
async def test_supervised_process_is_responsive_while_it_answers(
    script: str, timeout_seconds: float, is_responsive: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "build_command", lambda *_arguments: (sys.executable, "-c", script))
    monkeypatch.setattr(supervisor, "STOP_SECONDS_MAX", 0.2)
    process = SupervisedProcess("hub", lambda _name, _info: None)
    assert await process.is_responsive(timeout_seconds)
    await process.start(Config())
    try:
        assert await process.is_responsive(timeout_seconds) == is_responsive
    finally:
        await process.stop()


async def test_supervised_process_that_ends_during_a_ping_is_being_restarted(monkeypatch: pytest.MonkeyPatch) -> None:
    scripts = [f"{READY}; input()", STARTING]
    monkeypatch.setattr(supervisor, "build_command", lambda *_arguments: (sys.executable, "-c", scripts.pop(0)))
    monkeypatch.setattr(supervisor, "STOP_SECONDS_MAX", 0.2)
    has_ended = asyncio.Event()
    process = SupervisedProcess("hub", lambda _name, _info: None, on_end=lambda _name, _is_requested: has_ended.set())
    await process.start(Config())
    try:
        ping = asyncio.create_task(process.is_responsive(1.0))
        async with asyncio.timeout(20):
            await has_ended.wait()
            assert await ping
            assert await process.is_responsive(0.1)
    finally:
        await process.stop()
