"""`make release` changes the version and the changelog, commits and tags, or refuses before the first change."""

import subprocess
from datetime import date
from pathlib import Path

import pytest

from tools.distribution import read_version, run_git
from tools.release import ReleaseError, check_release, commit_release, write_release, write_sums

CHANGELOG = """\
# Changelog

Versions are semantic. Nothing has been released yet.

## [Unreleased]

### Added

- Calls.
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a repository with a project of version 0.1.0."""
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "onhook"\nversion = "0.1.0"\n')
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG)
    for arguments in (
        ("init", "--quiet", "--initial-branch=main"),
        ("config", "user.name", "Alice"),
        ("config", "user.email", "alice@example.com"),
        ("add", "."),
        ("commit", "--quiet", "--message=project: begin"),
    ):
        subprocess.run(["git", *arguments], cwd=tmp_path, check=True)
    return tmp_path


def test_release_sets_version_changelog_and_tag(root: Path) -> None:
    check_release(root, "0.2.0")
    write_release(root, "0.2.0", date(2026, 12, 1))
    commit_release(root, "0.2.0", is_signed=False)
    assert read_version(root) == "0.2.0"
    changelog = (root / "CHANGELOG.md").read_text()
    assert "## [Unreleased]\n\n## [0.2.0] - 2026-12-01\n\n### Added\n\n- Calls.\n" in changelog
    assert "Nothing has been released" not in changelog
    assert run_git(root, "log", "-1", "--format=%s %D").strip() == "release: 0.2.0 HEAD -> main, tag: v0.2.0"
    with pytest.raises(ReleaseError, match=r"CHANGELOG\.md has no line"):
        check_release(root, "0.2.1")


@pytest.mark.parametrize("version", ["0.1.0", "0.1.0rc1", "0.0.9"])
def test_release_of_a_version_that_is_not_later_is_refused(root: Path, version: str) -> None:
    run_git(root, "tag", "v0.1.0")
    with pytest.raises(ReleaseError, match=r"not later than 0\.1\.0"):
        check_release(root, version)


def test_release_of_the_first_version_is_that_of_the_project(root: Path) -> None:
    check_release(root, "0.1.0")
    with pytest.raises(ReleaseError, match="is not a version"):
        check_release(root, "v0.2")


def test_release_of_changed_files_or_an_existing_tag_is_refused(root: Path) -> None:
    run_git(root, "tag", "v0.2.0")
    with pytest.raises(ReleaseError, match=r"the tag v0\.2\.0 exists"):
        check_release(root, "0.2.0")
    (root / "CHANGELOG.md").write_text(CHANGELOG + "- More.\n")
    with pytest.raises(ReleaseError, match="files differ from the last commit"):
        check_release(root, "0.3.0")


def test_release_sums_are_of_the_files_of_the_version(tmp_path: Path) -> None:
    for name in ("onhook-0.1.0.tar.gz", "onhook-0.2.0rc1.tar.gz", "onhook_0.2.0~rc1_amd64.deb"):
        (tmp_path / name).write_text(name)
    (tmp_path / "onhook-0.2.0-py3-none-any.whl").write_text("")
    write_sums(tmp_path, "0.2.0")
    assert (tmp_path / "SHA256SUMS").read_text().split()[1:] == ["onhook-0.2.0-py3-none-any.whl"]
    write_sums(tmp_path, "0.2.0rc1")
    result = subprocess.run(
        ["sha256sum", "--check", "SHA256SUMS"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert result.stdout == "onhook-0.2.0rc1.tar.gz: OK\nonhook_0.2.0~rc1_amd64.deb: OK\n"
