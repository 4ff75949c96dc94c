"""`onhook service`, on files of a system in a directory, and with a `systemctl` that answers as the real one does."""

import io
import os
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Command

UNITS = ("etc/sysusers.d/onhook.conf", "etc/systemd/system/onhook.socket", "etc/systemd/system/onhook.service")
PROGRAM = ("--program", "/opt/onhook/bin/onhook")

ADDRESSES = "intake 0.0.0.0:30012, console 127.0.0.1:8030"
RUNNING = f"""\
MainPID=4711
NRestarts=2
StatusText={ADDRESSES}
Id=onhook.service
LoadState=loaded
ActiveState=active
SubState=running
UnitFileState=enabled

Id=onhook.socket
LoadState=loaded
ActiveState=active
SubState=running
UnitFileState=enabled
"""
MISSING = """\
MainPID=0
NRestarts=0
StatusText=
Id=onhook.service
LoadState=not-found
ActiveState=inactive
SubState=dead
UnitFileState=
"""


def _answer(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))


def _install_systemctl(directory: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    program = directory / "bin" / "systemctl"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")


def test_service_install_shows_steps_and_writes_after_a_yes(
    onhook: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("service", "install", "--root", str(tmp_path), "--zone", "Europe/Berlin", *PROGRAM)
    _answer(monkeypatch, "n\n")
    code, out, error = onhook(*command)
    assert (code, error) == (2, "onhook: nothing was changed\n")
    assert [f"  write {tmp_path / name}" in out for name in UNITS] == [True] * 3
    assert not (tmp_path / "etc").exists()
    _answer(monkeypatch, "y\n")
    assert onhook(*command)[0] == 0
    texts = {name: (tmp_path / name).read_text() for name in UNITS}
    start = "ExecStart=/opt/onhook/bin/onhook serve --data /var/lib/onhook --zone Europe/Berlin\n"
    assert start in texts[UNITS[2]]
    assert "ListenStream=0.0.0.0:30012\n" in texts[UNITS[1]]
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in UNITS] == [0o644] * 3
    # Again: only what differs.
    assert "write" not in onhook(*command, "--yes")[1]
    code, out, _error = onhook(*command, "--intake", "[::]:30013", "--yes")
    assert [f"  write {tmp_path / name}" in out for name in UNITS] == [False, True, False]
    assert "ListenStream=[::]:30013\n" in (tmp_path / UNITS[1]).read_text()


def test_service_install_again_keeps_settings_that_are_not_given(onhook: Command, tmp_path: Path) -> None:
    """As after an upgrade: without the data directory, the server would know no PBX."""
    command = ("service", "install", "--yes", "--root", str(tmp_path), *PROGRAM)
    settings = ("--data", "/srv/my calls", "--user", "pbx", "--intake", "127.0.0.1:30013", "--zone", "Europe/Berlin")
    assert onhook(*command, *settings)[0] == 0
    texts = {name: (tmp_path / name).read_text() for name in UNITS}
    assert (onhook(*command)[0], {name: (tmp_path / name).read_text() for name in UNITS}) == (0, texts)
    assert onhook(*command, "--zone", "UTC", "--console", "127.0.0.1:8031")[0] == 0
    (start,) = (line for line in (tmp_path / UNITS[2]).read_text().splitlines() if line.startswith("ExecStart="))
    assert start == f'ExecStart={PROGRAM[1]} serve --data "/srv/my calls" --zone UTC --console 127.0.0.1:8031'
    (tmp_path / UNITS[2]).write_text("[Service]\nExecStart=/bin/true\n")
    code, _out, error = onhook(*command)
    assert (code, "was not written by `onhook service install`" in error) == (2, True)


def test_service_install_print_changes_nothing(onhook: Command, tmp_path: Path) -> None:
    code, out, _error = onhook("service", "install", "--print", "--root", str(tmp_path))
    assert code == 0
    assert [f"# /{name}\n" in out for name in UNITS] == [True] * 3
    assert "Type=notify\n" in out
    assert not (tmp_path / "etc").exists()


def test_service_install_shows_commands_in_their_order(onhook: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of this machine, where nothing is changed without an answer."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    _answer(monkeypatch, "")
    code, out, error = onhook("service", "install", "--data", "/srv/calls of 2026", *PROGRAM)
    assert (code, error) == (2, "onhook: nothing was changed: answer the question, or add --yes\n")
    commands = [line.removeprefix("  run ") for line in out.splitlines() if line.startswith("  run ")]
    assert [command for command in commands if "stop" not in command] == [
        "systemd-sysusers /etc/sysusers.d/onhook.conf",
        "install -d -m 0700 -o onhook -g onhook '/srv/calls of 2026'",
        "systemctl daemon-reload",
        "systemctl enable onhook.socket onhook.service",
        "systemctl start onhook.socket",
        "systemctl restart onhook.service",
    ]


@pytest.mark.parametrize("command", ["install", "uninstall"])
def test_service_changes_need_root(command: str, onhook: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    arguments = PROGRAM if command == "install" else ()
    code, _out, error = onhook("service", command, "--yes", *arguments)
    assert (code, error.count("\n")) == (2, 1)
    assert f"run `sudo onhook service {command}`" in error


def test_service_install_program_that_the_service_cannot_see_is_refused(onhook: Command, tmp_path: Path) -> None:
    program = "/home/alice/.local/bin/onhook"
    code, _out, error = onhook("service", "install", "--yes", "--root", str(tmp_path), "--program", program)
    assert (code, "the service cannot see /home" in error) == (2, True)
    code, out, error = onhook("service", "install", "--print", "--program", program)
    assert (code, f"ExecStart={program} " in out) == (0, True)
    assert f"the service cannot see {program}" in error


def test_service_uninstall_removes_what_install_has_written(onhook: Command, tmp_path: Path) -> None:
    code, _out, error = onhook("service", "uninstall", "--root", str(tmp_path), "--yes")
    assert (code, "the service is not installed" in error) == (2, True)
    onhook("service", "install", "--root", str(tmp_path), "--yes", *PROGRAM)
    code, out, _error = onhook("service", "uninstall", "--root", str(tmp_path), "--yes")
    assert code == 0
    assert [f"  remove {tmp_path / name}" in out for name in UNITS] == [True] * 3
    assert [path for path in (tmp_path / "etc").rglob("*") if path.is_file()] == []


def test_service_status_shows_units(onhook: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _install_systemctl(tmp_path, monkeypatch, f"cat <<'END'\n{RUNNING}END")
    code, out, _error = onhook("service", "status")
    assert code == 0
    assert out.splitlines() == [
        f"onhook.service  active (running), enabled, process 4711, restarts: 2, {ADDRESSES}",
        "onhook.socket   active (running), enabled",
    ]


def test_service_status_without_a_service_fails(
    onhook: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _install_systemctl(tmp_path, monkeypatch, f"cat <<'END'\n{MISSING}END")
    code, out, error = onhook("service", "status")
    assert (code, error.startswith("onhook: the service does not run: ")) == (1, True)
    assert out == "onhook.service  not installed: `onhook service install` installs it\n"


@pytest.mark.parametrize(
    ("script", "reason"),
    [("echo 'System has not been booted.' >&2; exit 1", "System has not been booted"), ("exit 4", "exit code 4")],
)
def test_service_error_of_systemctl_is_shown(
    script: str, reason: str, onhook: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _install_systemctl(tmp_path, monkeypatch, script)
    code, _out, error = onhook("service", "status")
    assert (code, error.count("\n")) == (1, 1)
    assert f"failed: {reason}: " in error


def test_service_status_without_systemd_says_so(onhook: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    code, _out, error = onhook("service", "status")
    assert (code, error) == (1, "onhook: systemctl is not installed: this takes a machine with systemd\n")
