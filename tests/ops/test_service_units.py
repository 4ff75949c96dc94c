"""Units of systemd, checked by systemd itself where it is installed; no service manager runs."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from onhook.config import Address
from onhook.lib.errors import UsageError
from onhook.ops.service_units import (
    SERVICE_NAME,
    SOCKET_NAME,
    UnitSettings,
    check_settings,
    create_files,
    parse_units,
    service_unit,
    socket_unit,
)

PACKAGING = Path(__file__).parents[2] / "packaging" / "systemd"
EXPOSURE_MAX = 20
"""Tenths: systemd calls up to 2.0 OK, and gives a unit without limits 9.6."""

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="takes systemd-analyze")


def test_service_units_of_packages_are_those_that_install_writes() -> None:
    unit_texts = {Path(path).name: text for path, text in create_files(UnitSettings()).items()}
    names = {
        "onhook.service": "onhook.service",
        "onhook.socket": "onhook.socket",
        "onhook.conf": "onhook.sysusers.conf",
    }
    assert {names[name]: text for name, text in unit_texts.items()} == {
        path.name: path.read_text() for path in PACKAGING.iterdir()
    }


@needs_systemd
@pytest.mark.parametrize("data", ["/var/lib/onhook", '/srv/my "calls", 100% of $HOME'])
def test_service_units_are_valid_and_confined(data: str, tmp_path: Path) -> None:
    program = str(Path(sys.executable).with_name("onhook"))
    settings = UnitSettings(
        program=program, data=data, intake=Address("::", 30012), options=("--zone", "Europe/Berlin")
    )
    (tmp_path / SERVICE_NAME).write_text(service_unit(settings))
    (tmp_path / SOCKET_NAME).write_text(socket_unit(settings))
    for arguments in (
        ("verify", "--man=no", str(tmp_path / SERVICE_NAME), str(tmp_path / SOCKET_NAME)),
        ("security", "--offline=true", f"--threshold={EXPOSURE_MAX}", str(tmp_path / SERVICE_NAME)),
    ):
        command = ["systemd-analyze", "--no-pager", *arguments]
        result = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=False)
        assert (result.returncode, result.stderr) == (0, ""), result.stdout


def test_service_units_data_directory_is_made_by_systemd_or_writable() -> None:
    assert "\nStateDirectory=onhook/calls\n" in service_unit(UnitSettings(data="/var/lib/onhook/calls"))
    unit = service_unit(UnitSettings(data="/srv/calls $1"))
    assert '\nReadWritePaths="/srv/calls $1"\n' in unit
    assert '\nExecStart=/usr/bin/onhook serve --data "/srv/calls $$1"\n' in unit
    assert "StateDirectory=" not in unit


@pytest.mark.parametrize("data", ["/var/lib/onhook", "/srv/my \"calls\", 100% of $HOME 'n' \\ #1"])
def test_service_units_are_read_as_they_were_written(data: str) -> None:
    settings = UnitSettings(
        program="/opt/on hook/onhook", user="pbx", data=data, intake=Address("::", 1), options=("--zone", "UTC")
    )
    assert parse_units(service_unit(settings), socket_unit(settings)) == settings


@pytest.mark.parametrize(
    "start",
    [
        "",
        "/bin/true",
        '/opt/"',
        "/usr/bin/python3 -m onhook serve",
        "/opt/onhook serve --data /var/lib/onhook --demo",
    ],
)
def test_service_units_of_another_hand_are_refused(start: str) -> None:
    with pytest.raises(UsageError, match="was not written by"):
        parse_units(f"[Service]\nUser=pbx\nExecStart={start}\n", socket_unit(UnitSettings()))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"user": "root"}, "'root' cannot be the user"),
        ({"user": "a\nExecStart=x"}, "cannot be the user"),
        ({"intake": Address("pbx.example.com", 30012)}, "pbx.example.com is not an IP address"),
        ({"intake": Address("127.0.0.1", 0)}, "needs a fixed port"),
        ({"data": "onhook-data"}, "'onhook-data' is not a full path"),
        ({"data": "/var/lib/../root"}, "is not a full path"),
        ({"data": "/srv/a\nUser=root"}, "is not a full path"),
        ({"program": "/home/alice/.local/bin/onhook"}, "cannot see /home"),
        ({"data": "/root/onhook-data"}, "cannot see /root"),
        ({"data": "/root"}, "cannot see /root"),
        ({"data": "/home"}, "cannot see /home"),
        ({"data": "/"}, "/ has other files than those of Onhook"),
        ({"data": "/var/lib"}, "/var/lib has other files"),
        ({"data": "/srv"}, "/srv has other files"),
        ({"data": "/opt/onhook", "program": "/opt/onhook/bin/onhook"}, "/opt/onhook has other files"),
    ],
)
def test_check_settings_unusable_one_is_refused(change: dict[str, object], error: str) -> None:
    check_settings(UnitSettings())
    with pytest.raises(UsageError, match=error):
        check_settings(msgspec.structs.replace(UnitSettings(), **change))
