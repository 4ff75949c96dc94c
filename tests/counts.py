"""Larger counts for the tests that repeat or last: `make test-all ROUNDS=100 SEEDS=200 DURATION=3600 STEP=1`."""

import os
from collections.abc import Sequence
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


def step(default: int) -> Any:
    """Return how far the operations are apart of which one after the other fails, as a parameter of a slow test."""
    number = int(os.environ.get("STEP") or default)
    return pytest.param(number, marks=[pytest.mark.slow, pytest.mark.timeout(300 + 10_800 / number)])


def examples(default: int) -> int:
    """Return how many examples a property test draws: all in `make test-all`, an eighth in `make test`."""
    return default if os.environ.get("THOROUGH") else max(default // 8, 4)


def sampled(values: Sequence[object]) -> list[Any]:
    """Return values as parameters of a test: each eighth is one of `make test`, the others are slow tests."""
    return [
        value if number % 8 == 0 else pytest.param(value, marks=pytest.mark.slow) for number, value in enumerate(values)
    ]
