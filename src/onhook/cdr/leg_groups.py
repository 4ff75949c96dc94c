"""The legs of one call as they arrive one by one, until the call is due to be made of them. Pure.

Invariants: the same legs in any order, with any repeats, give the same groups; so does a joined event in place of the
legs that it was made of. A group has a limited number of legs and names.
"""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from onhook.cdr.leg_joining import LegLinks

COMPLETE_MICROSECONDS = 1_000_000
"""Wait for legs that no other one awaits, as of the agents of a queue: the legs of a call come within milliseconds."""

INCOMPLETE_MICROSECONDS = 30 * 1_000_000
"""Wait for a leg that another one awaits, and that may never come."""

JOINS_PROMPT = 4
"""Joined events of one call that are made without delay: usual calls have one, or two with a leg that was late."""

WAIT_MICROSECONDS_MAX = 86_400 * 1_000_000
"""Each joined event has all legs, so the wait for further ones doubles with each: some thirty a week at most."""

LEGS_MAX = 500
"""Legs of one call: a queue that rings twenty agents for an hour has some hundreds."""

NAMES_MAX = 5_000
BYTES_MAX = 8 * 1024 * 1024
"""Of the documents of one call, which are stored together: 800 of the usual size."""


_DOUBLINGS_MAX = 20
"""More make no wait longer."""


class GroupedLeg(msgspec.Struct, frozen=True, kw_only=True):
    """A leg that was reported: the number of its raw event, its size in bytes, and what it says about others."""

    seq: int
    size: int
    links: LegLinks


class LegGroup(msgspec.Struct, frozen=True, kw_only=True):
    """The reported legs of one call. `sizes` are those of their documents, by the numbers of their raw events;
    `joined_seqs` are the numbers of the joined events that were made of them, `settled_seqs` those of the legs in the
    latest of these. `received_at` is the time of the last leg, in microseconds since 1970, UTC.
    """

    names: frozenset[str]
    leg_ids: frozenset[str]
    awaited_ids: frozenset[str]
    sizes: dict[int, int]
    received_at: int
    joined_seqs: frozenset[int] = frozenset()
    settled_seqs: frozenset[int] = frozenset()

    @property
    def seqs(self) -> frozenset[int]:
        """Return the numbers of the raw events of all legs."""
        return frozenset(self.sizes)

    @property
    def is_complete(self) -> bool:
        """Return whether each leg that another one awaits was reported."""
        return self.awaited_ids <= self.leg_ids

    @property
    def due_at(self) -> int | None:
        """Return when the call is to be made of its legs; None where it is made of all of them already."""
        if self.seqs <= self.settled_seqs:
            return None
        wait_us = COMPLETE_MICROSECONDS if self.is_complete else INCOMPLETE_MICROSECONDS
        doublings = min(max(len(self.joined_seqs) - JOINS_PROMPT, 0), _DOUBLINGS_MAX)
        return self.received_at + min(wait_us << doublings, WAIT_MICROSECONDS_MAX)


class LegGroups:
    """The groups of one PBX, as far as they concern some legs, by the number of their first leg."""

    def __init__(self, groups: Mapping[int, LegGroup]) -> None:
        self.changed: dict[int, LegGroup] = {}
        self.removed_ids: set[int] = set()
        self._groups = dict(groups)
        self._id_by_name = {name: group_id for group_id, group in groups.items() for name in group.names}

    def add(self, leg: GroupedLeg, received_at: int) -> None:
        """Add a leg; one that would make its group too large begins a group of its own."""
        new_group = _group_of([leg], received_at)
        group_ids = self._find(new_group.names)
        if any(leg.seq in self._groups[group_id].sizes for group_id in group_ids):
            return
        self._merge(leg.seq, new_group, group_ids)

    def add_joined(self, joined_seq: int, legs: Sequence[GroupedLeg], received_at: int) -> None:
        """Add a joined event, which was made of these legs."""
        new_group = msgspec.structs.replace(
            _group_of(legs, received_at),
            joined_seqs=frozenset({joined_seq}),
            settled_seqs=frozenset(leg.seq for leg in legs),
        )
        group_ids = self._find(new_group.names)
        if not any(joined_seq in self._groups[group_id].joined_seqs for group_id in group_ids):
            self._merge(min(leg.seq for leg in legs), new_group, group_ids)

    def settle(self, group_id: int, joined_seq: int) -> None:
        """Note that a call was made of all legs of its group; `joined_seq` is 0 where it was deleted before."""
        group = self._groups[group_id]
        joined_seqs = group.joined_seqs | ({joined_seq} if joined_seq else set())
        self._put(group_id, msgspec.structs.replace(group, joined_seqs=joined_seqs, settled_seqs=group.seqs))

    def _find(self, names: Iterable[str]) -> list[int]:
        return sorted({self._id_by_name[name] for name in names if name in self._id_by_name})

    def _merge(self, group_id: int, new_group: LegGroup, group_ids: Sequence[int]) -> None:
        merged = _union([new_group, *(self._groups[other_id] for other_id in group_ids)])
        size = sum(merged.sizes.values())
        if len(merged.sizes) > LEGS_MAX or len(merged.names) > NAMES_MAX or size > BYTES_MAX:
            # Names that another group has stay with it.
            own_names = frozenset(name for name in new_group.names if name not in self._id_by_name)
            self._put(group_id, msgspec.structs.replace(new_group, names=own_names))
            return
        merged_id = min([group_id, *group_ids])
        for other_id in group_ids:
            if other_id != merged_id:
                del self._groups[other_id]
                self.changed.pop(other_id, None)
                self.removed_ids.add(other_id)
        self._put(merged_id, merged)

    def _put(self, group_id: int, group: LegGroup) -> None:
        self._groups[group_id] = self.changed[group_id] = group
        self.removed_ids.discard(group_id)
        self._id_by_name.update(dict.fromkeys(group.names, group_id))


def _group_of(legs: Sequence[GroupedLeg], received_at: int) -> LegGroup:
    return LegGroup(
        names=frozenset[str]().union(*(leg.links.names for leg in legs)),
        leg_ids=frozenset(leg.links.leg_id for leg in legs),
        awaited_ids=frozenset[str]().union(*(leg.links.awaited_ids for leg in legs)),
        sizes={leg.seq: leg.size for leg in legs},
        received_at=received_at,
    )


def _union(groups: Sequence[LegGroup]) -> LegGroup:
    """Return all groups as one. It is settled as far as the latest joined event goes: an earlier one may have had a
    part of the legs alone, and so has each of two groups that a later leg joins.
    """
    latest = max(groups, key=lambda group: max(group.joined_seqs, default=0))
    return LegGroup(
        names=frozenset[str]().union(*(group.names for group in groups)),
        leg_ids=frozenset[str]().union(*(group.leg_ids for group in groups)),
        awaited_ids=frozenset[str]().union(*(group.awaited_ids for group in groups)),
        sizes={seq: size for group in groups for seq, size in group.sizes.items()},
        received_at=max(group.received_at for group in groups),
        joined_seqs=frozenset[int]().union(*(group.joined_seqs for group in groups)),
        settled_seqs=latest.settled_seqs if latest.joined_seqs else frozenset(),
    )
