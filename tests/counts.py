"""Larger counts for the slow tests that repeat or last: `make test-all ROUNDS=100 SEEDS=200 DURATION=3600`."""

import os
from typing import Any

import pytest


def rounds(default: int, *, seconds_each: float) -> Any:
    """Return the number of rounds as a parameter of a slow test, with a time limit for so many."""
    number = int(os.environ.get("ROUNDS") or default)
    return pytest.param(number, marks=[pytest.mark.slow, pytest.mark.timeout(300 + number * seconds_each)])


def duration(default_seconds: int, *, times: int) -> Any:
    """Return the seconds of a slow test's main part as a parameter; the whole may take so many times as long."""
    seconds = int(os.environ.get("DURATION") or default_seconds)
    return pytest.param(seconds, marks=[pytest.mark.slow, pytest.mark.timeout(300 + seconds * times)])


def seeds(default: int) -> range:
    """Return the seeds of a slow test."""
    return range(int(os.environ.get("SEEDS") or default))
