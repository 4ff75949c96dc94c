"""Queues that a reader may see."""

import pytest

from onhook.cdr.access_scope import AccessScope, ResolvedScope
from onhook.cdr.queue_states import QueueState, is_queue_visible


@pytest.mark.parametrize(
    ("scope", "is_visible"),
    [
        (None, True),
        (AccessScope(), True),
        (AccessScope(sns=("a",)), True),
        (AccessScope(sns=("b",)), False),
        (AccessScope(numbers=("6400",)), True),
        (AccessScope(numbers=("1001",)), False),
        (AccessScope(departments=("Sales",)), False),
        (ResolvedScope(departments=("Sales",), members=frozenset({("a", "6400")})), True),
        (ResolvedScope(sites=("Berlin",), members=frozenset({("b", "6400")})), False),
        (AccessScope(sns=("b",), numbers=("6400",)), False),
    ],
)
def test_queue_state_is_visible_by_pbx_and_number(scope: AccessScope | None, is_visible: bool) -> None:
    state = QueueState(queue="6400", name="team", waiting=1, talking=0, longest_wait=3)
    assert is_queue_visible("a", state, scope) is is_visible
