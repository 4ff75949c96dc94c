"""Build the Debian package in `dist/`: the program, the pinned libraries, units of systemd, man page and documentation.

Run by `make deb`, on the Debian release and with the Python that the package is for. The libraries are in an
environment of their own, `/usr/lib/onhook`; nothing of the system's Python is changed. Built twice from one commit with
one Python and one dpkg, the files are equal byte for byte.
"""

import argparse
import compileall
import gzip
import os
import py_compile
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tools import man_page
from tools.distribution import (
    FILE_MODE,
    PROGRAM_MODE,
    ROOT,
    DistributionError,
    build_distribution,
    has_changes,
    read_epoch,
    read_version,
    write_file,
)

LOCKS: Final = ("run.txt", "brokers.txt", "cluster.txt")
"""What a service may need, the clients of all kinds of destinations included."""

MAINTAINER_SCRIPTS: Final = ("preinst", "postinst", "prerm", "postrm")
CONFIGURATION_FILES: Final = ("/etc/default/onhook", "/etc/onhook/onhook.toml")
EXAMPLES: Final = ("caddy", "monitoring", "nginx")
"""Directories of packaging/ that administrators adapt."""

HOME: Final = "usr/lib/onhook"
PYTHON: Final = f"python3.{sys.version_info.minor}"
INSTALL_SECONDS_MAX: Final = 900.0
"""To fetch and unpack the libraries, on a slow line."""

PACK_SECONDS_MAX: Final = 600.0
MAINTAINER_DEFAULT: Final = "Maintainers of Onhook <maintainers@onhook.invalid>"
"""Used without `DEBFULLNAME` and `DEBEMAIL`; no mail reaches it."""

PROGRAM: Final = f"""\
#!/{HOME}/bin/python3 -P
import sys

from onhook.cli.entry import main

sys.exit(main())
"""

COMPLETION: Final = """\
_onhook_completion() {
    local IFS=$'\\n'
    COMPREPLY=( $(env COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD _ONHOOK_COMPLETE=complete_bash "$1") )
}
complete -o default -F _onhook_completion onhook
"""
"""For bash; `onhook --install-completion` has the other shells."""


def build_package(
    root: Path, directory: Path, epoch: int, libraries: Path, *, version: str = "", compression: str = "xz"
) -> Path:
    """Build the package from the tracked files under `root` and what `install_libraries` has made; return its path.
    `epoch` is its time in Unix seconds; `version` is another one than that of pyproject.toml, `compression` one of
    dpkg. Raises `DistributionError`.
    """
    version = version or read_version(root)
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        tree = Path(temporary) / "tree"
        packages = tree / HOME / "lib" / PYTHON / "site-packages"
        shutil.copytree(libraries, packages, symlinks=True)
        paths = build_distribution(root, Path(temporary) / "built", epoch)
        (wheel,) = (path for path in paths if path.suffix == ".whl")
        run_pip("--no-deps", "--target", str(packages), str(wheel))
        _clean_packages(packages)
        _compile_packages(tree, packages)
        _write_environment(tree)
        _write_system_files(root, tree, read_version(root), epoch)
        _write_control(root, tree, version)
        _fix_modes(tree)
        return _pack(tree, directory, version, epoch, compression)


def install_libraries(root: Path, target: Path, locks: Sequence[str] = LOCKS) -> None:
    """Install the pinned libraries into a directory, each checked by its hash. Raises `DistributionError`."""
    files = [word for lock in locks for word in ("-r", str(root / "requirements" / lock))]
    run_pip("--require-hashes", "--only-binary=:all:", "--target", str(target), *files)


def run_pip(*arguments: str) -> None:
    """Install something by pip, without compiling it. Raises `DistributionError`."""
    command = [sys.executable, "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--no-compile"]
    # `--target` is replaced file by file: the wheel is added to the libraries.
    _run([*command, *arguments], INSTALL_SECONDS_MAX)


