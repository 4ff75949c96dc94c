"""Departments and sites."""

import pytest

from onhook.cdr.access_scope import AccessScope, ResolvedScope
from onhook.cdr.directory import DirectoryEntry
from onhook.cdr.party_groups import (
    NO_GROUPS,
    PartyGroups,
    parse_group_filter,
    reject_group_filter,
    split_group_filters,
)
from onhook.lib.errors import UsageError
from tests.factories import SN

GROUPS = PartyGroups(
    [
        DirectoryEntry(number="+4930901820", kind="contact", name="Carol", company="ACME"),
        DirectoryEntry(sn=SN, number="1001", name="Alice", department="Sales", site="Berlin"),
        DirectoryEntry(sn=SN, number="1002", name="Bob", department="sales", site="Hamburg"),
        DirectoryEntry(sn="other", number="1001", name="Dave", department="Support", site="berlin"),
        DirectoryEntry(sn=SN, number="1003", name="Eve"),
    ]
)


def test_party_groups_names_differ_by_case_only_once() -> None:
    assert GROUPS.names("department") == ["Sales", "Support"]
    assert GROUPS.names("site") == ["Berlin", "Hamburg"]
    assert GROUPS.labels("department") == {(SN, "1001"): "Sales", (SN, "1002"): "Sales", ("other", "1001"): "Support"}
    assert GROUPS.members("site", ["BERLIN", "nowhere"]) == {(SN, "1001"), ("other", "1001")}
    assert NO_GROUPS.names("site") == []


@pytest.mark.parametrize(
    ("scope", "members"),
    [
        (AccessScope(departments=("SALES",)), {(SN, "1001"), (SN, "1002")}),
        (AccessScope(sites=("Berlin",)), {(SN, "1001"), ("other", "1001")}),
        (AccessScope(departments=("Sales",), sites=("Berlin",)), {(SN, "1001")}),
        (
            AccessScope(departments=("Sales", "Support"), sites=("Hamburg", "Berlin")),
            {(SN, "1001"), (SN, "1002"), ("other", "1001")},
        ),
        (AccessScope(departments=()), set()),
        (AccessScope(departments=("nowhere",), numbers=("1003",)), set()),
    ],
)  # fmt: skip
def test_party_groups_resolve_gives_members(scope: AccessScope, members: set[tuple[str, str]]) -> None:
    resolved = GROUPS.resolve(scope)
    assert isinstance(resolved, ResolvedScope)
    assert resolved.list_members() == members
    assert (resolved.departments, resolved.sites, resolved.numbers) == (scope.departments, scope.sites, scope.numbers)


def test_party_groups_resolve_leaves_other_scopes() -> None:
    scope = AccessScope(sns=(SN,), numbers=("1001",))
    assert GROUPS.resolve(scope) is scope


@pytest.mark.parametrize(
    ("text", "group"),
    [
        ("department:Sales", ("department", "Sales")),
        (" SITE : New York ", ("site", "New York")),
        ("site:", None),
        ("sites:Berlin", None),
        ("1001", None),
        ("department", None),
    ],
)
def test_group_filter_is_a_word_and_a_name(text: str, group: tuple[str, str] | None) -> None:
    assert parse_group_filter(text) == group
    plain, groups = split_group_filters({"call_to": text, "pbx": "site:x"})
    assert groups == ({} if group is None else {"call_to": group})
    assert plain == {"pbx": "site:x"} | ({"call_to": text} if group is None else {})


def test_group_filter_without_a_directory_is_rejected() -> None:
    """A destination's filter would silently match nothing."""
    reject_group_filter("number", "1001")
    with pytest.raises(UsageError, match="number cannot be a department"):
        reject_group_filter("number", "department:Sales")
