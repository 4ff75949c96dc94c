"""Joining of legs to calls by their names."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onhook.cdr.leg_joining import LegLinks, join_legs, missing_leg_ids


def leg(leg_id: str, linked: str = "", awaited: str = "") -> LegLinks:
    """Return a leg; each letter of the texts is the name of another one."""
    return LegLinks(leg_id=leg_id, linked_ids=frozenset(linked), awaited_ids=frozenset(awaited))


@pytest.mark.parametrize(
    ("legs", "groups"),
    [
        ([], []),
        ([leg("a")], [("a",)]),
        ([leg("a"), leg("b")], [("a",), ("b",)]),
        ([leg("b", "a"), leg("a")], [("a", "b")]),
        ([leg("a", awaited="bc"), leg("c"), leg("b")], [("a", "b", "c")]),
        ([leg("a"), leg("c"), leg("b", "ac")], [("a", "b", "c")]),
        ([leg("a", "x"), leg("b", "x")], [("a", "b")]),
        ([leg("a"), leg("a")], [("a",)]),
        ([leg("d", "c"), leg("b", "a"), leg("e"), leg("c", "b")], [("b", "c", "d"), ("e",)]),
    ],
)
def test_join_legs_groups_by_links(legs: list[LegLinks], groups: list[tuple[str, ...]]) -> None:
    """A link to a leg that was not reported joins too."""
    assert join_legs(legs) == groups


LEGS = st.lists(
    st.builds(leg, *(st.text("abcdefgh", min_size=count, max_size=2) for count in (1, 0, 0))), min_size=1, max_size=8
)


@given(LEGS, st.randoms(use_true_random=False))
def test_join_legs_order_and_repeats_change_nothing(legs: list[LegLinks], order: random.Random) -> None:
    shuffled = order.choices(legs, k=2) + order.sample(legs, len(legs))
    groups = join_legs(legs)
    assert join_legs(shuffled) == groups
    assert sorted(leg_id for group in groups for leg_id in group) == sorted({leg.leg_id for leg in legs})


@given(LEGS)
def test_join_legs_of_two_groups_have_no_name_in_common(legs: list[LegLinks]) -> None:
    names = [frozenset[str]().union(*(leg.names for leg in legs if leg.leg_id in group)) for group in join_legs(legs)]
    assert sum(map(len, names)) == len(frozenset[str]().union(*names))


def test_missing_leg_ids_are_the_awaited_ones_that_did_not_come() -> None:
    assert missing_leg_ids([leg("a", "x", "bc"), leg("b")]) == {"c"}
    assert missing_leg_ids([leg("a", "x")]) == frozenset()
