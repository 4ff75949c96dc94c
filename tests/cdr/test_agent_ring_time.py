"""The meaning of `agent_ring_time`."""

from datetime import timedelta

import pytest

from onhook.cdr.agent_ring_time import detect_meaning
from onhook.cdr.record import Call
from tests.factories import QUEUE, STARTED_AT, call, record


def queue_call(agent_ring_time: int, *, ring_seconds: int = 6, wait_seconds: int = 40) -> Call:
    """Return a call that waited in a queue until an agent, whose telephone rang last, answered."""
    answered_at = STARTED_AT + timedelta(seconds=wait_seconds)
    queue = record(call_to=QUEUE, started_at=STARTED_AT, agent_ring_time=agent_ring_time)
    agent = record(
        call_to="1001",
        started_at=answered_at - timedelta(seconds=ring_seconds),
        answered_at=answered_at,
        ring_duration=ring_seconds,
        agent_ring_time=agent_ring_time,
        status="ANSWERED",
    )
    return call(queue, agent)


@pytest.mark.parametrize(("agent_ring_time", "meaning"), [(6, "ring"), (7, "ring"), (40, "wait"), (39, "wait")])
def test_detect_meaning_calls_that_waited_longer_than_they_rang_show_it(agent_ring_time: int, meaning: str) -> None:
    assert detect_meaning([queue_call(agent_ring_time)] * 3) == meaning


@pytest.mark.parametrize("exceptions", [1, 2])
def test_detect_meaning_survives_odd_calls_among_many(exceptions: int) -> None:
    """One of ten, as a call during which the clock was set."""
    calls = [queue_call(6)] * (10 * exceptions - 1) + [queue_call(40)] * exceptions
    assert detect_meaning(calls) is None
    assert detect_meaning([*calls, queue_call(6)]) == "ring"


@pytest.mark.parametrize(
    "calls",
    [
        [],
        [queue_call(6)] * 2,
        [queue_call(6)] * 3 + [queue_call(40)],
        [queue_call(6, wait_seconds=6)] * 9,
        [queue_call(0)] * 9,
    ],
)
def test_detect_meaning_few_or_contradicting_calls_show_none(calls: list[Call]) -> None:
    assert detect_meaning(calls) is None
