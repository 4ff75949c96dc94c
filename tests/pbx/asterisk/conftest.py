"""What all tests with a real Asterisk stand on."""

import os

import pytest

from tests.pbx.asterisk.lab import build, missing


@pytest.fixture(scope="session")
def built() -> None:
    """The root folder; where the machine cannot have one, the tests are skipped, or fail in CI with root."""
    if why := missing():
        if os.environ.get("CI") == "true" and os.geteuid() == 0:
            pytest.fail(why)
        pytest.skip(why)
    build()
