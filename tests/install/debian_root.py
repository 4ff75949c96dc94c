"""A Debian system in a folder: built once by debootstrap, copied for each test, entered by chroot.

No service manager runs in it, and `policy-rc.d` forbids packages to start services. `systemctl` enables units, and only
notes what a service manager would have to do, so that a package does what it does under systemd.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
BASE = Path(os.environ.get("ONHOOK_DEBIAN_ROOT") or ROOT / "test-output" / "debian-root")
PACKAGES = ("adduser", "ca-certificates", "python3", "python3-venv", "libstdc++6", "systemd")
CONTENT_FILE = "etc/debian-root-packages"
"""Lists what the system was built with; written last."""

BUILD_SECONDS_MAX = 1_800
COMMAND_SECONDS_MAX = 1_800.0
"""On a machine that does other work too."""

# The file systems are mounted for one command, in a mount namespace of its own.
ENTER = 'mount -t proc proc "$0/proc" && exec chroot "$0" "$@"'

POLICY = '#!/bin/sh\necho "$*" >>/var/log/policy\nexit 101\n'
SYSTEMCTL = """\
#!/bin/sh
case $* in
*preset* | *--root=*) exec /usr/bin/systemctl.real "$@" ;;
*is-enabled*) exec /usr/bin/systemctl.real --root=/ "$@" ;;
esac
echo "$*" >>/var/log/systemctl
"""


def missing_requirement() -> str:
    """Return what the machine lacks for such a system; empty if nothing is missing."""
    if os.geteuid() != 0:
        return "a Debian system in a folder requires root"
    for program in ("debootstrap", "dpkg-deb"):
        if shutil.which(program) is None:
            return f"a Debian system in a folder requires {program} (Debian)"
    return ""


def build_base() -> None:
    """Build the system that tests copy, of this machine's own release. Raises `CalledProcessError`."""
    content_file, content = BASE / CONTENT_FILE, "\n".join(PACKAGES)
    if content_file.exists() and content_file.read_text() == content:
        return
    shutil.rmtree(BASE, ignore_errors=True)
    BASE.parent.mkdir(parents=True, exist_ok=True)
    (suite,) = re.findall(r"^VERSION_CODENAME=(\w+)$", Path("/etc/os-release").read_text(), re.MULTILINE)
    command = ["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", suite, str(BASE), _find_mirror()]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=BUILD_SECONDS_MAX)
    content_file.write_text(content)


def _find_mirror() -> str:
    """Return the package source of this machine."""
    sources = [*sorted(Path("/etc/apt").glob("sources.list.d/*.sources")), Path("/etc/apt/sources.list")]
    for path in sources:
        text = path.read_text() if path.exists() else ""
        if match := re.search(r"^(?:URIs:|deb(?: \[.*?\])?)\s+(\S+)", text, re.MULTILINE):
            return match[1]
    raise AssertionError("no package source found in /etc/apt")


class DebianRoot:
    """A copy of the system, for one test."""

    def __init__(self, directory: Path) -> None:
        subprocess.run(["cp", "-a", "--reflink=auto", str(BASE), str(directory)], check=True)
        self.directory = directory
        self.write("usr/sbin/policy-rc.d", POLICY, 0o755)
        self.path("usr/bin/systemctl").rename(self.path("usr/bin/systemctl.real"))
        self.write("usr/bin/systemctl", SYSTEMCTL, 0o755)
        (directory / "run/systemd/system").mkdir(parents=True)

    def path(self, name: str) -> Path:
        """Return the path of a file, given without a leading slash."""
        return self.directory / name

    def write(self, name: str, text: str, mode: int = 0o644) -> None:
        self.path(name).parent.mkdir(parents=True, exist_ok=True)
        self.path(name).write_text(text)
        self.path(name).chmod(mode)

    def read_log(self, name: str) -> list[str]:
        """Return the lines of a log since the last time."""
        path = self.path(f"var/log/{name}")
        lines = path.read_text().splitlines() if path.exists() else []
        path.write_text("")
        return lines

    def build_command(self, *command: str, user: str = "root") -> Sequence[str]:
        """Return the command that runs a program in the system."""
        names = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"] if user != "root" else []
        return [
            "unshare",
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-ec",
            ENTER,
            str(self.directory),
            *names,
            *command,
        ]

    def execute(self, *command: str, user: str = "root", stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a program in the system, in `/`."""
        return subprocess.run(
            self.build_command(*command, user=user),
            env={
                "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "LC_ALL": "C.UTF-8",
                "DEBIAN_FRONTEND": "noninteractive",
            },
            input=stdin,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS_MAX,
            check=False,
        )

    def run(self, *command: str, user: str = "root") -> str:
        """Run a program that must succeed; return its output."""
        result = self.execute(*command, user=user)
        assert result.returncode == 0, f"{command}\n{result.stdout}{result.stderr}"
        return result.stdout

    def install(self, package: Path) -> subprocess.CompletedProcess[str]:
        """Install or upgrade a package file."""
        shutil.copyfile(package, self.path(f"opt/{package.name}"))
        return self.execute("dpkg", "--install", f"/opt/{package.name}")

    def list_files(self) -> set[str]:
        """Return all files but those of dpkg, package files and logs."""
        left_out = ("var/lib/dpkg", "var/cache", "var/log", "tmp", "opt", "proc", "dev", "sys", "root")
        command = ["find", str(self.directory), "-mindepth", "1", "-printf", "%P\n"]
        names = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
        return {name for name in names if not f"{name}/".startswith(tuple(f"{prefix}/" for prefix in left_out))}
