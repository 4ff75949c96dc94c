"""Permissions of users, changes of users, and the last administrator."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.dashboards import DashboardLayout, StoredTile
from onhook.appdb.permissions import validate_permissions
from onhook.appdb.user_changes import UserChanges, change_user
from onhook.cdr.access_scope import AccessScope
from onhook.lib.errors import NotFound, UsageError

pytestmark = pytest.mark.usefixtures("each_engine")

LAYOUT = DashboardLayout(tiles=(StoredTile("calls", 2),))
DAY = 86_400_000_000


@pytest.fixture
async def appdb(tmp_path: Path) -> AsyncIterator[AppDb]:
    async with AppDb(tmp_path / "onhook.db") as appdb:
        await appdb.add_pbx(name="Office", sn="A", secret="0123456789", now_us=1)
        yield appdb


async def add_administrator(appdb: AppDb, name: str) -> None:
    invitation = await appdb.users.add(name, "administrator", None, now_us=1)
    await appdb.users.accept_invitation(invitation, "three short words", now_us=2)


def test_permissions_are_known_names_in_order() -> None:
    assert validate_permissions("reader", ["links", " share", "links", ""]) == ("share", "links")
    assert validate_permissions("administrator", ["links"]) == ()
    with pytest.raises(UsageError, match="no permission 'fly'"):
        validate_permissions("reader", ["share", "fly"])


async def test_change_user_keeps_what_is_not_given(appdb: AppDb) -> None:
    scope = AccessScope(("A", "REMOVED"), ("1001",), "last3")
    await appdb.users.add("Alice", "reader", scope, now_us=1, permissions=["share"])
    await change_user(appdb, "alice", UserChanges(role="annotator"))
    alice = await appdb.users.get("Alice")
    assert (alice.name, alice.role, alice.scope, alice.permissions) == ("Alice", "annotator", scope, ("share",))
    await change_user(appdb, "Alice", UserChanges(pbxs=["office"], permissions=["links"]))
    alice = await appdb.users.get("Alice")
    assert (alice.scope, alice.permissions) == (AccessScope(("A",), ("1001",), "last3"), ("links",))
    await change_user(appdb, "Alice", UserChanges(name="Alicia", pbxs=[""], numbers=[], mask="none"))
    assert (await appdb.users.get("Alicia")).scope is None
    await change_user(appdb, "Alicia", UserChanges(is_disabled=True))
    assert (await appdb.users.get("Alicia")).is_disabled
    entries = await appdb.audit.latest(2)
    # With a new name the invitation is added again.
    assert [entry.action for entry in entries] == ["change user Alicia", "change user Alicia and 1 more"]


async def test_change_user_is_all_or_nothing(appdb: AppDb) -> None:
    """A limit stays with a role that cannot have it; there is no half of a change."""
    await appdb.users.add("Alice", "reader", AccessScope(numbers=("1001",)), now_us=1)
    before = await appdb.users.all()
    for changes in (
        UserChanges(name="Bob", role="administrator"),
        UserChanges(name="Bob", pbxs=["Nowhere"]),
        UserChanges(name="Bob", permissions=["fly"]),
    ):
        with pytest.raises((UsageError, NotFound)):
            await change_user(appdb, "Alice", changes)
    assert await appdb.users.all() == before
    with pytest.raises(NotFound):
        await change_user(appdb, "Carol", UserChanges(role="reader"))


async def test_last_administrator_who_can_sign_in_stays(appdb: AppDb) -> None:
    """One who is invited or disabled cannot sign in, and can be removed."""
    await add_administrator(appdb, "Alice")
    await appdb.users.add("Invited", "administrator", None, now_us=1)
    await add_administrator(appdb, "Disabled")
    await appdb.users.set_disabled("Disabled", is_disabled=True)
    for change in (
        appdb.users.remove("alice"),
        appdb.users.set_disabled("alice", is_disabled=True),
        appdb.users.change("alice", new_name="Alice", role="reader", scope=None),
    ):
        with pytest.raises(UsageError, match="Alice is the last administrator who can sign in"):
            await change
    await appdb.users.change("Alice", new_name="Alicia", role="administrator", scope=None)
    for name in ("Invited", "Disabled"):
        await appdb.users.remove(name)
    await add_administrator(appdb, "Bob")
    await appdb.users.remove("Alicia")
    assert [user.name for user in await appdb.users.all()] == ["Bob"]


@pytest.mark.parametrize("change", ["scope", "role", "permissions", "disabled", "removed"])
async def test_links_of_a_user_end_with_the_access(appdb: AppDb, change: str) -> None:
    """Those that an administrator has made stay; a new name changes nothing."""
    await appdb.users.add("Alice", "reader", None, now_us=1, permissions=["links"])
    dashboard = await appdb.dashboards.save("Team", LAYOUT, author="Bob")
    texts = [
        await appdb.wallboard_links.add(
            dashboard.dashboard_id, "hall", scope=None, expires_us=DAY, now_us=1, author=author
        )
        for author in ("", "Alice")
    ]
    await appdb.users.change("Alice", new_name="Alicia", role="reader", scope=None)
    links = [await appdb.wallboard_links.find(text, now_us=2) for text in texts]
    assert [link.author for link in links if link is not None] == ["", "Alicia"]
    if change == "removed":
        await appdb.users.remove("Alicia")
    else:
        changes = {
            "scope": UserChanges(numbers=["1001"]),
            "role": UserChanges(role="annotator"),
            "permissions": UserChanges(permissions=[]),
            "disabled": UserChanges(is_disabled=True),
        }
        await change_user(appdb, "Alicia", changes[change])
    assert [await appdb.wallboard_links.find(text, now_us=2) is None for text in texts] == [False, True]


async def test_links_are_removed_by_their_author(appdb: AppDb) -> None:
    dashboard = await appdb.dashboards.save("Team", LAYOUT, author="Bob")
    await appdb.wallboard_links.add(dashboard.dashboard_id, "hall", scope=None, expires_us=DAY, now_us=1, author="Bob")
    (link,) = await appdb.wallboard_links.all()
    with pytest.raises(NotFound):
        await appdb.wallboard_links.remove(link.link_id, author="Alice")
    await appdb.wallboard_links.remove(link.link_id, author="Bob")
    assert await appdb.wallboard_links.all() == []


async def test_dashboards_that_are_shared_have_no_author_after_their_user(appdb: AppDb) -> None:
    """A user of the same name does not take them over; an administrator who no longer shares one does."""
    await appdb.users.add("Alice", "reader", None, now_us=1)
    dashboard = await appdb.dashboards.save("Team", LAYOUT, author="Alice")
    await appdb.dashboards.set_shared(dashboard.dashboard_id, is_shared=True)
    await appdb.users.remove("Alice")
    assert [(board.name, board.author) for board in await appdb.dashboards.all()] == [("Team", "")]
    await appdb.dashboards.save("Team", LAYOUT, author="Bob")
    with pytest.raises(UsageError, match="you have a dashboard of this name"):
        await appdb.dashboards.set_shared(dashboard.dashboard_id, is_shared=False, author="Bob")
    await appdb.dashboards.set_shared(dashboard.dashboard_id, is_shared=False, author="Carol")
    assert sorted(board.author for board in await appdb.dashboards.all()) == ["Bob", "Carol"]
