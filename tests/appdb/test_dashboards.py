"""Saved dashboards: names, sharing, and what follows their author."""

from pathlib import Path

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.dashboards import DASHBOARDS_MAX, TILES_MAX, DashboardLayout, StoredTile
from onhook.lib.errors import NotFound, UsageError

pytestmark = pytest.mark.usefixtures("each_engine")

LAYOUT = DashboardLayout(tiles=(StoredTile("calls", 2), StoredTile("timeline", 8)), since="6d", pbx="office")


async def test_dashboards_are_saved_replaced_and_removed(tmp_path: Path) -> None:
    async with AppDb(tmp_path / "onhook.db") as appdb:
        saved = await appdb.dashboards.save(" Sales ", LAYOUT, author="Alice")
        assert (saved.name, saved.author, saved.is_shared, saved.layout) == ("Sales", "Alice", False, LAYOUT)
        other = await appdb.dashboards.save("Sales", LAYOUT, author="Bob")
        assert other.dashboard_id != saved.dashboard_id
        smaller = DashboardLayout(tiles=LAYOUT.tiles[:1])
        replaced = await appdb.dashboards.save("sales", smaller, author="Alice")
        assert (replaced.dashboard_id, replaced.layout) == (saved.dashboard_id, smaller)
        await appdb.dashboards.remove(saved.dashboard_id)
        assert [dashboard.author for dashboard in await appdb.dashboards.all()] == ["Bob"]
        for missing in (appdb.dashboards.get, appdb.dashboards.remove):
            with pytest.raises(NotFound):
                await missing(saved.dashboard_id)
        texts = [entry.action for entry in await appdb.audit.latest(10)]
        assert "remove dashboard sales" in texts


async def test_dashboards_with_the_name_of_a_shared_one_are_not_shared(tmp_path: Path) -> None:
    async with AppDb(tmp_path / "onhook.db") as appdb:
        first, second = [await appdb.dashboards.save("Sales", LAYOUT, author=name) for name in ("Alice", "Bob")]
        assert (await appdb.dashboards.set_shared(first.dashboard_id, is_shared=True)).is_shared
        with pytest.raises(UsageError, match="already a shared dashboard"):
            await appdb.dashboards.set_shared(second.dashboard_id, is_shared=True)
        await appdb.dashboards.set_shared(first.dashboard_id, is_shared=False)
        await appdb.dashboards.set_shared(second.dashboard_id, is_shared=True)
        with pytest.raises(NotFound):
            await appdb.dashboards.set_shared(99, is_shared=True)


async def test_dashboards_follow_their_user(tmp_path: Path) -> None:
    """A new name takes them along; with the user those go that no other user sees."""
    async with AppDb(tmp_path / "onhook.db") as appdb:
        await appdb.users.add("Alice", "reader", None, now_us=1)
        shared, _own = [await appdb.dashboards.save(name, LAYOUT, author="Alice") for name in ("Team", "Own")]
        await appdb.dashboards.set_shared(shared.dashboard_id, is_shared=True)
        await appdb.users.change("Alice", new_name="Alicia", role="reader", scope=None)
        assert {dashboard.author for dashboard in await appdb.dashboards.all()} == {"Alicia"}
        await appdb.users.remove("Alicia")
        assert [dashboard.name for dashboard in await appdb.dashboards.all()] == ["Team"]


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        ("", LAYOUT),
        ("a/b", LAYOUT),
        ("calls of +49 30 901820", LAYOUT),
        ("Sales", DashboardLayout(tiles=())),
        ("Sales", DashboardLayout(tiles=LAYOUT.tiles * TILES_MAX)),
        ("Sales", DashboardLayout(tiles=(StoredTile("<b>", 2),))),
        ("Sales", DashboardLayout(tiles=(StoredTile("calls", 13),))),
        ("Sales", DashboardLayout(tiles=LAYOUT.tiles, since="x" * 41)),
        ("Sales", DashboardLayout(tiles=LAYOUT.tiles, pbx="x" * 500)),
    ],
)
async def test_dashboards_that_are_invalid_are_rejected(tmp_path: Path, name: str, layout: DashboardLayout) -> None:
    async with AppDb(tmp_path / "onhook.db") as appdb:
        with pytest.raises(UsageError):
            await appdb.dashboards.save(name, layout, author="Alice")
        assert await appdb.dashboards.all() == []


async def test_dashboards_of_one_author_are_limited(tmp_path: Path) -> None:
    async with AppDb(tmp_path / "onhook.db") as appdb:
        for number in range(DASHBOARDS_MAX):
            await appdb.dashboards.save(f"Board {number}", LAYOUT, author="Alice")
        with pytest.raises(UsageError, match="already 50 dashboards"):
            await appdb.dashboards.save("Another", LAYOUT, author="Alice")
        await appdb.dashboards.save("Another", LAYOUT, author="Bob")
