"""Texts of the systemd units of Onhook, and of the file that declares its user.

Invariant: `packaging/systemd` has the units with the settings of a package.
"""

import ipaddress
import os
import re
import shlex
from collections.abc import Mapping
from pathlib import PurePosixPath

import msgspec

from onhook.config import Address, parse_address
from onhook.lib.errors import UsageError
from onhook.lib.messages import _

SERVICE_NAME = "onhook.service"
SOCKET_NAME = "onhook.socket"
UNIT_DIRECTORY = "/etc/systemd/system"

STATE_DIRECTORY = PurePosixPath("/var/lib")
"""Where systemd makes the data directory itself."""

HIDDEN_DIRECTORIES = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")  # noqa: S108 - nothing is written there
"""Directories that the service cannot see, or sees empty."""

SHARED_DIRECTORIES = (
    "/boot",
    "/dev",
    "/etc",
    "/media",
    "/mnt",
    "/opt",
    "/proc",
    "/run",
    "/srv",
    "/sys",
    "/usr/bin",
    "/usr/lib",
    "/usr/local",
    "/usr/sbin",
    "/usr/share",
    "/var/cache",
    "/var/lib",
    "/var/log",
    "/var/spool",
)
"""Directories with files of other programs: the data directory, which the service alone may read, has none of them."""

USER_NAME = re.compile(r"[a-z_][a-z0-9_-]{0,30}")
_PLAIN_WORD = re.compile(r"[A-Za-z0-9_@+=:,./-]+")

SERVICE_TEMPLATE = """\
# Written by `onhook service install`. Changes belong in a drop-in: `systemctl edit onhook.service`.
[Unit]
Description=Onhook: call history, reports and webhooks for PBXs
Documentation=man:onhook(1)
Requires=onhook.socket
Wants=network-online.target
After=network-online.target onhook.socket
StartLimitIntervalSec=5min
StartLimitBurst=20

[Service]
Type=notify
NotifyAccess=main
User={user}
Group={user}
UMask=0077
# onhook.toml is read there.
ConfigurationDirectory=onhook
WorkingDirectory=/etc/onhook
{data_lines}
ExecStart={command}
SyslogIdentifier=onhook

# The supervisor stops its processes in order. It waits for each, and for a store that is opened after a crash.
KillMode=mixed
TimeoutStartSec=5min
TimeoutStopSec=75s
WatchdogSec=60s
Restart=on-failure
RestartSec=1s
# A wrong setting, which only a person can resolve.
RestartPreventExitStatus=2

# Of all processes together. A process that is killed for its memory is restarted by the supervisor.
MemoryHigh=1536M
MemoryMax=2G
OOMPolicy=continue
TasksMax=512
# The intake accepts 10,000 connections.
LimitNOFILE=16384
LimitCORE=0

CapabilityBoundingSet=
AmbientCapabilities=
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
DevicePolicy=closed
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProcSubset=pid
LockPersonality=yes
MemoryDenyWriteExecute=yes
RemoveIPC=yes
KeyringMode=private
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
"""

SOCKET_TEMPLATE = """\
# Written by `onhook service install`. Stays open while the service restarts, so that no connection is refused.
[Unit]
Description=Onhook: where PBXs send events
Documentation=man:onhook(1)

[Socket]
ListenStream={address}
FileDescriptorName=intake
Backlog=1024

[Install]
WantedBy=sockets.target
"""

USER_TEMPLATE = """\
# Written by `onhook service install`.
u {user} - "Onhook" {data} -
"""


class UnitSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What units differ in: `program` and `data` are absolute paths, `options` are further ones of `onhook serve`."""

    program: str = "/usr/bin/onhook"
    user: str = "onhook"
    data: str = "/var/lib/onhook"
    intake: Address = Address("0.0.0.0", 30012)  # noqa: S104 - PBXs are on other hosts and must reach this port
    options: tuple[str, ...] = ()

    @property
    def has_state_directory(self) -> bool:
        """Return whether systemd makes the data directory."""
        return STATE_DIRECTORY in PurePosixPath(self.data).parents


def check_settings(settings: UnitSettings) -> None:
    """Check what systemd cannot use. Raises `UsageError`."""
    if not USER_NAME.fullmatch(settings.user) or settings.user == "root":
        raise UsageError(
            _("{name} cannot be the user of the service", name=repr(settings.user)),
            location="--user",
            hint=_("write another name, such as onhook"),
        )
    try:
        ipaddress.ip_address(settings.intake.host)
    except ValueError as error:
        raise UsageError(
            _("{host} is not an IP address", host=settings.intake.host),
            location="--intake",
            hint=_("write one such as 0.0.0.0:30012, or [::]:30012"),
        ) from error
    if not settings.intake.port:
        raise UsageError(
            _("the intake of a service needs a fixed port"), location="--intake", hint=_("write one such as 30012")
        )
    for option, path in (("--program", settings.program), ("--data", settings.data)):
        if os.path.normpath(path) != path or not path.startswith("/") or any(c in path for c in "\n\r\0"):
            raise UsageError(
                _("{path} is not a full path", path=repr(path)), location=option, hint=_("write it from / on")
            )
        if hidden := find_hidden_directory(path):
            raise UsageError(
                _("the service cannot see {directory}", directory=hidden),
                location=path,
                hint=_("install Onhook in /opt/onhook, and keep its data in /var/lib/onhook"),
            )
    if any(PurePosixPath(path).is_relative_to(settings.data) for path in (*SHARED_DIRECTORIES, settings.program)):
        raise UsageError(
            _("{directory} has other files than those of Onhook", directory=settings.data),
            location="--data",
            hint=_("write a directory of its own, such as /var/lib/onhook"),
        )


def find_hidden_directory(path: str) -> str:
    """Return the hidden directory that a path is, or is in; empty where there is none.

    >>> find_hidden_directory("/home/alice/.local/bin/onhook"), find_hidden_directory("/homes/onhook")
    ('/home', '')
    """
    own_path = PurePosixPath(path)
    return next((directory for directory in HIDDEN_DIRECTORIES if own_path.is_relative_to(directory)), "")


def create_files(settings: UnitSettings) -> Mapping[str, str]:
    """Return the files of the service: paths and texts."""
    return {
        "/etc/sysusers.d/onhook.conf": USER_TEMPLATE.format(user=settings.user, data=quote_word(settings.data)),
        f"{UNIT_DIRECTORY}/{SOCKET_NAME}": socket_unit(settings),
        f"{UNIT_DIRECTORY}/{SERVICE_NAME}": service_unit(settings),
    }


def parse_units(service_text: str, socket_text: str) -> UnitSettings:
    """Return the settings of units that were written before, by this version or another one; `options` are pairs of a
    name and a value. Raises `UsageError`.
    """
    values = dict(re.findall(r"^(\w+)=(.+)$", f"{service_text}\n{socket_text}", re.MULTILINE))
    try:
        words = [word.replace("%%", "%").replace("$$", "$") for word in shlex.split(values["ExecStart"])]
        program, command, option, data, *options = words
        user, address = values["User"], values["ListenStream"]
    except (KeyError, ValueError) as error:
        raise _other_unit_error() from error
    if (command, option) != ("serve", "--data") or len(options) % 2:
        raise _other_unit_error()
    intake = parse_address(address, SOCKET_NAME)
    return UnitSettings(program=program, user=user, data=data, intake=intake, options=tuple(options))


def _other_unit_error() -> UsageError:
    return UsageError(
        _("{name} was not written by `onhook service install`", name=SERVICE_NAME),
        location=UNIT_DIRECTORY,
        hint=_("remove it by `onhook service uninstall`, then install it with all options"),
    )


def service_unit(settings: UnitSettings) -> str:
    """Return the unit of the server."""
    words = (settings.program, "serve", "--data", settings.data, *settings.options)
    if settings.has_state_directory:
        name = PurePosixPath(settings.data).relative_to(STATE_DIRECTORY)
        data_lines = f"StateDirectory={quote_word(str(name))}\nStateDirectoryMode=0700"
    else:
        data_lines = f"ReadWritePaths={quote_word(settings.data)}"
    command = " ".join(quote_word(word).replace("$", "$$") for word in words)
    return SERVICE_TEMPLATE.format(user=settings.user, data_lines=data_lines, command=command)


def socket_unit(settings: UnitSettings) -> str:
    """Return the unit of the socket at which PBXs send events."""
    return SOCKET_TEMPLATE.format(address=settings.intake)


def quote_word(word: str) -> str:
    r"""Return a word as systemd reads it in a unit.

    >>> print(quote_word("/var/lib/onhook"), quote_word("/srv/100% \"calls\""))
    /var/lib/onhook "/srv/100%% \"calls\""
    """
    if _PLAIN_WORD.fullmatch(word):
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'
