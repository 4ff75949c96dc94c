"""Versions of installed packages: as Python's own reader gives them."""

import sys
from importlib.metadata import PackageNotFoundError, version

import pytest

from onhook.lib.versions import describe_versions, installed_version


@pytest.mark.parametrize("name", ["onhook", "duckdb"])
def test_installed_version_is_that_of_the_metadata(name: str) -> None:
    assert installed_version(name) == version(name)


def test_installed_version_outside_a_directory_is_read_by_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(PackageNotFoundError):
        installed_version("duckdb")


def test_describe_versions_names_each_component() -> None:
    assert describe_versions().startswith(f"onhook {version('onhook')} (Python 3.")
