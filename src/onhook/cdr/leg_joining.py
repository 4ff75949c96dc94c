"""Joining of legs that a PBX reports one by one to calls, by the names that it gives them. Pure.

Invariants: the same legs in any order, with any repeats, give the same groups. A leg belongs to one group. A link may
name a leg that was not reported: two legs that name it belong together.
"""

from collections.abc import Iterable, Sequence

import msgspec


class LegLinks(msgspec.Struct, frozen=True, kw_only=True):
    """What one leg says about others. `leg_id` is the PBX's name of the leg, `linked_ids` are the names of other legs
    of the same call, `awaited_ids` those of them that are reported by themselves, sooner or later.
    """

    leg_id: str
    linked_ids: frozenset[str] = frozenset()
    awaited_ids: frozenset[str] = frozenset()

    @property
    def names(self) -> frozenset[str]:
        """All names that belong to the call of this leg."""
        return self.linked_ids | self.awaited_ids | {self.leg_id}


def join_legs(legs: Iterable[LegLinks]) -> list[tuple[str, ...]]:
    """Return the names of the reported legs of each call, sorted; the calls are in the order of their first name."""
    groups: list[tuple[set[str], set[str]]] = []  # names that belong to a call, and those of its reported legs
    for leg in legs:
        names, leg_ids = set(leg.names), {leg.leg_id}
        # By the names of the leg alone: two groups have no name in common.
        joined_groups = [group for group in groups if not leg.names.isdisjoint(group[0])]
        groups = [group for group in groups if leg.names.isdisjoint(group[0])]
        for group_names, group_leg_ids in joined_groups:
            names |= group_names
            leg_ids |= group_leg_ids
        groups.append((names, leg_ids))
    return sorted(tuple(sorted(leg_ids)) for _names, leg_ids in groups)


def missing_leg_ids(legs: Sequence[LegLinks]) -> frozenset[str]:
    """Return the names of legs that those of one call await and that were not reported: the call is complete without
    any.
    """
    return frozenset[str]().union(*(leg.awaited_ids for leg in legs)) - {leg.leg_id for leg in legs}
