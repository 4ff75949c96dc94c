"""Fixtures of the tests of installations."""

import os
from pathlib import Path

import pytest

from tests.install.debian_root import ROOT, DebianRoot, build_base, missing_requirement
from tools.debian_package import build_package, install_libraries

EPOCH = 1_795_000_000
NEXT_VERSION = "99.0.0"


@pytest.fixture(scope="session", autouse=True)
def debian_base() -> None:
    """Build the system once. Without the requirements the tests are skipped, or fail in CI as root."""
    if reason := missing_requirement():
        if os.environ.get("CI") == "true" and os.geteuid() == 0:
            pytest.fail(reason)
        pytest.skip(reason)
    build_base()


@pytest.fixture(scope="session")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of the pinned libraries."""
    directory = tmp_path_factory.mktemp("libraries") / "libraries"
    install_libraries(ROOT, directory)
    return directory


@pytest.fixture(scope="session")
def packages(libraries: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a package, and the same one with a later version."""
    directory = tmp_path_factory.mktemp("packages")
    first = build_package(ROOT, directory, EPOCH, libraries, compression="none")
    return first, build_package(ROOT, directory, EPOCH, libraries, version=NEXT_VERSION, compression="none")


@pytest.fixture
def debian_root(tmp_path: Path) -> DebianRoot:
    return DebianRoot(tmp_path / "root")
