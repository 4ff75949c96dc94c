"""Build what is published, in `dist/`: wheel, sdist, and the bill of materials of the pinned dependencies.

Run by `make dist`. Built twice from one commit with one Python, the files are equal byte for byte: they are made from
the files of the repository alone, with fixed modes, and their times are that of the commit, or `SOURCE_DATE_EPOCH`.
"""

import argparse
import gzip
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from pathlib import Path
from typing import Final

from tools import bill_of_materials, man_page

ROOT: Final = Path(__file__).parents[1]
MAN_PAGE: Final = "man/onhook.1"
FILE_MODE, PROGRAM_MODE = 0o644, 0o755
BUILD_SECONDS_MAX: Final = 300.0
"""Of one archive: some seconds on a free machine."""

EPOCH_MIN: Final = 315_532_800
"""1980-01-01: archives of wheels have no earlier times."""

BACKEND_SCRIPT: Final = (
    "import sys; from setuptools import build_meta; getattr(build_meta, 'build_' + sys.argv[1])(sys.argv[2])"
)
"""The backend of pyproject.toml, called as PEP 517 says, in the directory of the sources."""


class DistributionError(Exception):
    """What cannot be built, and what to do."""


def build_distribution(root: Path, directory: Path, epoch: int) -> list[Path]:
    """Build all files from the tracked files under `root`; return them, sorted. `epoch` is their time in Unix seconds.
    Raises `DistributionError`.
    """
    directory.mkdir(parents=True, exist_ok=True)
    version = read_version(root)
    with tempfile.TemporaryDirectory() as temporary:
        source = Path(temporary) / "source"
        copy_sources(root, source)
        write_file(source / MAN_PAGE, man_page.render(version, epoch))
        built = Path(temporary) / "built"
        for kind in ("wheel", "sdist"):
            build_archive(source, built, kind, epoch)
        (sdist,) = built.glob("*.tar.gz")
        normalise_sdist(sdist, epoch)
        bill = bill_of_materials.render(root, version, epoch)
        write_file(built / f"onhook-{version}.cdx.json", bill)
        return sorted(Path(shutil.copyfile(path, directory / path.name)) for path in built.iterdir())


def read_version(root: Path) -> str:
    """Return the version of pyproject.toml."""
    return str(tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]["version"])


def read_epoch(root: Path) -> int:
    """Return `SOURCE_DATE_EPOCH`, or the time of the last commit. Raises `DistributionError`."""
    text = os.environ.get("SOURCE_DATE_EPOCH") or run_git(root, "log", "-1", "--format=%ct").strip()
    if not text.isdecimal() or int(text) < EPOCH_MIN:
        message = f"SOURCE_DATE_EPOCH cannot be {text!r}: write Unix seconds since 1980."
        raise DistributionError(message)
    return int(text)


def copy_sources(root: Path, target: Path) -> None:
    """Copy the tracked files, as they are in the working tree, with fixed modes."""
    for name in sorted(filter(None, run_git(root, "ls-files", "-z").split("\0"))):
        path = root / name
        if path.is_file():
            is_program = bool(path.stat().st_mode & 0o100)
            write_file(target / name, path.read_bytes(), PROGRAM_MODE if is_program else FILE_MODE)


def write_file(path: Path, content: bytes, mode: int = FILE_MODE) -> None:
    """Write a file, and its directory."""
    path.parent.mkdir(mode=PROGRAM_MODE, parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)


def build_archive(source: Path, directory: Path, kind: str, epoch: int) -> None:
    """Call the backend for a `wheel` or an `sdist`. Raises `DistributionError`."""
    directory.mkdir(exist_ok=True)
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "LC_ALL": "C.UTF-8",
        "PYTHONHASHSEED": "0",
        "SOURCE_DATE_EPOCH": str(epoch),
        "TZ": "UTC",
    }
    result = subprocess.run(  # noqa: S603 - own arguments
        [sys.executable, "-c", BACKEND_SCRIPT, kind, str(directory)],
        cwd=source,
        env=environment,
        umask=0o022,
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS_MAX,
        check=False,
    )
    if result.returncode:
        message = f"the {kind} cannot be built:\n{result.stdout}{result.stderr}"
        raise DistributionError(message)


def normalise_sdist(path: Path, epoch: int) -> None:
    """Write an sdist again without what depends on the machine: order, owners, modes and times."""
    with tarfile.open(path) as archive:
        files = {member.name: (member.mode, archive.extractfile(member)) for member in archive if member.isfile()}
        contents = {name: (mode, stream.read()) for name, (mode, stream) in files.items() if stream is not None}
    with (
        path.open("wb") as raw,
        gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=epoch) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name, (mode, content) in sorted(contents.items()):
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(content), epoch
            member.mode = PROGRAM_MODE if mode & 0o100 else FILE_MODE
            archive.addfile(member, io.BytesIO(content))


def has_changes(root: Path) -> bool:
    """Return whether tracked files differ from the commit."""
    return bool(run_git(root, "status", "--porcelain", "--untracked-files=no").strip())


def run_git(root: Path, *arguments: str) -> str:
    """Return the output of git. Raises `DistributionError`."""
    result = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)  # noqa: S603, S607 - own words
    if result.returncode:
        message = f"git {arguments[0]} failed: {result.stderr.strip()}: build in a clone of the repository."
        raise DistributionError(message)
    return result.stdout


def main() -> int:
    """Build, and print the files with their hashes; return the exit code."""
    parser = argparse.ArgumentParser(description="Build wheel, sdist and bill of materials.")
    parser.add_argument("--directory", type=Path, default=ROOT / "dist", help="where the files are written")
    directory = parser.parse_args().directory
    try:
        if has_changes(ROOT):
            sys.stderr.write("Note: files differ from the last commit, whose time the archives get.\n")
        paths = build_distribution(ROOT, directory, read_epoch(ROOT))
    except DistributionError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    for path in paths:
        sys.stdout.write(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
