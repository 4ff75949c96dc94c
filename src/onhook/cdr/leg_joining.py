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
    # Names that belong to a call, and those of its reported legs; by each of the former.
    groups: dict[str, tuple[set[str], set[str]]] = {}
    for leg in legs:
        joined_groups = {id(group): group for name in leg.names if (group := groups.get(name)) is not None}
        names, leg_ids = set(leg.names), {leg.leg_id}
        for group_names, group_leg_ids in joined_groups.values():
            names |= group_names
            leg_ids |= group_leg_ids
        groups.update(dict.fromkeys(names, (names, leg_ids)))
    leg_ids_of_calls = {id(leg_ids): leg_ids for _names, leg_ids in groups.values()}
    return sorted(tuple(sorted(leg_ids)) for leg_ids in leg_ids_of_calls.values())


def missing_leg_ids(legs: Sequence[LegLinks]) -> frozenset[str]:
    """Return the names of legs that those of one call await and that were not reported: the call is complete without
    any.
    """
    return frozenset[str]().union(*(leg.awaited_ids for leg in legs)) - {leg.leg_id for leg in legs}
