"""The Debian package: installed, upgraded while events come, removed and purged, in a Debian system in a folder."""

import contextlib
import json
import os
import pwd
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from onhook.ops.instance_lock import START_SECONDS_MAX
from tests.install.conftest import EPOCH, NEXT_VERSION
from tests.install.debian_root import ROOT, DebianRoot
from tests.runtime.harness import CALLS_MAX, SECRET, SN, Server, call_id, wait_until, webhook_body
from tools.debian_package import build_package, debian_version
from tools.distribution import read_version

pytestmark = [pytest.mark.install, pytest.mark.timeout(3_600)]

LAUNCHER = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="intake")
os.chdir("/etc/onhook")
os.execv(sys.argv[2], sys.argv[2:])
"""
"""What systemd does when it starts the service."""

SENDERS = 4
EVENT_SECONDS = 0.04
"""Of each sender: together 100 events a second."""

UNITS = ("onhook.socket", "onhook.service")
LINKS = (
    "etc/systemd/system/sockets.target.wants/onhook.socket",
    "etc/systemd/system/multi-user.target.wants/onhook.service",
)
KEPT_BY_ADDUSER = {
    "run/adduser",
    *(f"etc/{name}-" for name in ("passwd", "group", "shadow", "gshadow", "subuid", "subgid")),
}


class EventSenders:
    """Threads that send events all the time; an event whose request was reset is sent again, as by a PBX."""

    def __init__(self, host: str, port: int) -> None:
        self._address = f"{host}:{port}"
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(index,)) for index in range(SENDERS)]
        self.numbers: list[int] = []
        self.statuses: set[int] = set()
        self.errors: list[str] = []

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def _send(self, index: int) -> None:
        server, number = Server(Path()), index + 1
        while not self._is_over.is_set():
            try:
                body = webhook_body(number)
                self.statuses.add(server.post(body, address_text=self._address, timeout_seconds=START_SECONDS_MAX))
            except ConnectionResetError:
                continue
            except OSError as error:
                self.errors.append(repr(error))
            self.numbers.append(number)
            number += SENDERS
            time.sleep(EVENT_SECONDS)


@contextlib.contextmanager
def run_service(root: DebianRoot, listener: socket.socket) -> Iterator[Server]:
    """Run the installed program as the unit does, with the socket that systemd keeps."""
    server = Server(root.path("var/lib/onhook"))
    server.log = root.path("var/log/onhook.log")
    launcher = ("/usr/lib/onhook/bin/python3", "-c", LAUNCHER, str(listener.fileno()))
    command = ("/usr/bin/onhook", "serve", "--data", "/var/lib/onhook", "--console", "127.0.0.1:0")
    with server.log.open("ab") as log:
        server.process = subprocess.Popen(
            root.build_command(*launcher, *command, user="onhook"),
            env={"PATH": os.environ["PATH"]},
            pass_fds=[listener.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        wait_until(lambda: server.address("hub") is not None, START_SECONDS_MAX, read_progress=server.read_progress)
        yield server
    finally:
        if server.process is not None:
            assert server.stop() == 0, server.log_text()


def _run_onhook(root: DebianRoot, *arguments: str) -> str:
    return root.run("/usr/bin/onhook", *arguments, "--data", "/var/lib/onhook", user="onhook")


def _count_events(root: DebianRoot, numbers: list[int]) -> int:
    """Return how many of these calls are stored."""
    rows = json.loads(_run_onhook(root, "calls", "--format", "json", "--limit", str(CALLS_MAX)))
    return len({row["call_id"] for row in rows} & {call_id(number) for number in numbers})


def _check_installed(root: DebianRoot, version: str) -> None:
    assert root.run("onhook", "--version", user="onhook").startswith(f"onhook {read_version(ROOT)} (Python 3.")
    assert root.run("dpkg-query", "--show", "--showformat=${Version} ${Status}", "onhook") == (
        f"{debian_version(version)} install ok installed"
    )
    # Of the files of the package only settings may have been changed.
    changed_files = root.run("dpkg", "--verify", "onhook").splitlines()
    assert [line for line in changed_files if " c /etc/" not in line] == []
    assert all(root.path(link).is_symlink() for link in LINKS)
    data, settings = root.path("var/lib/onhook").stat(), root.path("etc/onhook/onhook.toml").stat()
    user = root.run("getent", "passwd", "onhook").split(":")
    assert (data.st_uid, data.st_mode & 0o777) == (int(user[2]), 0o700)
    assert (settings.st_uid, settings.st_gid, settings.st_mode & 0o777) == (0, int(user[3]), 0o640)
    assert root.path("usr/share/man/man1/onhook.1.gz").exists()


def _check_policy(root: DebianRoot, *actions: str) -> None:
    """The package requested these actions, was forbidden to take them, and took none."""
    requests = [tuple(line.split()[:2]) for line in root.read_log("policy")]
    assert requests == [tuple(reversed(action.split())) for action in actions]
    lines = root.read_log("systemctl")
    assert "--system daemon-reload" in lines
    assert not any(word in line.split() for line in lines for word in ("start", "restart", "stop"))


def test_debian_package_is_installed_upgraded_under_load_removed_and_purged(
    debian_root: DebianRoot, packages: tuple[Path, Path]
) -> None:
    files_before = debian_root.list_files()
    result = debian_root.install(packages[0])
    assert result.returncode == 0, result.stderr
    _check_installed(debian_root, read_version(ROOT))
    _check_policy(debian_root, "start onhook.socket", "start onhook.service")
    _upgrade_under_load(debian_root, packages[1])
    debian_root.run("dpkg", "--remove", "onhook")
    assert not debian_root.path("usr/lib/onhook").exists()
    assert debian_root.path("var/lib/onhook/ledger.db").exists()
    assert debian_root.path("etc/onhook/onhook.toml").read_text().endswith('zone = "Europe/Berlin"\n')
    debian_root.read_log("systemctl")
    debian_root.run("dpkg", "--purge", "onhook")
    left_files = debian_root.list_files() - files_before - KEPT_BY_ADDUSER
    assert {name for name in left_files if not name.startswith("var/backups/onhook")} == set()
    assert debian_root.execute("getent", "passwd", "onhook").returncode != 0
    backups = debian_root.path("var/backups/onhook")
    assert {path.stat().st_uid for path in (backups, *backups.rglob("*"))} == {pwd.getpwnam("root").pw_uid}


def _upgrade_under_load(root: DebianRoot, package: Path) -> None:
    """No connection is refused, no event is lost; settings stay; the backup before it is restored by a command."""
    with root.path("etc/onhook/onhook.toml").open("a") as settings:
        settings.write('zone = "Europe/Berlin"\n')
    with socket.create_server(("127.0.0.1", 0), backlog=1_024) as listener, contextlib.ExitStack() as stack:
        earlier_server = stack.enter_context(run_service(root, listener))
        _run_onhook(root, "pbx", "add", "Office", "--sn", SN, "--secret", SECRET)
        senders = stack.enter_context(EventSenders(*listener.getsockname()))
        wait_until(lambda: len(senders.numbers) >= 100, read_progress=lambda: len(senders.numbers))
        result = root.install(package)
        assert result.returncode == 0, result.stderr
        _check_installed(root, NEXT_VERSION)
        _check_policy(root, "start onhook.socket", "restart onhook.service")
        # As systemd restarts the service, with the same socket.
        assert earlier_server.stop() == 0
        count = len(senders.numbers)
        with run_service(root, listener):
            wait_until(lambda: len(senders.numbers) > count + 100, read_progress=lambda: len(senders.numbers))
            stack.close()
            wait_until(lambda: _count_events(root, senders.numbers) == len(senders.numbers))
    assert (senders.errors, senders.statuses) == ([], {200})
    assert root.path("etc/onhook/onhook.toml").read_text().endswith('zone = "Europe/Berlin"\n')
    (backup,) = root.path("var/backups/onhook").iterdir()
    _run_onhook(root, "restore", f"/var/backups/onhook/{backup.name}", "--replace")
    assert "Office" in _run_onhook(root, "pbx", "list")


def test_debian_package_upgrade_without_a_backup_changes_nothing(
    debian_root: DebianRoot, packages: tuple[Path, Path]
) -> None:
    first, later = packages
    assert debian_root.install(first).returncode == 0
    with socket.create_server(("127.0.0.1", 0)) as listener, run_service(debian_root, listener):
        assert debian_root.path("var/lib/onhook/ledger.db").exists()
    debian_root.write("etc/default/onhook", "UPGRADE_BACKUP=/proc/onhook\n")
    debian_root.read_log("policy")
    result = debian_root.install(later)
    assert result.returncode != 0
    assert "onhook: nothing was upgraded" in result.stderr
    _check_installed(debian_root, read_version(ROOT))
    debian_root.write("etc/default/onhook", "UPGRADE_BACKUP=\n")
    assert debian_root.install(later).returncode == 0
    _check_installed(debian_root, NEXT_VERSION)
    assert not debian_root.path("var/backups/onhook").exists()


def test_debian_package_built_twice_is_equal_byte_for_byte(
    libraries: Path, packages: tuple[Path, Path], tmp_path: Path
) -> None:
    umask = os.umask(0o077)
    try:
        rebuilt = build_package(ROOT, tmp_path, EPOCH, libraries, compression="none")
    finally:
        os.umask(umask)
    assert rebuilt.read_bytes() == packages[0].read_bytes()
