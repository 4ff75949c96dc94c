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
from tests.delivery.factories import NOW, SECOND, answer

PLACES = 8


def _down(at: int = NOW) -> EndpointHealth:
    fares = EndpointHealth()
    for _ in range(DOWN_AFTER_FAILURES):
        fares = fares.after(answer("failed"), at)
    return fares


def test_one_that_was_not_found_some_times_is_asked_ever_more_rarely() -> None:
    """By one attempt at a time, and once a minute in the end."""
    fares, at, pauses = _down(), NOW, []
    for _ in range(6):
        assert fares.is_down
        assert (fares.places(PLACES, at), fares.places(PLACES, fares.not_before)) == (0, 1)
        pauses.append((fares.not_before - at) // SECOND)
        at = fares.not_before
        fares = fares.after(answer("failed"), at)
    assert pauses == [PROBE_SECONDS_FIRST, 10, 20, 40, PROBE_SECONDS_MAX, PROBE_SECONDS_MAX]


@pytest.mark.parametrize("verdict", ["taken", "refused"])
def test_any_answer_shows_that_it_is_there(verdict: Outcome) -> None:
    """One that refuses fails, but is not down."""
    fares = _down()
    fares = fares.after(answer(verdict), fares.not_before)
    assert (fares.is_down, fares.places(PLACES, NOW)) == (False, PLACES)
    assert fares.failing_since == (None if verdict == "taken" else NOW)


def test_what_was_under_way_beside_the_first_failure_tells_nothing_new() -> None:
    """Eight that fail together are one failure of a probe, not eight."""
    fares = _down()
    assert fares.after(answer("failed"), NOW + 1) is fares


def test_who_asks_for_time_is_given_it() -> None:
    """Not shortened by what was under way beside it, and no failure in a row."""
    fares = EndpointHealth().after(answer("busy", 30), NOW)
    assert (fares.failures, fares.not_before) == (0, NOW + 30 * SECOND)
    assert fares.after(answer("busy", 5), NOW).not_before == NOW + 30 * SECOND
    assert fares.after(answer("taken"), NOW + SECOND).places(PLACES, NOW + 29 * SECOND) == 0
    assert fares.after(answer("taken"), NOW + 31 * SECOND) == EndpointHealth()


def test_nobody_fails_while_nothing_is_owed() -> None:
    """It begins anew with the next failure."""
    fares = EndpointHealth().after(answer("refused"), NOW).at_rest()
    assert fares.failing_since is None
    assert fares.after(answer("refused"), NOW + 9).failing_since == NOW + 9


def test_a_beginning_remembers_how_it_fared() -> None:
    """One that was failing is asked by one attempt; one that asked for time has what is left of it."""
    assert initial_health(NOW, 0).places(PLACES, NOW) == 1
    assert initial_health(None, NOW + 5).places(PLACES, NOW) == 0
    assert initial_health(None, NOW + 5).places(PLACES, NOW + 5) == PLACES
