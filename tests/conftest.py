"""What all tests share."""

import os
import shutil
import signal
from typing import Final

import pytest
from hypothesis import HealthCheck, settings

# No test is timed: a busy machine must not make a property fail.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

# A shell that starts tests in the background has them ignore Ctrl-C, and so would every command that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

CHROMIUM_NAMES: Final = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """Where the system's Chromium is. Without one, page tests are skipped on a laptop and fail in CI."""
    for name in CHROMIUM_NAMES:
        if path := shutil.which(name):
            return path
    reason = f"page tests need a Chromium, and none of {', '.join(CHROMIUM_NAMES)} is in the PATH: install one."
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
