"""Larger counts for the slow tests that repeat: `make test-all ROUNDS=100 SEEDS=200`."""

import os
from typing import Any

import pytest


def rounds(default: int, *, seconds_each: float) -> Any:
    """Return the number of rounds as a parameter of a slow test, with a time limit for so many."""
    number = int(os.environ.get("ROUNDS") or default)
    return pytest.param(number, marks=[pytest.mark.slow, pytest.mark.timeout(300 + number * seconds_each)])


def seeds(default: int) -> range:
    """Return the seeds of a slow test."""
    return range(int(os.environ.get("SEEDS") or default))
