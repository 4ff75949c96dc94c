"""A laboratory: a real Asterisk in a folder, with SIPp telephones and a SIPp trunk, all on the loopback.

The root folder is made once by debootstrap from the machine's own package source (a minute, 500 MB); each run has its
own folder in it, free ports, and the configuration of `etc/`. It takes root, debootstrap and sipp.
"""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from importlib import resources
from pathlib import Path

from onhook.pbx.asterisk.session import Login, Session
from tests.pbx.asterisk.referring import Referring

HERE = Path(__file__).parent
ROOT = Path(os.environ.get("ONHOOK_ASTERISK_LAB") or HERE.parents[2] / "test-output" / "asterisk-lab")
SUITE = "sid"
"""The only one of Debian's that has Asterisk."""

USER, SECRET = "onhook", "s3cret-of-the-laboratory"
OPERATOR, OPERATOR_SECRET = "operator", "s3cret-of-the-operator"
TRUNK_ADDRESS = "127.0.0.2"
BEHAVIOURS = ("answering", "busy", "silent", "forwarding", "transferring")
PATIENCE_SECONDS = 60.0
CALLER_SECONDS_MAX = 60
"""A caller whose PBX died gives up after this."""

SILENT_SECONDS = 2.0
"""Whoever said nothing for so long has said all."""

RTP_PORTS = 1200
"""Two for each channel of the scenario with 200 calls at once, and some."""


def missing() -> str:
    """What keeps this machine from having a laboratory; empty where nothing does."""
    if os.geteuid() != 0:
        return "the laboratory takes root, for a root folder of its own"
    for program, package in (("debootstrap", "debootstrap"), ("sipp", "sip-tester")):
        if shutil.which(program) is None:
            return f"the laboratory needs {program}: apt-get install {package}"
    return ""


def build() -> None:
    """Make the root folder unless it is there. Raises `CalledProcessError` with debootstrap's own words."""
    if (ROOT / "usr/sbin/asterisk").exists():
        return
    shutil.rmtree(ROOT, ignore_errors=True)
    ROOT.parent.mkdir(parents=True, exist_ok=True)
    packages = "--include=asterisk,ca-certificates"
    # The keys of the other release may not be here; what is installed runs on the loopback, in a folder, for a test.
    subprocess.run(
        ["debootstrap", "--variant=minbase", "--no-check-gpg", packages, SUITE, str(ROOT), _mirror(), "sid"],
        check=True,
        stdout=subprocess.DEVNULL,
    )


def _mirror() -> str:
    """Where this machine gets its own packages from."""
    sources = [*sorted(Path("/etc/apt").glob("sources.list.d/*.sources")), Path("/etc/apt/sources.list")]
    for path in sources:
        text = path.read_text() if path.exists() else ""
        if found := re.search(r"^(?:URIs:|deb(?: \[.*?\])?)\s+(\S+)", text, re.MULTILINE):
            return found[1]
    raise AssertionError("this machine names no package source in /etc/apt")


