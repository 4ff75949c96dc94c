"""What all tests with a real Asterisk stand on."""

import os

import pytest

from tests.pbx.asterisk.lab import build, missing_requirement


@pytest.fixture(scope="session")
def asterisk_lab_root() -> None:
    """The root folder; where the machine cannot have one, the tests are skipped, or fail in CI with root."""
    if reason := missing_requirement():
        if os.environ.get("CI") == "true" and os.geteuid() == 0:
            pytest.fail(reason)
        pytest.skip(reason)
    build()
