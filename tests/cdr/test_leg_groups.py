"""Groups of legs: the same in any order, with any repeats, and after a restart in between."""

import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onhook.cdr import leg_groups
from onhook.cdr.leg_groups import (
    BYTES_MAX,
    COMPLETE_MICROSECONDS,
    INCOMPLETE_MICROSECONDS,
    JOINS_PROMPT,
    LEGS_MAX,
    GroupedLeg,
    LegGroup,
    LegGroups,
)
from onhook.cdr.leg_joining import LegLinks, join_legs


def make_leg(seq: int, leg_id: str, *linked_ids: str, awaits: tuple[str, ...] = (), size: int = 10) -> GroupedLeg:
    links = LegLinks(leg_id=leg_id, linked_ids=frozenset(linked_ids), awaited_ids=frozenset(awaits))
    return GroupedLeg(seq=seq, size=size, links=links)


def all_groups(groups: LegGroups) -> dict[int, LegGroup]:
    return {group_id: group for group_id, group in groups.changed.items() if group_id not in groups.removed_ids}


def group_legs(*legs: GroupedLeg) -> dict[int, LegGroup]:
    groups = LegGroups({})
    for number, leg in enumerate(legs):
        groups.add(leg, 1_000 + number)
    return all_groups(groups)


A, B = make_leg(7, "a", awaits=("b",)), make_leg(9, "b", "a")


@pytest.mark.parametrize("legs", [(A, B), (B, A), (A, B, A, B)])
def test_leg_groups_linked_legs_are_one_group(legs: tuple[GroupedLeg, ...]) -> None:
    ((_group_id, group),) = group_legs(*legs).items()
    assert (group.seqs, group.leg_ids, group.is_complete) == (frozenset({7, 9}), frozenset({"a", "b"}), True)
    assert group.due_at == 1_001 + COMPLETE_MICROSECONDS


def test_leg_groups_awaited_leg_is_waited_for() -> None:
    (group,) = group_legs(A).values()
    assert group.due_at == 1_000 + INCOMPLETE_MICROSECONDS


def test_leg_groups_unlinked_legs_are_groups_of_their_own() -> None:
    assert group_legs(A, make_leg(8, "c")).keys() == {7, 8}


def test_leg_groups_late_leg_joins_two_groups() -> None:
    """Each was made a call before; the calls are one from now on, to be made anew."""
    groups = LegGroups(group_legs(A, make_leg(8, "c")))
    groups.settle(7, 20)
    groups.settle(8, 21)
    assert [group.due_at for group in groups.changed.values()] == [None, None]
    groups.add(make_leg(22, "d", "a", "c"), 5_000)
    ((group_id, group),) = all_groups(groups).items()
    assert (group_id, group.joined_seqs, group.seqs) == (7, frozenset({20, 21}), frozenset({7, 8, 22}))
    assert groups.removed_ids == {8}
    assert group.due_at == 5_000 + INCOMPLETE_MICROSECONDS


def test_leg_groups_call_that_was_deleted_is_settled() -> None:
    groups = LegGroups(group_legs(A))
    groups.settle(7, 0)
    (group,) = groups.changed.values()
    assert (group.joined_seqs, group.due_at) == (frozenset(), None)


def test_leg_groups_joined_event_settles_its_legs_alone() -> None:
    groups = LegGroups(group_legs(A, B))
    groups.add_joined(12, [A], 1_000)
    groups.add_joined(12, [A], 1_000)
    (group,) = all_groups(groups).values()
    assert (group.settled_seqs, group.due_at) == (frozenset({7}), 1_001 + COMPLETE_MICROSECONDS)
    groups.add_joined(13, [A, B], 1_001)
    (group,) = all_groups(groups).values()
    assert (group.joined_seqs, group.due_at) == (frozenset({12, 13}), None)