class Laboratory:
    """One Asterisk that runs, and its telephones."""

    def __init__(self, name: str, changes: Mapping[str, str] | None = None, zone: str = "") -> None:
        """`changes` are configuration files in place of those of `etc/`; `zone` is such as `Australia/Sydney`.

        A root folder has one zone, and so one laboratory at a time.
        """
        self.inside = f"/laboratory/{name}"
        self.folder = ROOT / self.inside.lstrip("/")
        self.ports = _ports()
        self.asterisk: subprocess.Popen[bytes] | None = None
        self._changes = dict(changes or {})
        self._zone = zone or "Etc/UTC"
        self._phones: list[subprocess.Popen[bytes] | Referring] = []

    @property
    def ami_port(self) -> int:
        return self.ports["AMI_PORT"]

    def start(self) -> None:
        """Start Asterisk and every telephone."""
        self._configure()
        self.start_asterisk()
        for behaviour in BEHAVIOURS:
            self._phones.append(self._answer(behaviour, "127.0.0.1", self.ports[f"{behaviour.upper()}_PORT"]))
        self._phones.append(self._answer("answering", TRUNK_ADDRESS, self.ports["TRUNK_PORT"]))
        self._phones.append(Referring(self.ports["REFERRING_PORT"], self.ports["SIP_PORT"]))

    def start_asterisk(self) -> None:
        """Start Asterisk, and return when it is up."""
        with (self.folder / "log" / "out").open("ab") as out:
            self.asterisk = subprocess.Popen(
                ["chroot", str(ROOT), "asterisk", "-f", "-U", "asterisk", "-C", f"{self.inside}/asterisk.conf"],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        wait_until(lambda: "fully booted" in self.cli("core waitfullybooted"))

    def restart_gracefully(self) -> None:
        """Have it restart when nobody talks any more; the command itself waits for that."""
        words = [
            "chroot",
            str(ROOT),
            "asterisk",
            "-C",
            f"{self.inside}/asterisk.conf",
            "-rx",
            "core restart gracefully",
        ]
        self._phones.append(subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL))

    def kill_asterisk(self) -> None:
        """End it as a crash would."""
        assert self.asterisk is not None
        self.asterisk.kill()
        self.asterisk.wait()

    def stop(self) -> None:
        """Stop the telephones and Asterisk, and take the run's folder away."""
        for phone in self._phones:
            phone.kill()
            phone.wait()
        if self.asterisk is not None:
            self.cli("core stop now")
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.asterisk.wait(PATIENCE_SECONDS)
            self.asterisk.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def cli(self, command: str) -> str:
        """What Asterisk's command line answers; empty where nobody does."""
        words = ["chroot", str(ROOT), "asterisk", "-C", f"{self.inside}/asterisk.conf", "-rx", command]
        return subprocess.run(words, capture_output=True, text=True, check=False).stdout

    def call(
        self,
        number: str,
        *,
        caller: str = "1001",
        name: str = "Alice",
        talks: float = 2.0,
        how: str = "calling",
        calls: int = 1,
    ) -> "subprocess.Popen[bytes]":
        """A telephone calls; one whose number has more than four digits calls from outside, over the trunk."""
        address = TRUNK_ADDRESS if len(caller) > 4 else "127.0.0.1"
        words = ["-i", address, "-mi", address, "-s", number, "-key", "caller", caller, "-key", "name", name]
        words += ["-d", str(round(talks * 1000)), "-m", str(calls), "-l", str(calls), "-r", "15"]
        words += ["-timeout", str(CALLER_SECONDS_MAX), "-recv_timeout", str(CALLER_SECONDS_MAX * 1000)]
        calling = self._sipp(how, [*words, f"127.0.0.1:{self.ports['SIP_PORT']}"])
        self._phones.append(calling)
        return calling

    def channel(self, begin: str) -> str:
        """The name of the channel that begins so."""
        lines = self.cli("core show channels concise").splitlines()
        return next(line.split("!")[0] for line in lines if line.startswith(begin))

    def operate(self, action: str, **fields: str) -> str:
        """Have Asterisk do something, as an operator; what it answers."""
        lines = {"Action": "Login", "Username": OPERATOR, "Secret": OPERATOR_SECRET, "Events": "off"}
        with socket.create_connection(("127.0.0.1", self.ami_port), PATIENCE_SECONDS) as operator:
            answer = b""
            for one in (lines, {"Action": action, **fields}):
                text = "".join(f"{name}: {value}\r\n" for name, value in one.items())
                operator.sendall(f"{text}\r\n".encode())
                answer = b""
                while not answer.endswith(b"\r\n\r\n"):
                    answer += operator.recv(65_536)
        return answer.decode()

    @contextlib.contextmanager
    def listening(self) -> Iterator["Listener"]:
        """Somebody who hears what Onhook would hear."""
        with socket.create_connection(("127.0.0.1", self.ami_port), PATIENCE_SECONDS) as connection:
            yield Listener(connection)

    def until_silent(self) -> None:
        """Return when nobody talks any more."""
        wait_until(lambda: "0 active channels" in self.cli("core show channels"))

    def _configure(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        for below in ("log/cdr-csv", "log/cdr-custom", "voicemail", "monitor"):
            (self.folder / below).mkdir(parents=True)
        # Asterisk asks for its own address in every call; a name that nobody knows would hold each up.
        names_here = f"localhost {socket.gethostname()} A.ROOT-SERVERS.NET"
        (ROOT / "etc/hosts").write_text(f"127.0.0.1 {names_here}\n")
        place, _, city = self._zone.rpartition("/")
        zone = resources.files(f"tzdata.zoneinfo.{place.replace('/', '.')}").joinpath(city).read_bytes()
        # Asterisk asks this file, and not the environment.
        (ROOT / "etc/localtime").unlink(missing_ok=True)
        (ROOT / "etc/localtime").write_bytes(zone)
        modules = next(ROOT.glob("usr/lib/*/asterisk/modules"))
        names = {"RUN": self.inside, "MODULES": "/" + str(modules.relative_to(ROOT)), **self.ports}
        texts = {path.name: path.read_text() for path in (HERE / "etc").iterdir()} | self._changes
        for name, text in texts.items():
            filled = re.sub(r"@(\w+)@", lambda found: str(names[found[1]]), text)
            (self.folder / name).write_text(filled)
        subprocess.run(["chroot", str(ROOT), "chown", "-R", "asterisk:", self.inside], check=True)

    def _answer(self, behaviour: str, address: str, port: int) -> "subprocess.Popen[bytes]":
        return self._sipp(behaviour, ["-i", address, "-mi", address, "-p", str(port), "-l", "2000"])

    def _sipp(self, scenario: str, words: list[str]) -> "subprocess.Popen[bytes]":
        command = ["sipp", "-sf", str(HERE / "phones" / f"{scenario}.xml"), "-nostdin", "-timer_resol", "10"]
        if os.environ.get("LAB_TRACE"):
            command += ["-trace_err", "-trace_msg"]
        return subprocess.Popen(
            [*command, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self.folder / "log",
        )


class Listener:
    """A connection that speaks as Onhook does, and keeps what it hears."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._session = Session(Login(USER, SECRET))
        while self._session.state != "ready":
            self._session.received(connection.recv(65_536))
            connection.sendall(self._session.to_send())

    def said(self) -> bytes:
        """All that was said since the last time, when nothing more comes."""
        heard = bytearray()
        self._connection.settimeout(SILENT_SECONDS)
        with contextlib.suppress(TimeoutError):
            while data := self._connection.recv(65_536):
                heard += data
        return bytes(heard)


@contextlib.contextmanager
def laboratory(name: str, changes: Mapping[str, str] | None = None, zone: str = "") -> Iterator[Laboratory]:
    """One that is surely stopped afterwards."""
    lab = Laboratory(name, changes, zone)
    try:
        lab.start()
        yield lab
    finally:
        lab.stop()


def wait_until(holds: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
    """Return when it holds. Fails when it does not in time."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


def _ports() -> dict[str, int]:
    """Free ones; those of the voices in a row."""
    names = ("SIP_PORT", "TRUNK_PORT", "REFERRING_PORT", *(f"{one.upper()}_PORT" for one in BEHAVIOURS))
    udp = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in names]
    with contextlib.ExitStack() as held, socket.create_server(("127.0.0.1", 0)) as ami:
        for one in udp:
            held.enter_context(one).bind(("127.0.0.1", 0))
        ports = {name: int(one.getsockname()[1]) for name, one in zip(names, udp, strict=True)}
        rtp = 20_000 + os.getpid() % 100 * 200
        return ports | {"AMI_PORT": int(ami.getsockname()[1]), "RTP_FIRST": rtp, "RTP_LAST": rtp + RTP_PORTS}
