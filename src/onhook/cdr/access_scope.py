"""What a reader may see: some PBXs, some numbers, or both; and whether external numbers are masked.

A record is allowed if its PBX is in scope and one of its two numbers is; a call if its PBX is in scope and one of its
legs has such a number. A number is in scope if it is named, or if it is a member: a number of a PBX that the directory
has in one of the departments and at one of the sites of the scope.

Invariant: a scope with departments or sites has no members until it is resolved, so it never allows more than a
resolved one.
"""

import msgspec

from onhook.cdr.identity import extract_number
from onhook.cdr.number_masking import Mask
from onhook.cdr.record import Call, Record


class AccessScope(msgspec.Struct, frozen=True):
    """Serial numbers of PBXs, numbers, departments and sites, as they were set. None means no limit, empty allows
    nothing. `mask` says how external numbers are shown; a filter itself does not mask.
    """

    sns: tuple[str, ...] | None = None
    numbers: tuple[str, ...] | None = None
    mask: Mask = "none"
    departments: tuple[str, ...] | None = None
    sites: tuple[str, ...] | None = None

    @property
    def has_groups(self) -> bool:
        """Return whether the scope depends on the directory."""
        return self.departments is not None or self.sites is not None

    @property
    def limits_numbers(self) -> bool:
        """Return whether some numbers of a PBX in scope are out of it."""
        return self.numbers is not None or self.has_groups

    def list_members(self) -> frozenset[tuple[str, str]]:
        """Return (`sn`, number) of the members; none of a scope that is not resolved."""
        return frozenset()

    def unresolved(self) -> "AccessScope":
        """Return the scope as it was set, which is what is stored."""
        return self

    def allows_record(self, record: Record) -> bool:
        """Return whether the reader may see this record."""
        return self.allows_pbx(record.sn) and self._has_number(record)

    def allows_call(self, call: Call) -> bool:
        """Return whether the reader may see this call, with all of its legs."""
        return self.allows_pbx(call.sn) and any(self._has_number(leg) for leg in call.legs)

    def allows_pbx(self, sn: str) -> bool:
        """Return whether the reader may see data of this PBX."""
        return self.sns is None or sn in self.sns

    def allows_number(self, sn: str, number: str) -> bool:
        """Return whether a number of a PBX is in scope."""
        return self.allows_pbx(sn) and self._allows_number(sn, number, is_outside=False)

    def _has_number(self, leg: Record) -> bool:
        sides = ((leg.call_from, leg.src_trunk_name), (leg.call_to, leg.dst_trunk_name))
        return any(self._allows_number(leg.sn, extract_number(text), is_outside=bool(trunk)) for text, trunk in sides)

    def _allows_number(self, sn: str, number: str, *, is_outside: bool) -> bool:
        """Return whether a number is named, or that of a member; a number that a trunk reached is no member's."""
        if not self.limits_numbers or number in (self.numbers or ()):
            return True
        return not is_outside and (sn, number) in self.list_members()


class ResolvedScope(AccessScope, frozen=True):
    """A scope with the members of its departments and sites, as the directory has them now. It is never stored."""

    members: frozenset[tuple[str, str]] = frozenset()

    def list_members(self) -> frozenset[tuple[str, str]]:
        return self.members

    def unresolved(self) -> AccessScope:
        return AccessScope(self.sns, self.numbers, self.mask, self.departments, self.sites)


def resolve_scope(scope: AccessScope, members: frozenset[tuple[str, str]]) -> ResolvedScope:
    """Return a scope with its members."""
    return ResolvedScope(scope.sns, scope.numbers, scope.mask, scope.departments, scope.sites, members)
