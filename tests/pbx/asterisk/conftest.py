"""Fixtures of the tests with a real Asterisk."""

import os

import pytest

from tests.pbx.asterisk.lab import build, missing_requirement


@pytest.fixture(scope="session")
def asterisk_lab_root() -> None:
    """Build the root folder. Without the requirements the tests are skipped, or fail in CI as root."""
    if reason := missing_requirement():
        if os.environ.get("CI") == "true" and os.geteuid() == 0:
            pytest.fail(reason)
        pytest.skip(reason)
    build()
