"""Departments and sites: the numbers of PBXs that the directory has in them. Pure.

Names are equal whatever their case; the first spelling is shown.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Literal, cast, get_args

from onhook.cdr.access_scope import AccessScope, resolve_scope
from onhook.cdr.directory import DirectoryEntry
from onhook.cdr.party_filter import PartyField, SnAndNumber
from onhook.lib.errors import UsageError, _

PartyGroupKind = Literal["department", "site"]

PARTY_GROUP_KINDS: tuple[PartyGroupKind, ...] = get_args(PartyGroupKind)


class PartyGroups:
    """The numbers by department and by site. A contact is in none."""

    def __init__(self, entries: Iterable[DirectoryEntry] = ()) -> None:
        names: dict[PartyGroupKind, dict[str, str]] = {kind: {} for kind in PARTY_GROUP_KINDS}
        members: dict[PartyGroupKind, dict[str, set[SnAndNumber]]] = {kind: {} for kind in PARTY_GROUP_KINDS}
        labels: dict[PartyGroupKind, dict[SnAndNumber, str]] = {kind: {} for kind in PARTY_GROUP_KINDS}
        for entry in entries:
            for kind in PARTY_GROUP_KINDS:
                name = entry.department if kind == "department" else entry.site
                if name and entry.sn:
                    key = name.casefold()
                    label = names[kind].setdefault(key, name)
                    members[kind].setdefault(key, set()).add((entry.sn, entry.number))
                    labels[kind][entry.sn, entry.number] = label
        self._names = names
        self._labels = labels
        self._members = {
            kind: {key: frozenset(parties) for key, parties in members[kind].items()} for kind in PARTY_GROUP_KINDS
        }

    def names(self, kind: PartyGroupKind) -> list[str]:
        """Return the departments or the sites, in alphabetical order."""
        return sorted(self._names[kind].values(), key=str.casefold)

    def labels(self, kind: PartyGroupKind) -> Mapping[SnAndNumber, str]:
        """Return the department or the site of each number that has one."""
        return MappingProxyType(self._labels[kind])

    def members(self, kind: PartyGroupKind, names: Iterable[str]) -> frozenset[SnAndNumber]:
        """Return the numbers of departments or sites; an unknown name has none."""
        none: frozenset[SnAndNumber] = frozenset()
        return none.union(*(self._members[kind].get(name.casefold(), none) for name in names))

    def resolve(self, scope: AccessScope) -> AccessScope:
        """Return a scope with the members of its departments and sites: of both where it has both."""
        if not scope.has_groups:
            return scope
        limits = [
            self.members(kind, names)
            for kind in PARTY_GROUP_KINDS
            if (names := scope.departments if kind == "department" else scope.sites) is not None
        ]
        return resolve_scope(scope, frozenset.intersection(*limits))


NO_GROUPS = PartyGroups()
"""Where the directory is not read."""


def parse_group_filter(text: str) -> tuple[PartyGroupKind, str] | None:
    """Return the kind and the name of a filter on a number that names a group; None for any other text.

    >>> parse_group_filter("department:Sales"), parse_group_filter(" Site: Berlin "), parse_group_filter("1001")
    (('department', 'Sales'), ('site', 'Berlin'), None)
    """
    word, colon, name = text.strip().partition(":")
    for kind in PARTY_GROUP_KINDS:
        if colon and word.strip().casefold() == kind and name.strip():
            return kind, name.strip()
    return None


GroupFilters = Mapping[PartyField, tuple[PartyGroupKind, str]]
"""Kind and name of a group by the filter that names it."""


def split_group_filters(texts: Mapping[str, str]) -> tuple[dict[str, str], GroupFilters]:
    """Return the filters that name no group, and those that do.

    >>> split_group_filters({"call_to": "site:Berlin", "pbx": "Office"})
    ({'pbx': 'Office'}, {'call_to': ('site', 'Berlin')})
    """
    groups = {
        cast("PartyField", name): group
        for name, text in texts.items()
        if name in get_args(PartyField) and (group := parse_group_filter(text)) is not None
    }
    return {name: text for name, text in texts.items() if name not in groups}, groups


def reject_group_filter(name: str, text: str) -> None:
    """Raise `UsageError` for a group in a filter that is applied without the directory: it would match nothing."""
    if parse_group_filter(text) is not None:
        raise UsageError(
            _("{name} cannot be a department or a site here", name=name),
            hint=_("name the extensions; departments and sites are filters of the console and its API"),
            parameter=name,
        )
