"""Scope of a limited reader."""

import pytest

from onhook.cdr.access_scope import AccessScope, ResolvedScope, resolve_scope
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


ALICE_IN_SALES = frozenset({(SN, "1001")})


@pytest.mark.parametrize(
    ("scope", "allowed"),
    [
        (AccessScope(departments=("Sales",)), False),
        (AccessScope(sites=("Berlin",), numbers=("1002",)), True),
        (ResolvedScope(departments=("Sales",), members=ALICE_IN_SALES), True),
        (ResolvedScope(departments=("Sales",), members=frozenset({("another", "1001")})), False),
        (ResolvedScope(departments=("Sales",), members=frozenset()), False),
        (ResolvedScope(sns=("another",), departments=("Sales",), members=ALICE_IN_SALES), False),
        (ResolvedScope(departments=("Sales",), numbers=("1002",), members=frozenset()), True),
    ],
)
def test_access_scope_allows_members_and_numbers(scope: AccessScope, allowed: bool) -> None:
    """A scope that is not resolved has no members."""
    assert scope.allows_record(record()) is allowed
    assert scope.allows_call(call()) is allowed
    assert scope.limits_numbers
    assert scope.has_groups


def test_access_scope_number_reached_by_a_trunk_is_no_member() -> None:
    scope = ResolvedScope(departments=("Sales",), members=ALICE_IN_SALES)
    inbound = record(call_to="1009", type="Inbound", src_trunk_name="trunk-1")
    assert not scope.allows_record(inbound)
    assert not scope.allows_record(record(call_from="1009", call_to="1001", dst_trunk_name="trunk-1"))
    assert AccessScope(numbers=("1001",)).allows_record(inbound)


@pytest.mark.parametrize(
    ("scope", "allowed"),
    [
        (AccessScope(), (True, True)),
        (AccessScope(numbers=("1001",)), (True, False)),
        (AccessScope(sns=("another",)), (False, False)),
        (ResolvedScope(sites=("Berlin",), members=ALICE_IN_SALES), (True, False)),
    ],
)
def test_access_scope_allows_numbers_of_a_pbx(scope: AccessScope, allowed: tuple[bool, bool]) -> None:
    assert (scope.allows_number(SN, "1001"), scope.allows_number(SN, "1002")) == allowed


def test_access_scope_is_stored_as_it_was_set() -> None:
    scope = AccessScope(sns=(SN,), departments=("Sales",))
    assert scope.unresolved() is scope
    assert resolve_scope(scope, ALICE_IN_SALES).unresolved() == scope
