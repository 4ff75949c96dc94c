"""The server under a service manager: a test takes its place, and systemd-socket-activate where it is installed."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from onhook.lib.service_manager import PASSED_FD_FIRST
from onhook.ops.instance_lock import START_SECONDS_MAX
from tests.runtime.harness import SOURCE, Server, call_id, call_ids, command_environment, wait_until, webhook_body

LAUNCHER = """
import ctypes, os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="intake")
for option, value in ((38, 1), (65, 1)):  # no new privileges; no memory that is writable and executable
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
os.execv(sys.argv[2], sys.argv[2:])
"""
"""What systemd does before it starts a service, in part."""

WATCHDOG_SECONDS = 8.0
EVENT_SECONDS = 0.05


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Yield the socket of the intake, which the service manager keeps."""
    with socket.create_server(("127.0.0.1", 0), backlog=1_024) as new_listener:
        yield new_listener


@pytest.fixture
def notifications(tmp_path: Path) -> Iterator[socket.socket]:
    """Yield the socket of a service manager."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        yield receiver


def _start(server: Server, listener: socket.socket, notifications: socket.socket) -> None:
    """Start the server as a service; return when it has notified that it is ready."""
    with server.log.open("ab") as log:
        command = [sys.executable, "-c", LAUNCHER, str(listener.fileno()), str(server.program)]
        server.process = subprocess.Popen(
            [*command, "serve", "--console", "127.0.0.1:0"],
            cwd=server.directory.parent,
            env={
                **command_environment(server.directory),
                "NOTIFY_SOCKET": notifications.getsockname(),
                "WATCHDOG_USEC": str(int(WATCHDOG_SECONDS * 1_000_000)),
            },
            pass_fds=[listener.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    received: list[bytes] = []

    def is_ready() -> bool:
        received.extend(_read(notifications))
        return any(text.startswith(b"READY=1\n") for text in received)

    wait_until(is_ready, START_SECONDS_MAX, read_progress=server.read_progress)
    port = listener.getsockname()[1]
    assert received[0].startswith(f"READY=1\nSTATUS=intake 127.0.0.1:{port}, console 127.0.0.1:".encode())


def _read(notifications: socket.socket) -> list[bytes]:
    """Return the notifications that have come."""
    texts = []
    with contextlib.suppress(BlockingIOError):
        while True:
            texts.append(notifications.recv(4_096))
    return texts


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_service_restart_refuses_no_connection(
    server: Server, listener: socket.socket, notifications: socket.socket
) -> None:
    """Events come all the time; each is answered 200, at the latest by the next server. A request that the intake
    has not read when it stops may be reset, and is sent again, as a PBX does.
    """
    _start(server, listener, notifications)
    host, port = listener.getsockname()
    is_over, errors = threading.Event(), list[str]()
    answers, resets = list[int](), list[int]()

    def send_events() -> None:
        while not is_over.is_set():
            try:
                answers.append(_post(webhook_body(len(answers) + 1), host, port))
            except ConnectionResetError:
                resets.append(len(answers) + 1)
            except OSError as error:
                errors.append(repr(error))
            time.sleep(EVENT_SECONDS)

    sender = threading.Thread(target=send_events)
    sender.start()
    try:
        wait_until(lambda: len(answers) >= 10)
        assert server.stop() == 0
        assert b"STOPPING=1" in _read(notifications)
        count = len(answers)
        _start(server, listener, notifications)
        wait_until(lambda: len(answers) > count + 10)
    finally:
        is_over.set()
        sender.join()
    assert errors == []
    assert len(resets) <= 1
    assert set(answers) == {200}
    wait_until(lambda: call_ids(server.calls()) == sorted(call_id(number + 1) for number in range(len(answers))))


def _post(body: bytes, host: str, port: int) -> int:
    """Send one event, and wait for as long as a server takes to start."""
    server = Server(Path())
    return server.post(body, address_text=f"{host}:{port}", timeout_seconds=START_SECONDS_MAX)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", ["intake", "hub"])
def test_service_watchdog_is_not_notified_while_a_process_hangs(
    name: str, server: Server, listener: socket.socket, notifications: socket.socket
) -> None:
    _start(server, listener, notifications)
    wait_until(lambda: b"WATCHDOG=1" in _read(notifications))
    info = server.process_info(name)
    assert info is not None
    os.kill(info["pid"], signal.SIGSTOP)
    try:
        wait_until(lambda: "a process does not answer" in server.log_text())
        _read(notifications)
        time.sleep(WATCHDOG_SECONDS / 2)
        assert _read(notifications) == []
    finally:
        os.kill(info["pid"], signal.SIGCONT)
    wait_until(lambda: b"WATCHDOG=1" in _read(notifications))
    # A process that is restarted is no reason to end the others.
    server.kill(name)
    wait_until(lambda: server.process_info(name) not in (None, info))
    wait_until(lambda: b"WATCHDOG=1" in _read(notifications))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(shutil.which("systemd-socket-activate") is None, reason="takes systemd-socket-activate")
@pytest.mark.parametrize("command", ["serve", "intake"])
def test_service_is_started_by_the_first_event(command: str, server: Server) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        host, port = free.getsockname()
    options = ["--console", "127.0.0.1:0"] if command == "serve" else []
    with server.log.open("ab") as log:
        server.process = subprocess.Popen(
            [
                *("systemd-socket-activate", f"--listen={host}:{port}", f"--setenv=ONHOOK_DATA={server.directory}"),
                f"--setenv=PYTHONPATH={SOURCE}",
                *(str(server.program), command, *options),
            ],
            cwd=server.directory.parent,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    wait_until(lambda: "Listening on" in server.log_text())
    assert not (server.directory / "running.json").exists()
    assert _post(webhook_body(1), host, port) == 200
    assert server.stop() == 0


def test_service_socket_that_is_none_ends_the_server(server: Server, tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file:
        command = [sys.executable, "-c", LAUNCHER, str(file.fileno()), str(server.program), "serve"]
        result = subprocess.run(
            command,
            env=command_environment(server.directory),
            pass_fds=[file.fileno()],
            capture_output=True,
            text=True,
            check=False,
        )
    assert PASSED_FD_FIRST == 3
    assert result.returncode == 2
    assert result.stderr.startswith("onhook: cannot use the socket that the service manager has passed: ")
