"""Settings and fixtures of all tests."""

import gc
import os
import shutil
import signal
from collections.abc import Generator, Iterator
from typing import Final
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, settings

from onhook.appdb import passwords
from tests.counts import examples
from tests.measured_processes import remove_empty_files, wait_for_measured_processes

# No deadline: a busy machine must not make a property test fail.
settings.register_profile(
    "untimed", deadline=None, max_examples=examples(100), suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("untimed")

# Tests that a shell starts in the background inherit an ignored SIGINT, and so would every command that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

GARBAGE_OBJECTS: Final = 10_000
"""New objects after which garbage is looked for: seldom, as a test makes few and ends soon."""

CHROMIUM_NAMES: Final = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """Return the path of the system's Chromium. Without one, page tests are skipped locally and fail in CI."""
    for name in CHROMIUM_NAMES:
        if path := shutil.which(name):
            return path
    reason = f"page tests need one of {', '.join(CHROMIUM_NAMES)} in the PATH: install Chromium."
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session", autouse=True)
def password_costs() -> Iterator[tuple[int, int]]:
    """Make passwords cheap, which thousands of sign-ins compute; yield the passes and KiB that Onhook sets."""
    costs = passwords.TIME_COST, passwords.MEMORY_KIB
    with patch.multiple(passwords, TIME_COST=1, MEMORY_KIB=256):
        yield costs


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect without the garbage collector: the tests, thousands, stay to the end, and it looks at none again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()
        gc.set_threshold(GARBAGE_OBJECTS)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    """Run all tests, and wait for measured processes, before pytest-cov combines what they have saved."""
    result = yield
    if not hasattr(session.config, "workerinput"):
        wait_for_measured_processes()
        remove_empty_files(session.config.rootpath / ".coverage")
    return result


def pytest_unconfigure() -> None:
    """Let the garbage collector see everything again, and remove the callbacks that Hypothesis leaves in it: at the
    exit they would keep DuckDB's types alive, and its library would print a page about leaks.
    """
    gc.unfreeze()
    gc.callbacks.clear()
