"""Waits between attempts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onhook.delivery.retry_policy import (
    DAYS_DELAYS_SECONDS,
    JITTER,
    THROTTLE_SECONDS_MIN,
    clamp_retry_after,
    retry_delay_seconds,
)


@given(st.integers(1, len(DAYS_DELAYS_SECONDS)), st.floats(0, 1))
def test_retry_delay_grows_with_little_jitter(attempts: int, jitter: float) -> None:
    """A tenth at most, so that no wait is shorter than the one before it."""
    wait = retry_delay_seconds("days", 0, attempts, jitter)
    assert wait is not None
    assert wait == pytest.approx(DAYS_DELAYS_SECONDS[attempts - 1], rel=JITTER + 1e-9)
    assert attempts == 1 or wait > DAYS_DELAYS_SECONDS[attempts - 2]


@pytest.mark.parametrize(("jitter", "expected"), [(0, 4.5), (0.5, 5), (1, 5.5)])
def test_retry_delay_larger_jitter_waits_longer(jitter: float, expected: float) -> None:
    """From a tenth less than the first wait, which is five seconds, to a tenth more."""
    assert retry_delay_seconds("days", 0, 1, jitter) == pytest.approx(expected)


@pytest.mark.parametrize("tries", range(1, 6))
def test_retry_delay_original_has_max_attempts(tries: int) -> None:
    waits = [retry_delay_seconds("original", tries, attempts, 0.5) for attempts in range(1, tries + 1)]
    assert waits == [5.0] * (tries - 1) + [None]


@pytest.mark.parametrize(("requested", "expected"), [(0, THROTTLE_SECONDS_MIN), (30, 30), (10**9, 86_400)])
def test_clamp_retry_after_is_within_limits(requested: float, expected: float) -> None:
    """Neither a thousand times a second, nor never."""
    assert clamp_retry_after(requested) == expected
