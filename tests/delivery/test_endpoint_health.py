"""Whether an application is there."""

import pytest

from onhook.delivery.destinations.contract import Outcome
from onhook.delivery.endpoint_health import (
    DOWN_AFTER_FAILURES,
    PROBE_SECONDS_FIRST,
    PROBE_SECONDS_MAX,
    EndpointHealth,
    initial_health,
)
from tests.delivery.factories import NOW, SECOND, delivery_result

PLACES = 8


def _down(at: int = NOW) -> EndpointHealth:
    fares = EndpointHealth()
    for _ in range(DOWN_AFTER_FAILURES):
        fares = fares.with_result(delivery_result("unreachable"), at)
    return fares


def test_one_that_was_not_found_some_times_is_asked_ever_more_rarely() -> None:
    """By one attempt at a time, and once a minute in the end."""
    fares, at, pauses = _down(), NOW, []
    for _ in range(6):
        assert fares.is_down
        assert (fares.attempts_allowed(PLACES, at), fares.attempts_allowed(PLACES, fares.next_attempt_at)) == (0, 1)
        pauses.append((fares.next_attempt_at - at) // SECOND)
        at = fares.next_attempt_at
        fares = fares.with_result(delivery_result("unreachable"), at)
    assert pauses == [PROBE_SECONDS_FIRST, 10, 20, 40, PROBE_SECONDS_MAX, PROBE_SECONDS_MAX]


@pytest.mark.parametrize("verdict", ["accepted", "rejected"])
def test_any_answer_shows_that_it_is_there(verdict: Outcome) -> None:
    """One that refuses fails, but is not down."""
    fares = _down()
    fares = fares.with_result(delivery_result(verdict), fares.next_attempt_at)
    assert (fares.is_down, fares.attempts_allowed(PLACES, NOW)) == (False, PLACES)
    assert fares.failing_since == (None if verdict == "accepted" else NOW)


def test_what_was_under_way_beside_the_first_failure_tells_nothing_new() -> None:
    """Eight that fail together are one failure of a probe, not eight."""
    fares = _down()
    assert fares.with_result(delivery_result("unreachable"), NOW + 1) is fares


def test_who_asks_for_time_is_given_it() -> None:
    """Not shortened by what was under way beside it, and no failure in a row."""
    fares = EndpointHealth().with_result(delivery_result("throttled", 30), NOW)
    assert (fares.failures, fares.next_attempt_at) == (0, NOW + 30 * SECOND)
    assert fares.with_result(delivery_result("throttled", 5), NOW).next_attempt_at == NOW + 30 * SECOND
    assert fares.with_result(delivery_result("accepted"), NOW + SECOND).attempts_allowed(PLACES, NOW + 29 * SECOND) == 0
    assert fares.with_result(delivery_result("accepted"), NOW + 31 * SECOND) == EndpointHealth()


def test_nobody_fails_while_nothing_is_owed() -> None:
    """It begins anew with the next failure."""
    fares = EndpointHealth().with_result(delivery_result("rejected"), NOW).when_idle()
    assert fares.failing_since is None
    assert fares.with_result(delivery_result("rejected"), NOW + 9).failing_since == NOW + 9


def test_a_beginning_remembers_how_it_fared() -> None:
    """One that was failing is asked by one attempt; one that asked for time has what is left of it."""
    assert initial_health(NOW, 0).attempts_allowed(PLACES, NOW) == 1
    assert initial_health(None, NOW + 5).attempts_allowed(PLACES, NOW) == 0
    assert initial_health(None, NOW + 5).attempts_allowed(PLACES, NOW + 5) == PLACES
