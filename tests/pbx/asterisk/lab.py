"""A laboratory: a real Asterisk in a folder, with SIPp telephones and a SIPp trunk, all on the loopback.

The root folder is built once by debootstrap from the machine's own package source (one minute, 500 MB); each run has
its own folder in it, free ports, and the configuration of `etc/`. Requires root, debootstrap and sipp.
"""

import base64
import contextlib
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from onhook.pbx.asterisk.session import AmiCredentials, AmiSession
from tests.pbx.asterisk.referring import TransferringPhone

DIRECTORY = Path(__file__).parent
CHROOT = Path(os.environ.get("ONHOOK_ASTERISK_LAB") or DIRECTORY.parents[2] / "test-output" / "asterisk-lab")
DEBIAN_SUITE = "sid"
"""The only Debian suite that contains Asterisk."""

USER, SECRET = "onhook", "s3cret-of-the-laboratory"
OPERATOR, OPERATOR_SECRET = "operator", "s3cret-of-the-operator"
TRUNK_ADDRESS = "127.0.0.2"
BEHAVIOURS = ("answering", "busy", "silent", "forwarding", "transferring", "consulting")
CLOCK_CHANGES: Mapping[str, int] = {"summer time begins": 1, "summer time ends": -1}
"""Zones an hour ahead of UTC in which the clock is put forward, or back, by so many hours soon after the start."""

CLOCK_CHANGE_SECONDS = 60
"""From the preparation of a laboratory to the change: until then its parts have started."""

WAIT_SECONDS_MAX = 60.0
CALLER_SECONDS_MAX = 60
"""Limit of a call whose PBX has crashed."""

IDLE_SECONDS = 2.0
"""Silence after which a stream counts as complete."""

RTP_PORTS = 1200
"""Two for each channel of the scenario with 200 concurrent calls, and a reserve."""


def missing_requirement() -> str:
    """Return what the machine lacks for a laboratory; empty if nothing is missing."""
    if os.geteuid() != 0:
        return "the laboratory requires root for its root folder"
    for program, package in (("debootstrap", "debootstrap"), ("sipp", "sip-tester")):
        if shutil.which(program) is None:
            return f"the laboratory requires {program}: apt-get install {package}"
    return ""


def build() -> None:
    """Build the root folder if it does not exist. Raises `CalledProcessError` if debootstrap fails."""
    if (CHROOT / "usr/sbin/asterisk").exists():
        return
    shutil.rmtree(CHROOT, ignore_errors=True)
    CHROOT.parent.mkdir(parents=True, exist_ok=True)
    packages = "--include=asterisk,ca-certificates"
    # The keys of the other suite may be missing here; the installed programs run only on the loopback, in a folder, for
    # tests.
    subprocess.run(
        ["debootstrap", "--variant=minbase", "--no-check-gpg", packages, DEBIAN_SUITE, str(CHROOT), _mirror(), "sid"],
        check=True,
        stdout=subprocess.DEVNULL,
    )


def _mirror() -> str:
    """Return the package source of this machine."""
    sources = [*sorted(Path("/etc/apt").glob("sources.list.d/*.sources")), Path("/etc/apt/sources.list")]
    for path in sources:
        text = path.read_text() if path.exists() else ""
        if match := re.search(r"^(?:URIs:|deb(?: \[.*?\])?)\s+(\S+)", text, re.MULTILINE):
            return match[1]
    raise AssertionError("no package source found in /etc/apt")