def test_leg_groups_joined_event_alone_has_all_names() -> None:
    """Its legs were deleted from the ledger: it is found by them all the same."""
    groups = LegGroups({})
    groups.add_joined(12, [A], 1_000)
    groups.add(B, 2_000)
    (group,) = all_groups(groups).values()
    assert (group.seqs, group.settled_seqs, group.due_at) == (
        frozenset({7, 9}),
        frozenset({7}),
        2_000 + COMPLETE_MICROSECONDS,
    )


def test_leg_groups_many_legs_begin_another_group() -> None:
    groups = LegGroups({})
    for number in range(LEGS_MAX + 1):
        groups.add(make_leg(number, f"leg {number}", "a"), 1_000)
    assert [len(group.sizes) for group in all_groups(groups).values()] == [LEGS_MAX, 1]
    groups.add(make_leg(1_000, "late", "leg 500"), 1_000)
    assert [len(group.sizes) for group in all_groups(groups).values()] == [LEGS_MAX, 2]


def test_leg_groups_large_documents_begin_another_group() -> None:
    legs = [make_leg(number, f"leg {number}", "a", size=BYTES_MAX // 2) for number in range(3)]
    assert [len(group.sizes) for group in group_legs(*legs).values()] == [2, 1]


def test_leg_groups_many_names_begin_another_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leg_groups, "NAMES_MAX", 3)
    groups = group_legs(make_leg(1, "a", "x"), make_leg(2, "b", "x"), make_leg(3, "c", "x"))
    assert [group.leg_ids for group in groups.values()] == [{"a", "b"}, {"c"}]


NAMES = st.sampled_from("abcdefgh")


@given(
    links=st.lists(st.tuples(NAMES, st.frozensets(NAMES, max_size=2), st.frozensets(NAMES, max_size=2)), max_size=12),
    seed=st.integers(),
)
def test_leg_groups_any_order_repeats_and_restarts_give_the_same_calls(
    links: list[tuple[str, frozenset[str], frozenset[str]]], seed: int
) -> None:
    legs = [
        GroupedLeg(seq=seq, size=1, links=LegLinks(leg_id=leg_id, linked_ids=linked, awaited_ids=awaited))
        for seq, (leg_id, linked, awaited) in enumerate(links, 1)
    ]
    rng = random.Random(seed)
    order = rng.sample(legs, len(legs)) + rng.choices(legs, k=min(3, len(legs)))
    stored: dict[int, LegGroup] = {}
    for leg in order:
        # As after a restart: only what is stored, and of that only what the leg names.
        known_groups = {group_id: group for group_id, group in stored.items() if group.names & leg.links.names}
        groups = LegGroups(msgspec.json.decode(msgspec.json.encode(known_groups), type=dict[int, LegGroup]))
        groups.add(leg, 1_000)
        stored = {group_id: group for group_id, group in stored.items() if group_id not in groups.removed_ids}
        stored |= groups.changed
    assert sorted(tuple(sorted(group.leg_ids)) for group in stored.values()) == join_legs(leg.links for leg in legs)
    assert sorted(seq for group in stored.values() for seq in group.sizes) == [leg.seq for leg in legs]


def test_leg_groups_call_with_ever_later_legs_is_made_anew_ever_more_rarely() -> None:
    """A row that comes each minute of a week makes some thirty joined events, and not ten thousand."""
    minute_us, week_us = 60 * 1_000_000, 7 * 86_400 * 1_000_000
    joins: list[int] = []
    groups = LegGroups({})
    for number, received_at in enumerate(range(0, week_us, minute_us)):
        if number < LEGS_MAX:
            groups.add(make_leg(number, f"leg {number}", "a"), received_at)
        (group,) = all_groups(groups).values()
        if group.due_at is not None and group.due_at < received_at + minute_us:
            joins.append(received_at)
            groups.settle(0, 1_000_000 + number)
    assert JOINS_PROMPT < len(joins) <= 30
    assert joins[:JOINS_PROMPT] == [minute_us * number for number in range(JOINS_PROMPT)]
    (group,) = all_groups(groups).values()
    assert group.due_at is None, "the last one has all legs"