def debian_version(version: str) -> str:
    """Return a version as Debian sorts it: a candidate is earlier than its release.

    >>> debian_version("0.2.0"), debian_version("0.2.0rc1"), debian_version("0.2.0.dev3")
    ('0.2.0', '0.2.0~rc1', '0.2.0~dev3')
    """
    return re.sub(r"\.?(a|b|rc|dev)(?=\d)", r"~\1", version)


def _clean_packages(packages: Path) -> None:
    """Remove what depends on the builder's machine, or belongs elsewhere: scripts, man pages, paths of origin."""
    for name in ("bin", "share"):
        shutil.rmtree(packages / name, ignore_errors=True)
    for path in packages.glob("*.dist-info/direct_url.json"):
        path.unlink()
    for record in packages.glob("*.dist-info/RECORD"):
        lines = record.read_text("utf-8").splitlines(keepends=True)
        kept_lines = [line for line in lines if not re.match(r"(\.\./)*(bin|share)/|.*/direct_url\.json,", line)]
        record.write_text("".join(kept_lines), "utf-8")


def _compile_packages(tree: Path, packages: Path) -> None:
    """Compile all modules: the service may not write beside them. Raises `DistributionError`."""
    is_compiled = compileall.compile_dir(
        packages,
        quiet=2,
        force=True,
        stripdir=str(tree),
        prependdir="/",
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )
    # Libraries may contain templates with the suffix of a module; Onhook itself has none.
    if not is_compiled and not (packages / "onhook" / "cli" / "__pycache__").exists():
        message = "the modules of Onhook cannot be compiled: run `make check`."
        raise DistributionError(message)


def _write_environment(tree: Path) -> None:
    """Write the environment around the packages: it uses the system's interpreter, and none of its packages."""
    home = tree / HOME
    version = f"3.{sys.version_info.minor}"
    text = f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {version}\n"
    write_file(home / "pyvenv.cfg", text.encode())
    write_file(home / "bin" / "onhook", PROGRAM.encode(), PROGRAM_MODE)
    (home / "bin" / "python3").symlink_to(f"/usr/bin/{PYTHON}")
    (tree / "usr" / "bin").mkdir(parents=True)
    (tree / "usr" / "bin" / "onhook").symlink_to("../lib/onhook/bin/onhook")


def _write_system_files(root: Path, tree: Path, version: str, epoch: int) -> None:
    """Write what the system reads: units, settings, completion, man page, documentation."""
    packaging = root / "packaging"
    for name in ("onhook.service", "onhook.socket"):
        write_file(tree / "usr/lib/systemd/system" / name, (packaging / "systemd" / name).read_bytes())
    write_file(tree / "etc/onhook/onhook.toml", (packaging / "debian" / "onhook.toml").read_bytes())
    write_file(tree / "etc/default/onhook", (packaging / "debian" / "onhook.default").read_bytes())
    write_file(tree / "usr/share/bash-completion/completions/onhook", COMPLETION.encode())
    page = gzip.compress(man_page.render(version, epoch), mtime=0)
    write_file(tree / "usr/share/man/man1/onhook.1.gz", page)
    documents = tree / "usr/share/doc/onhook"
    write_file(documents / "changelog.gz", gzip.compress((root / "CHANGELOG.md").read_bytes(), mtime=0))
    write_file(documents / "copyright", _describe_licences(root, tree).encode())
    for path in sorted((root / "docs").rglob("*.md")):
        write_file(documents / "docs" / path.relative_to(root / "docs"), path.read_bytes())
    for name in EXAMPLES:
        for path in sorted((packaging / name).iterdir()):
            write_file(documents / "examples" / name / path.name, path.read_bytes())


def _describe_licences(root: Path, tree: Path) -> str:
    """Return the licence, and where those of the libraries are."""
    metadata = sorted(path.name for path in (tree / HOME).rglob("*.dist-info") if not path.name.startswith("onhook-"))
    lines = "".join(f"  {name.removesuffix('.dist-info').replace('-', ' ')}\n" for name in metadata)
    places = f"Libraries in /{HOME}, each with its licence in its directory of metadata (*.dist-info):\n\n{lines}"
    return f"{(root / 'LICENSE').read_text('utf-8')}\n{places}"


