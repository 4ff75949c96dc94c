"""Reachability of an endpoint."""

import pytest

from onhook.delivery.destinations.contract import Outcome
from onhook.delivery.endpoint_health import (
    DOWN_AFTER_FAILURES,
    PROBE_SECONDS_FIRST,
    PROBE_SECONDS_MAX,
    EndpointHealth,
    EndpointState,
    find_disable_reason,
    initial_health,
)
from onhook.delivery.retry_policy import DISABLE_AFTER_SECONDS
from tests.delivery.factories import NOW, SECOND, delivery_result

PLACES = 8


def _down(time_us: int = NOW) -> EndpointHealth:
    endpoint = EndpointHealth()
    for _ in range(DOWN_AFTER_FAILURES):
        endpoint = endpoint.with_result(delivery_result("unreachable"), time_us)
    return endpoint


def test_endpoint_health_unreachable_endpoint_is_tried_at_growing_intervals() -> None:
    """One attempt at a time, and once a minute in the end."""
    endpoint, now_us, pauses = _down(), NOW, []
    for _ in range(6):
        assert endpoint.is_down
        assert (
            endpoint.attempts_allowed(PLACES, now_us),
            endpoint.attempts_allowed(PLACES, endpoint.next_attempt_at),
        ) == (0, 1)
        pauses.append((endpoint.next_attempt_at - now_us) // SECOND)
        now_us = endpoint.next_attempt_at
        endpoint = endpoint.with_result(delivery_result("unreachable"), now_us)
    assert pauses == [PROBE_SECONDS_FIRST, 10, 20, 40, PROBE_SECONDS_MAX, PROBE_SECONDS_MAX]


@pytest.mark.parametrize("verdict", ["accepted", "rejected"])
def test_endpoint_health_any_response_means_reachable(verdict: Outcome) -> None:
    """One that rejects is failing, but not down."""
    endpoint = _down()
    endpoint = endpoint.with_result(delivery_result(verdict), endpoint.next_attempt_at)
    assert (endpoint.is_down, endpoint.attempts_allowed(PLACES, NOW)) == (False, PLACES)
    assert endpoint.failing_since == (None if verdict == "accepted" else NOW)


def test_endpoint_health_concurrent_failures_count_once() -> None:
    """Eight that fail together are one failure, not eight."""
    endpoint = _down()
    assert endpoint.with_result(delivery_result("unreachable"), NOW + 1) is endpoint


def test_endpoint_health_throttled_endpoint_is_left_alone() -> None:
    """Concurrent results do not shorten the wait, and it is no failure in a row."""
    endpoint = EndpointHealth().with_result(delivery_result("throttled", 30), NOW)
    assert (endpoint.failures, endpoint.next_attempt_at) == (0, NOW + 30 * SECOND)
    assert endpoint.with_result(delivery_result("throttled", 5), NOW).next_attempt_at == NOW + 30 * SECOND
    assert (
        endpoint.with_result(delivery_result("accepted"), NOW + SECOND).attempts_allowed(PLACES, NOW + 29 * SECOND) == 0
    )
    assert endpoint.with_result(delivery_result("accepted"), NOW + 31 * SECOND) == EndpointHealth()


@pytest.mark.parametrize("back_seconds", [3_600, 4 * 365 * 86_400])
def test_endpoint_health_clock_set_back_ends_no_attempts(back_seconds: int) -> None:
    """A down endpoint is tried at once, and then at its intervals; it is failing since that time at most."""
    endpoint, now_us = _down(), NOW - back_seconds * SECOND
    assert (endpoint.wait_microseconds(now_us), endpoint.attempts_allowed(PLACES, now_us)) == (0, 1)
    endpoint = endpoint.with_result(delivery_result("unreachable"), now_us)
    assert endpoint.failures == DOWN_AFTER_FAILURES + 1
    assert endpoint.wait_microseconds(now_us) == 10 * SECOND
    assert endpoint.attempts_allowed(PLACES, now_us) == 0
    assert endpoint.failing_since == now_us


def test_endpoint_health_clock_set_back_keeps_a_throttled_endpoint_waiting() -> None:
    """Beyond the longest delay that it can request, the clock was set back: then what it requests now counts."""
    endpoint, back = EndpointHealth().with_result(delivery_result("throttled", 30), NOW), NOW - 86_400 * SECOND
    assert endpoint.wait_microseconds(NOW - 3_600 * SECOND) == 3_630 * SECOND
    assert endpoint.wait_microseconds(back) == 0
    assert endpoint.with_result(delivery_result("throttled", 5), back).wait_microseconds(back) == 5 * SECOND
    assert endpoint.with_result(delivery_result("accepted"), back) == EndpointHealth()


def test_endpoint_health_idle_endpoint_is_not_failing() -> None:
    """It is failing again with the next failure."""
    endpoint = EndpointHealth().with_result(delivery_result("rejected"), NOW).when_idle()
    assert endpoint.failing_since is None
    assert endpoint.with_result(delivery_result("rejected"), NOW + 9).failing_since == NOW + 9


def test_initial_health_continues_the_stored_state() -> None:
    """A failing endpoint begins with one attempt; a throttled one waits for the rest of the time."""
    assert initial_health(NOW, 0).attempts_allowed(PLACES, NOW) == 1
    assert initial_health(None, NOW + 5).attempts_allowed(PLACES, NOW) == 0
    assert initial_health(None, NOW + 5).attempts_allowed(PLACES, NOW + 5) == PLACES


@pytest.mark.parametrize("outcome", ["accepted", "rejected"])
def test_endpoint_state_first_response_of_an_endpoint_that_was_down_is_reported(outcome: Outcome) -> None:
    endpoint = EndpointState(_down())
    assert not endpoint.record_result(delivery_result("unreachable"), endpoint.health.next_attempt_at)
    assert endpoint.record_result(delivery_result(outcome), endpoint.health.next_attempt_at)
    assert not endpoint.record_result(delivery_result(outcome), NOW)
    assert not endpoint.health.is_down


def test_endpoint_state_gone_allows_no_further_attempts() -> None:
    """Also where another attempt was accepted at the same time."""
    endpoint = EndpointState(EndpointHealth())
    assert endpoint.attempts_allowed(PLACES, NOW) == PLACES
    endpoint.record_result(delivery_result("gone"), NOW)
    endpoint.record_result(delivery_result("accepted"), NOW)
    assert endpoint.attempts_allowed(PLACES, NOW) == 0
    assert endpoint.disable_reason == "the endpoint requested no further notifications: was gone"


def test_find_disable_reason_accepted_nothing_for_days_disables() -> None:
    health, limit = EndpointHealth(failing_since=NOW), NOW + DISABLE_AFTER_SECONDS * SECOND
    assert find_disable_reason(health, delivery_result("rejected"), limit) == ""
    reason = find_disable_reason(health, delivery_result("rejected"), limit + 1)
    assert reason == "the endpoint accepted nothing for 5 days; last attempt: was rejected"
    assert find_disable_reason(EndpointHealth(), delivery_result("accepted"), limit + 1) == ""
