"""Scope of a limited reader."""

import pytest

from onhook.cdr.access_scope import AccessScope
from tests.factories import QUEUE, SN, call, record


@pytest.mark.parametrize(
    ("scope", "allowed"),
    [
        (AccessScope(), True),
        (AccessScope(sns=(SN,)), True),
        (AccessScope(sns=("another",)), False),
        (AccessScope(sns=()), False),
        (AccessScope(numbers=("1001",)), True),
        (AccessScope(numbers=("1002",)), True),
        (AccessScope(numbers=("100",)), False),
        (AccessScope(numbers=()), False),
        (AccessScope(sns=(SN,), numbers=("1002",)), True),
        (AccessScope(sns=("another",), numbers=("1002",)), False),
    ],
)
def test_access_scope_allows_by_pbx_and_number(scope: AccessScope, allowed: bool) -> None:
    assert scope.allows_record(record()) is allowed
    assert scope.allows_call(call()) is allowed


def test_access_scope_allows_a_call_by_any_of_its_legs() -> None:
    """A record is allowed by its own numbers only."""
    queue = record(call_to=QUEUE)
    agent = record(call_id=queue.call_id)
    scope = AccessScope(numbers=("1002",))
    assert scope.allows_call(call(queue, agent))
    assert not scope.allows_record(queue)
