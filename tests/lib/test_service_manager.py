"""What a service manager passes, and notifications to it."""

import logging
import socket
from pathlib import Path

import pytest

from onhook.lib.errors import UsageError
from onhook.lib.service_manager import ServiceManager, ServiceNotifier, parse_service_manager

PID = 4711


@pytest.mark.parametrize(
    ("environ", "manager"),
    [
        ({}, ServiceManager()),
        ({"NOTIFY_SOCKET": "@manager"}, ServiceManager(notify_socket="@manager")),
        ({"WATCHDOG_USEC": "60000000"}, ServiceManager(watchdog_seconds=60)),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "4711"}, ServiceManager(watchdog_seconds=60)),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}, ServiceManager()),
        ({"WATCHDOG_USEC": "-1"}, ServiceManager()),
        ({"LISTEN_FDS": "1", "LISTEN_PID": "4711"}, ServiceManager(listen_fd=3)),
        ({"LISTEN_FDS": "1", "LISTEN_PID": "1"}, ServiceManager()),
        ({"LISTEN_FDS": "1"}, ServiceManager()),
        ({"LISTEN_FDS": "0", "LISTEN_PID": "4711"}, ServiceManager()),
        ({"LISTEN_FDS": "9" * 5_000, "LISTEN_PID": "4711"}, ServiceManager()),
    ],
)
def test_parse_service_manager_reads_what_is_for_this_process(environ: dict[str, str], manager: ServiceManager) -> None:
    assert parse_service_manager(environ, PID) == manager


def test_parse_service_manager_several_sockets_are_refused() -> None:
    with pytest.raises(UsageError, match="2 sockets"):
        parse_service_manager({"LISTEN_FDS": "2", "LISTEN_PID": str(PID)}, PID)


@pytest.mark.parametrize("is_abstract", [False, True])
def test_service_notifier_sends_assignments_in_one_datagram(is_abstract: bool, tmp_path: Path) -> None:
    name = f"@{tmp_path}" if is_abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(f"\0{name[1:]}" if is_abstract else name)
        receiver.settimeout(5)
        ServiceNotifier(name).notify("READY=1", "STATUS=intake 127.0.0.1:1")
        assert receiver.recv(1_000) == b"READY=1\nSTATUS=intake 127.0.0.1:1"


def test_service_notifier_without_a_manager_does_nothing() -> None:
    ServiceNotifier("").notify("READY=1")


def test_service_notifier_lost_manager_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = str(tmp_path / "notify")
    notifier = ServiceNotifier(path)
    with caplog.at_level(logging.INFO, "serve"):
        notifier.notify("READY=1")
        notifier.notify("WATCHDOG=1")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
            receiver.bind(path)
            notifier.notify("WATCHDOG=1")
    assert [record.message for record in caplog.records] == [
        "cannot notify the service manager",
        "the service manager is notified again",
    ]