class AsteriskLab:
    """A running Asterisk and its telephones."""

    def __init__(self, name: str, changes: Mapping[str, str] | None = None, zone: str = "") -> None:
        """Prepare a laboratory. `changes` are configuration files in place of those in `etc/`; `zone` is a name such as
        `Australia/Sydney`, or one of `CLOCK_CHANGES`.

        The time zone belongs to the root folder, so only one laboratory can run at a time.
        """
        self.chroot_path = f"/laboratory/{name}"
        self.directory = CHROOT / self.chroot_path.lstrip("/")
        self.ports = _allocate_ports()
        self.asterisk: subprocess.Popen[bytes] | None = None
        self._changes = dict(changes or {})
        self._zone = zone or "Etc/UTC"
        self.clock_changes_at = 0
        self._phones: list[subprocess.Popen[bytes] | TransferringPhone] = []

    @property
    def ami_port(self) -> int:
        return self.ports["AMI_PORT"]

    def start(self) -> None:
        """Start Asterisk and all telephones."""
        self._configure()
        self.start_asterisk()
        for behaviour in BEHAVIOURS:
            self._phones.append(self._start_phone(behaviour, "127.0.0.1", self.ports[f"{behaviour.upper()}_PORT"]))
        self._phones.append(self._start_phone("answering", TRUNK_ADDRESS, self.ports["TRUNK_PORT"]))
        self._phones.append(TransferringPhone(self.ports["REFERRING_PORT"], self.ports["SIP_PORT"]))

    def start_asterisk(self) -> None:
        """Start Asterisk and return when it is ready."""
        with (self.directory / "log" / "out").open("ab") as out:
            self.asterisk = subprocess.Popen(
                ["chroot", str(CHROOT), "asterisk", "-f", "-U", "asterisk", "-C", f"{self.chroot_path}/asterisk.conf"],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        wait_until(lambda: "fully booted" in self.cli("core waitfullybooted"))

    def restart_gracefully(self) -> None:
        """Restart Asterisk when no call is active; the command itself waits for that."""
        command = [
            "chroot",
            str(CHROOT),
            "asterisk",
            "-C",
            f"{self.chroot_path}/asterisk.conf",
            "-rx",
            "core restart gracefully",
        ]
        self._phones.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL))

    def kill_asterisk(self) -> None:
        """Kill Asterisk as in a crash."""
        assert self.asterisk is not None
        self.asterisk.kill()
        self.asterisk.wait()

    def stop(self) -> None:
        """Stop the telephones and Asterisk, and delete the folder of the run."""
        for phone in self._phones:
            phone.kill()
            phone.wait()
        if self.asterisk is not None:
            self.cli("core stop now")
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.asterisk.wait(WAIT_SECONDS_MAX)
            self.asterisk.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def cli(self, command: str) -> str:
        """Return the output of a command of Asterisk's command line; empty if Asterisk is not running."""
        arguments = ["chroot", str(CHROOT), "asterisk", "-C", f"{self.chroot_path}/asterisk.conf", "-rx", command]
        return subprocess.run(arguments, capture_output=True, text=True, check=False).stdout

    def call(
        self,
        number: str,
        *,
        caller: str = "1001",
        name: str = "Alice",
        talk_seconds: float = 2.0,
        behaviour: str = "calling",
        call_count: int = 1,
    ) -> "subprocess.Popen[bytes]":
        """Start calls from a telephone. A caller with more than four digits calls from outside, over the trunk."""
        address = TRUNK_ADDRESS if len(caller) > 4 else "127.0.0.1"
        options = ["-i", address, "-mi", address, "-s", number, "-key", "caller", caller, "-key", "name", name]
        options += ["-d", str(round(talk_seconds * 1000)), "-m", str(call_count), "-l", str(call_count), "-r", "15"]
        options += ["-timeout", str(CALLER_SECONDS_MAX), "-recv_timeout", str(CALLER_SECONDS_MAX * 1000)]
        process = self._start_sipp(behaviour, [*options, f"127.0.0.1:{self.ports['SIP_PORT']}"])
        self._phones.append(process)
        return process

    def channel(self, prefix: str) -> str:
        """Return the name of the first channel with this prefix."""
        lines = self.cli("core show channels concise").splitlines()
        return next(line.split("!")[0] for line in lines if line.startswith(prefix))

    def run_ami_action(self, action: str, **fields: str) -> str:
        """Run an AMI action as operator and return the response."""
        lines = {"Action": "Login", "Username": OPERATOR, "Secret": OPERATOR_SECRET, "Events": "off"}
        with socket.create_connection(("127.0.0.1", self.ami_port), WAIT_SECONDS_MAX) as connection:
            response = b""
            for action_fields in (lines, {"Action": action, **fields}):
                text = "".join(f"{name}: {value}\r\n" for name, value in action_fields.items())
                connection.sendall(f"{text}\r\n".encode())
                response = b""
                while not response.endswith(b"\r\n\r\n"):
                    response += connection.recv(65_536)
        return response.decode()

    def originate(self, channel: str, **fields: str) -> None:
        """Let Asterisk call a first party, without waiting for its answer."""
        defaults = {"CallerID": '"Web" <95550123>', "Async": "true", "Timeout": "10000"}
        self.run_ami_action("Originate", Channel=channel, **defaults | fields)

    def write_call_file(self, lines: Mapping[str, str]) -> None:
        """Let Asterisk make the call of a file, which must appear at once as a whole."""
        path = self.directory / "new" / "click.call"
        path.write_text("".join(f"{name}: {value}\n" for name, value in lines.items()))
        shutil.chown(path, "root", "root")
        path.chmod(0o666)
        path.rename(self.directory / "outgoing" / path.name)

    def request_ari(self, method: str, path: str, **query: str) -> Any:
        """Run a request of the REST interface as operator and return the response."""
        url = f"http://127.0.0.1:{self.ports['HTTP_PORT']}/ari/{path}?{urlencode(query)}"
        credentials = base64.b64encode(f"{OPERATOR}:{OPERATOR_SECRET}".encode()).decode()
        request = urllib.request.Request(url, method=method, headers={"Authorization": f"Basic {credentials}"})
        with urllib.request.urlopen(request, timeout=WAIT_SECONDS_MAX) as response:  # noqa: S310 - on the loopback
            content = response.read()
        return json.loads(content) if content else None

    @contextlib.contextmanager
    def open_listener(self) -> Iterator["AmiListener"]:
        """Open a connection that receives the same events as Onhook."""
        with socket.create_connection(("127.0.0.1", self.ami_port), WAIT_SECONDS_MAX) as connection:
            yield AmiListener(connection)

    def wait_until_idle(self) -> None:
        """Return when no call is active."""
        wait_until(lambda: "0 active channels" in self.cli("core show channels"))

    def wait_for_clock_change(self, seconds_before: float) -> None:
        """Return so many seconds before the clock of this laboratory is changed."""
        seconds = self.clock_changes_at - seconds_before - time.time()
        assert seconds > 0, "the clock was changed before the telephones were ready"
        time.sleep(seconds)

    def _configure(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)
        for subdirectory in ("log/cdr-csv", "log/cdr-custom", "voicemail", "monitor", "outgoing", "new"):
            (self.directory / subdirectory).mkdir(parents=True)
        # Asterisk resolves its own host name in every call; an unknown name delays each call.
        host_names = f"localhost {socket.gethostname()} A.ROOT-SERVERS.NET"
        (CHROOT / "etc/hosts").write_text(f"127.0.0.1 {host_names}\n")
        zone = self._read_zone()
        # Asterisk reads this file, not the environment.
        (CHROOT / "etc/localtime").unlink(missing_ok=True)
        (CHROOT / "etc/localtime").write_bytes(zone)
        modules = next(CHROOT.glob("usr/lib/*/asterisk/modules"))
        substitutions = {"RUN": self.chroot_path, "MODULES": "/" + str(modules.relative_to(CHROOT)), **self.ports}
        texts = {path.name: path.read_text() for path in (DIRECTORY / "etc").iterdir()} | self._changes
        for name, text in texts.items():
            config_text = re.sub(r"@(\w+)@", lambda match: str(substitutions[match[1]]), text)
            (self.directory / name).write_text(config_text)
        subprocess.run(["chroot", str(CHROOT), "chown", "-R", "asterisk:", self.chroot_path], check=True)

    def _read_zone(self) -> bytes:
        """Return the file of the zone."""
        if self._zone in CLOCK_CHANGES:
            self.clock_changes_at = round(time.time()) + CLOCK_CHANGE_SECONDS
            return format_zone_file(self.clock_changes_at, 3600, (1 + CLOCK_CHANGES[self._zone]) * 3600)
        region, _, city = self._zone.rpartition("/")
        return resources.files(f"tzdata.zoneinfo.{region.replace('/', '.')}").joinpath(city).read_bytes()

    def _start_phone(self, behaviour: str, address: str, port: int) -> "subprocess.Popen[bytes]":
        return self._start_sipp(behaviour, ["-i", address, "-mi", address, "-p", str(port), "-l", "2000"])

    def _start_sipp(self, scenario: str, options: list[str]) -> "subprocess.Popen[bytes]":
        command = ["sipp", "-sf", str(DIRECTORY / "phones" / f"{scenario}.xml"), "-nostdin", "-timer_resol", "10"]
        if os.environ.get("LAB_TRACE"):
            command += ["-trace_err", "-trace_msg"]
        return subprocess.Popen(
            [*command, *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self.directory / "log",
        )


def format_zone_file(changed_at: int, offset: int, later_offset: int) -> bytes:
    """Return a zone file (RFC 8536) of a zone whose offset from UTC changes once; all in seconds."""
    blocks = b""
    for version, time_format in ((b"2", ">i"), (b"2", ">q")):
        counts = struct.pack(">6I", 0, 0, 0, 1, 2, 8)
        types = struct.pack(">iBBiBB", offset, 0, 0, later_offset, 1, 4)
        blocks += b"TZif" + version + bytes(15) + counts
        blocks += struct.pack(time_format, changed_at) + b"\x01" + types + b"ONE\0TWO\0"
    return blocks + b"\n\n"


class AmiListener:
    """A connection that uses Onhook's AMI session and collects the received bytes."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._session = AmiSession(AmiCredentials(USER, SECRET))
        while self._session.state != "ready":
            self._session.receive_data(connection.recv(65_536))
            connection.sendall(self._session.data_to_send())

    def read_until_idle(self) -> bytes:
        """Return everything received since the last time, once nothing more arrives."""
        received = bytearray()
        self._connection.settimeout(IDLE_SECONDS)
        with contextlib.suppress(TimeoutError):
            while data := self._connection.recv(65_536):
                received += data
        return bytes(received)


@contextlib.contextmanager
def open_asterisk_lab(name: str, changes: Mapping[str, str] | None = None, zone: str = "") -> Iterator[AsteriskLab]:
    """Start a laboratory, and stop it at the end of the block."""
    lab = AsteriskLab(name, changes, zone)
    try:
        lab.start()
        yield lab
    finally:
        lab.stop()


def wait_until(condition: Callable[[], bool], seconds: float = WAIT_SECONDS_MAX) -> None:
    """Wait until the condition holds. Fails after the time limit."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not become true in time"
        time.sleep(0.1)


def _allocate_ports() -> dict[str, int]:
    """Return free ports; the RTP ports are consecutive."""
    names = (
        "SIP_PORT",
        "TRUNK_PORT",
        "REFERRING_PORT",
        *(f"{reserved_socket.upper()}_PORT" for reserved_socket in BEHAVIOURS),
    )
    udp_sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in names]
    with (
        contextlib.ExitStack() as exit_stack,
        socket.create_server(("127.0.0.1", 0)) as ami,
        socket.create_server(("127.0.0.1", 0)) as http,
    ):
        for reserved_socket in udp_sockets:
            exit_stack.enter_context(reserved_socket).bind(("127.0.0.1", 0))
        ports = {
            name: int(reserved_socket.getsockname()[1])
            for name, reserved_socket in zip(names, udp_sockets, strict=True)
        }
        rtp = 20_000 + os.getpid() % 100 * 200
        tcp_ports = {"AMI_PORT": int(ami.getsockname()[1]), "HTTP_PORT": int(http.getsockname()[1])}
        return ports | tcp_ports | {"RTP_FIRST": rtp, "RTP_LAST": rtp + RTP_PORTS}
