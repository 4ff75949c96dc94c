"""How often and when."""

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
def test_waits_grow_and_are_spread_a_little(attempts: int, chance: float) -> None:
    """By a tenth at most, so that no wait is shorter than the one before it."""
    wait = retry_delay_seconds("days", 0, attempts, chance)
    assert wait is not None
    assert wait == pytest.approx(DAYS_DELAYS_SECONDS[attempts - 1], rel=JITTER + 1e-9)
    assert attempts == 1 or wait > DAYS_DELAYS_SECONDS[attempts - 2]


@pytest.mark.parametrize("tries", range(1, 6))
def test_the_original_tries_as_often_as_it_is_told(tries: int) -> None:
    """And then no more, as a PBX does."""
    waits = [retry_delay_seconds("original", tries, attempts, 0.5) for attempts in range(1, tries + 1)]
    assert waits == [5.0] * (tries - 1) + [None]


@pytest.mark.parametrize(("asked", "heeded"), [(0, THROTTLE_SECONDS_MIN), (30, 30), (10**9, 86_400)])
def test_an_application_is_heeded_within_reason(asked: float, heeded: float) -> None:
    """Neither a thousand times a second, nor never again."""
    assert clamp_retry_after(asked) == heeded
