"""Rate limit of a destination."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onhook.delivery.rate_limit import BURST_SECONDS, RateLimit


def test_rate_limit_zero_is_no_limit() -> None:
    rate_limit = RateLimit(0)
    rate_limit.count(1000)
    assert (rate_limit.available(1.0), rate_limit.wait_seconds(1.0)) == (inf, 0)


def test_rate_limit_slow_rate_sends_one_per_period() -> None:
    rate_limit = RateLimit(0.5)
    assert rate_limit.available(10.0) == 1
    rate_limit.count(1)
    assert (rate_limit.available(10.0), rate_limit.wait_seconds(10.0)) == (0, 2.0)
    assert rate_limit.available(11.9) == 0
    assert rate_limit.available(12.0) == 1


def test_rate_limit_fast_rate_sends_bursts() -> None:
    rate_limit = RateLimit(1000)
    assert rate_limit.available(0.0) == 100
    rate_limit.count(100)
    assert rate_limit.wait_seconds(0.0) == pytest.approx(BURST_SECONDS)
    assert rate_limit.available(1000.0) == 100


def test_rate_limit_clock_set_back_lengthens_no_wait() -> None:
    rate_limit = RateLimit(10)
    assert rate_limit.available(50.0) == 1
    rate_limit.count(1)
    assert rate_limit.wait_seconds(1.0) == pytest.approx(0.1)


@given(st.floats(0.1, 500), st.lists(st.floats(0, 3), min_size=1, max_size=50))
def test_rate_limit_any_period_has_at_most_its_rate_and_a_burst(per_second: float, pauses: list[float]) -> None:
    rate_limit, now, sent = RateLimit(per_second), 0.0, 0
    for pause in pauses:
        now += pause
        available = int(rate_limit.available(now))
        rate_limit.count(available)
        sent += available
    assert sent <= per_second * now + max(1.0, per_second * BURST_SECONDS) + 1e-6
