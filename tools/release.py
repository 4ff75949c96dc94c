"""Make a release: version, changelog, contracts, commit, tag, files. Run by `make release VERSION=0.2.0`.

Nothing is published. Whatever is refused is refused before the first change.
"""

import argparse
import hashlib
import re
import subprocess
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Final

from onhook.lib.clock import SystemClock
from tools.distribution import ROOT, DistributionError, has_changes, read_version, run_git

VERSION: Final = re.compile(r"(\d+)\.(\d+)\.(\d+)(?:(a|b|rc)(\d+))?")
UNRELEASED: Final = "## [Unreleased]"
CHECKS: Final = (
    ("make", "check"),
    (sys.executable, "-m", "tools.catalogues", "--complete"),
    ("make", "test"),
)
BUILDS: Final = (("make", "dist"), ("make", "deb"))
SUMS: Final = "SHA256SUMS"
PHASES: Final = {"a": 0, "b": 1, "rc": 2, None: 3}
"""Candidates are earlier than their release."""


class ReleaseError(Exception):
    """Why nothing is released, and what to do."""


def parse_version(text: str) -> tuple[int, ...]:
    """Return a version so that versions can be compared. Raises `ReleaseError`.

    >>> parse_version("0.2.0rc1") < parse_version("0.2.0") < parse_version("0.10.0")
    True
    """
    match = VERSION.fullmatch(text)
    if match is None:
        message = f"{text!r} is not a version: write one such as 0.2.0 or 0.2.0rc1."
        raise ReleaseError(message)
    return *map(int, match.group(1, 2, 3)), PHASES[match[4]], int(match[5] or 0)


def check_release(root: Path, version: str) -> None:
    """Check that this version can be released from this tree. Raises `ReleaseError`."""
    earlier = read_version(root).removesuffix(".dev0")
    is_first = not run_git(root, "tag", "--list", "v*").strip()
    is_later = parse_version(version) > parse_version(earlier)
    if not is_later and not (version == earlier and (is_first or read_version(root) != earlier)):
        message = f"{version} is not later than {earlier}, the version of pyproject.toml."
        raise ReleaseError(message)
    if has_changes(root):
        message = "files differ from the last commit: commit or restore them."
        raise ReleaseError(message)
    if run_git(root, "tag", "--list", f"v{version}").strip():
        message = f"the tag v{version} exists: a release is never made anew."
        raise ReleaseError(message)
    if not re.search(r"^- ", _unreleased_changes(root), re.MULTILINE):
        message = f"CHANGELOG.md has no line under {UNRELEASED}."
        raise ReleaseError(message)


def _unreleased_changes(root: Path) -> str:
    text = (root / "CHANGELOG.md").read_text("utf-8")
    return text.partition(f"{UNRELEASED}\n")[2].partition("\n## [")[0]


def write_release(root: Path, version: str, day: date) -> None:
    """Set the version, and give the changes of the changelog its heading."""
    project = root / "pyproject.toml"
    text = project.read_text("utf-8")
    project.write_text(
        re.sub(r'^version = ".*"$', f'version = "{version}"', text, count=1, flags=re.MULTILINE), "utf-8"
    )
    changelog = root / "CHANGELOG.md"
    text = changelog.read_text("utf-8").replace(" Nothing has been released yet.", "")
    changelog.write_text(text.replace(f"{UNRELEASED}\n", f"{UNRELEASED}\n\n## [{version}] - {day}\n", 1), "utf-8")


def commit_release(root: Path, version: str, *, is_signed: bool) -> None:
    """Commit and tag. Raises `DistributionError`."""
    run_git(root, "commit", "--quiet", "--all", f"--message=release: {version}")
    run_git(root, "tag", "--sign" if is_signed else "--annotate", f"v{version}", f"--message=Onhook {version}")


def write_sums(directory: Path, version: str) -> Path:
    """Write the SHA-256 of each file of this version, as `sha256sum --check` reads it."""
    # A candidate has the version of its release in its name too.
    pattern = re.compile(rf"onhook[-_]{re.escape(version)}(?!\.?(?:a|b|rc|dev)?\d)")
    paths = sorted(path for path in directory.iterdir() if pattern.match(path.name.replace("~", "")))
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in paths]
    (directory / SUMS).write_text("".join(lines), "utf-8")
    return directory / SUMS


def run_commands(root: Path, commands: Sequence[Sequence[str]]) -> None:
    """Run programs one after the other, with their output. Raises `ReleaseError`."""
    for command in commands:
        if subprocess.run(command, cwd=root, check=False).returncode:  # noqa: S603 - own words
            message = (
                f"`{' '.join(command)}` failed. `git restore .` undoes what was written, if nothing was committed."
            )
            raise ReleaseError(message)


def release(root: Path, version: str, *, is_signed: bool = False) -> None:
    """Make the release. Raises `ReleaseError`, `DistributionError`."""
    check_release(root, version)
    write_release(root, version, SystemClock().now().date())
    # The version is part of what is installed.
    run_commands(
        root, [("make", "--always-make", "install"), (sys.executable, "-m", "tools.contracts", "tests/contracts")]
    )
    run_commands(root, CHECKS)
    commit_release(root, version, is_signed=is_signed)
    run_commands(root, BUILDS)
    sums = write_sums(root / "dist", version)
    if is_signed:
        run_commands(root, [("gpg", "--armor", "--detach-sign", "--yes", str(sums))])


def main() -> int:
    """Make the release, and say what comes next; return the exit code."""
    parser = argparse.ArgumentParser(description="Make a release.")
    parser.add_argument("version", help="such as 0.2.0")
    parser.add_argument("--sign", action="store_true", help="sign the tag and the sums by GnuPG")
    options = parser.parse_args()
    try:
        release(ROOT, options.version, is_signed=options.sign)
    except (ReleaseError, DistributionError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"Released {options.version}; RELEASING.md says how it is published.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