def _write_control(root: Path, tree: Path, version: str) -> None:
    """Write the description of the package, and the scripts that dpkg runs."""
    source, target = root / "packaging" / "debian", tree / "DEBIAN"
    size = sum(path.lstat().st_size for path in tree.rglob("*") if path.is_file() and not path.is_symlink())
    text = (source / "control").read_text("utf-8")
    fields = {
        "version": debian_version(version),
        "architecture": read_architecture(),
        "maintainer": _read_maintainer(),
        "installed_kibibytes": str(size // 1024),
        "python": PYTHON,
    }
    write_file(target / "control", text.format(**fields).encode())
    write_file(target / "conffiles", "".join(f"{name}\n" for name in CONFIGURATION_FILES).encode())
    for name in MAINTAINER_SCRIPTS:
        write_file(target / name, (source / name).read_bytes(), PROGRAM_MODE)


def read_architecture() -> str:
    """Return the architecture of this machine, such as `amd64`. Raises `DistributionError`."""
    return _run(["dpkg", "--print-architecture"], 10.0).strip()


def _read_maintainer() -> str:
    name, mail = os.environ.get("DEBFULLNAME"), os.environ.get("DEBEMAIL")
    return f"{name} <{mail}>" if name and mail else MAINTAINER_DEFAULT


def _fix_modes(tree: Path) -> None:
    """Give all files fixed modes, whatever the builder's umask."""
    for path in (tree, *tree.rglob("*")):
        if not path.is_symlink():
            is_program = path.is_dir() or bool(path.stat().st_mode & 0o100)
            path.chmod(PROGRAM_MODE if is_program else FILE_MODE)


def _pack(tree: Path, directory: Path, version: str, epoch: int, compression: str) -> Path:
    """Write the package; all its files have the time of the commit. Raises `DistributionError`."""
    for path in (*tree.rglob("*"), tree):
        os.utime(path, (epoch, epoch), follow_symlinks=False)
    target = directory / f"onhook_{debian_version(version)}_{read_architecture()}.deb"
    options = ("--root-owner-group", "--uniform-compression", f"-Z{compression}")
    command = ["dpkg-deb", *options, "--build", str(tree), str(target)]
    _run(command, PACK_SECONDS_MAX, {"SOURCE_DATE_EPOCH": str(epoch)})
    return target


def _run(command: Sequence[str], timeout_seconds: float, variables: dict[str, str] | None = None) -> str:
    """Run a program; return what it prints. Raises `DistributionError`."""
    program = shutil.which(command[0])
    if program is None:
        message = f"{command[0]} is not installed: build the package on Debian."
        raise DistributionError(message)
    result = subprocess.run(  # noqa: S603 - own arguments
        [program, *command[1:]],
        env=os.environ | (variables or {}),
        umask=0o022,
        capture_output=True,
        text=True,
        timeout=timeout_seconds,
        check=False,
    )
    if result.returncode:
        message = f"{command[0]} failed:\n{result.stdout}{result.stderr}"
        raise DistributionError(message)
    return result.stdout


def main() -> int:
    """Build, and print the path of the package; return the exit code."""
    parser = argparse.ArgumentParser(description="Build the Debian package.")
    parser.add_argument("--directory", type=Path, default=ROOT / "dist", help="where the package is written")
    directory = parser.parse_args().directory
    try:
        if has_changes(ROOT):
            sys.stderr.write("Note: files differ from the last commit, whose time the package gets.\n")
        with tempfile.TemporaryDirectory() as temporary:
            libraries = Path(temporary) / "libraries"
            install_libraries(ROOT, libraries)
            path = build_package(ROOT, directory, read_epoch(ROOT), libraries)
    except DistributionError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
