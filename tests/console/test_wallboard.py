"""Wallboards: big figures that update themselves, and links that show one dashboard in a scope until they end."""

import html
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from playwright.async_api import expect

from onhook.appdb.appdb import AppDb
from onhook.appdb.dashboards import DashboardLayout, SavedDashboard, StoredTile
from onhook.appdb.wallboard_links import LINK_DAYS_MAX
from onhook.cdr.access_scope import AccessScope
from onhook.console.pages.dashboards import wallboard
from onhook.lib.errors import NotFound, UsageError
from tests.console.conftest import ConsoleHarness
from tests.console.test_dashboard import values_of
from tests.console.test_pages import OUTPUT, open_visit, some_calls
from tests.console.test_users import browser, invite, signed_in
from tests.factories import SN, details

__all__ = ["browser"]

TILES = (StoredTile("calls", 4), StoredTile("missed", 4), StoredTile("timeline", 12), StoredTile("callers", 6))
DAY_MICROSECONDS = 86_400_000_000
OTHER_SN = "3699OTHER"


async def add_board(harness: ConsoleHarness, name: str = "Team wall") -> SavedDashboard:
    """Add a dashboard of the administrator, and calls of two PBXs."""
    await harness.appdb.add_pbx(name="branch", sn=OTHER_SN, secret="s" * 32, now_us=1)
    await harness.publish()
    moments = some_calls()
    party = {"call_from": "Erika<+4915794638271>", "type": "Inbound", "src_trunk_name": "t"}
    await harness.ingest_details([details(moment, **party) for moment in moments[:3]])
    await harness.ingest_details([details(moment) for moment in moments], OTHER_SN)
    return await harness.appdb.dashboards.save(name, DashboardLayout(tiles=TILES, since="1d"), author="token:admin")


def tomorrow() -> str:
    return (datetime.now(UTC) + timedelta(days=1)).date().isoformat()


async def create_link(client: aiohttp.ClientSession, board: SavedDashboard, **fields: str) -> str:
    """Return the path of a new link, by the form."""
    form = {"dashboard_id": str(board.dashboard_id), "name": "hall", "expires_on": tomorrow(), **fields}
    page = await (await client.post("/wallboard-links", data=form)).text()
    match = re.search(r"http://[^/]+(/wallboard/[^<]+)", page)
    assert match, page
    return html.unescape(match[1])


async def test_wallboard_link_opens_its_dashboard_and_nothing_else(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    path = await create_link(client, await add_board(harness))
    text = path.partition("token=")[2]
    assert path.startswith("/wallboard/Team%20wall?token=")
    async with harness.client("") as screen:
        answer = await screen.get(path)
        page = await answer.text()
        assert answer.status == 200
        assert values_of(page)["calls"] == "15"
        assert "Team wall" in page
        for other in ("/", "/calls", "/api/v1/calls", "/api/v1/export.csv", "/wallboard-links", "/api/v1/live"):
            assert (await screen.get(other, params={"token": text})).status in (400, 401), other
        for other in ("/api/v1/calls", "/", "/wallboard/overview"):
            assert (await screen.get(other, headers={"Authorization": f"Bearer {text}"})).status == 401, other
        assert (await screen.get("/wallboard/Team%20wall")).status == 401
        assert (await screen.get("/wallboard/Team%20wall?token=wrong")).status == 401
        assert (await screen.get(f"{path}&since=2026-01-01")).status == 400
    (link,) = await harness.appdb.wallboard_links.all()
    assert link.last_used_at is not None


async def test_wallboard_link_shows_its_scope_and_mask(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    path = await create_link(client, await add_board(harness), pbxs="office", mask="last3")
    async with harness.client("") as screen:
        page = await (await screen.get(path)).text()
    assert values_of(page)["calls"] == "3"
    assert "branch" not in page
    assert "4638271" not in re.sub(r"[\s()./_\-]", "", page)
    assert "Erika" not in page


@pytest.mark.parametrize("ending", ["revoked", "removed", "over"])
async def test_wallboard_link_that_has_ended_shows_nothing(
    harness: ConsoleHarness, client: aiohttp.ClientSession, ending: str
) -> None:
    board = await add_board(harness)
    path = await create_link(client, board)
    (link,) = await harness.appdb.wallboard_links.all()
    if ending == "revoked":
        page = await (await client.post("/wallboard-links/revoke", data={"link_id": str(link.link_id)})).text()
        assert "Link revoked" in page
    elif ending == "removed":
        await harness.appdb.dashboards.remove(board.dashboard_id)
    else:
        now_us = harness.clock.microseconds()
        text = await harness.appdb.wallboard_links.add(
            board.dashboard_id, "short", scope=None, expires_us=now_us + 1, now_us=now_us
        )
        path = f"/wallboard/Team%20wall?token={text}"
    async with harness.client("") as screen:
        assert (await screen.get(path)).status == 401


async def test_wallboard_links_are_made_by_administrators(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    board = await add_board(harness)
    reader_token = await harness.appdb.tokens.add("reader", "reader", now_us=harness.clock.microseconds())
    form = {"dashboard_id": str(board.dashboard_id), "name": "hall", "expires_on": "2099-01-01"}
    async with harness.client(reader_token) as reader:
        assert (await reader.get("/wallboard-links")).status == 403
        assert (await reader.post("/wallboard-links", data=form)).status == 403
    for expires_on in ("", "2020-01-01", "2099-01-01"):
        page = await (await client.post("/wallboard-links", data={**form, "expires_on": expires_on})).text()
        assert f"needs an end within {LINK_DAYS_MAX} days" in page
        assert 'value="hall"' in page
    assert await harness.appdb.wallboard_links.all() == []


async def test_wallboard_links_of_a_user_with_the_permission_have_the_users_scope(
    harness: ConsoleHarness, browser: aiohttp.ClientSession
) -> None:
    """Whatever the form says; the user sees and revokes no other links, and the link ends when the scope changes."""
    board = await add_board(harness)
    await harness.appdb.dashboards.set_shared(board.dashboard_id, is_shared=True)
    form = {"dashboard_id": str(board.dashboard_id), "name": "hall", "expires_on": tomorrow()}
    await browser.post("/wallboard-links", data=form)
    (other,) = await harness.appdb.wallboard_links.all()
    async with signed_in(harness, await invite(browser, "Alice", numbers="1001", may_make_links="yes")) as alice:
        assert 'href="/wallboard-links"' in await (await alice.get("/")).text()
        page = await (await alice.post("/wallboard-links", data={**form, "name": "desk", "numbers": ""})).text()
        assert ("desk" in page, "hall" in page, 'name="numbers"' in page) == (True, False, False)
        address = html.unescape(re.findall(r"http://[^/]+(/wallboard/[^<]+)", page)[0])
        page = await (await alice.post("/wallboard-links/revoke", data={"link_id": str(other.link_id)})).text()
        assert "There is no such link" in page
        links = {link.name: link for link in await harness.appdb.wallboard_links.all()}
        assert (links["desk"].scope, links["desk"].author) == (AccessScope(numbers=("1001",)), "Alice")
        private = await harness.appdb.dashboards.save("Own", DashboardLayout(tiles=TILES), author="token:admin")
        page = await (
            await alice.post("/wallboard-links", data={**form, "dashboard_id": str(private.dashboard_id)})
        ).text()
        assert "There is no such dashboard" in page
    async with harness.client("") as screen:
        assert (await screen.get(address)).status == 200
        await browser.post("/users/edit", data={"user": "Alice", "name": "Alice", "role": "reader", "numbers": "1002"})
        assert (await screen.get(address)).status == 401
    assert [link.name for link in await harness.appdb.wallboard_links.all()] == ["hall"]


async def test_wallboard_of_a_user_is_found_by_name(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """The overview is there for all; a dashboard that is not shared is not."""
    board = await add_board(harness, "Überblick")
    reader_token = await harness.appdb.tokens.add("reader", "reader", now_us=harness.clock.microseconds())
    assert 'data-tile="timeline"' in await (await client.get("/wallboard/Überblick")).text()
    async with harness.client(reader_token) as reader:
        assert (await reader.get("/wallboard/overview")).status == 200
        assert (await reader.get("/wallboard/Überblick")).status == 404
        await harness.appdb.dashboards.set_shared(board.dashboard_id, is_shared=True)
        assert (await reader.get("/wallboard/überblick")).status == 200


async def test_wallboard_links_of_an_unknown_dashboard_are_rejected(tmp_path: Path) -> None:
    async with AppDb(tmp_path / "onhook.db") as appdb:
        with pytest.raises(NotFound):
            await appdb.wallboard_links.add(1, "hall", scope=None, expires_us=2 * DAY_MICROSECONDS, now_us=1)
        board = await appdb.dashboards.save("Team", DashboardLayout(tiles=TILES), author="Alice")
        for expires_us in (None, 1, (LINK_DAYS_MAX + 1) * DAY_MICROSECONDS):
            with pytest.raises(UsageError, match="needs an end"):
                await appdb.wallboard_links.add(board.dashboard_id, "hall", scope=None, expires_us=expires_us, now_us=1)
        scope = AccessScope(sns=(SN,))
        text = await appdb.wallboard_links.add(
            board.dashboard_id, "hall", scope=scope, expires_us=DAY_MICROSECONDS, now_us=1
        )
        link = await appdb.wallboard_links.find(text, now_us=2)
        assert link is not None
        assert (link.scope, link.last_used_at) == (scope, None)
        assert await appdb.wallboard_links.find(text, now_us=DAY_MICROSECONDS) is None
        assert await appdb.wallboard_links.find("", now_us=2) is None
        assert all(text not in f"{entry.before}{entry.after}" for entry in await appdb.audit.latest(9))
        await appdb.wallboard_links.remove(link.link_id)
        with pytest.raises(NotFound):
            await appdb.wallboard_links.remove(link.link_id)


@pytest.mark.slow
async def test_wallboard_updates_itself_in_a_browser(
    harness: ConsoleHarness, client: aiohttp.ClientSession, chromium_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dark on a light system; without signing in; a new call is counted without loading the page again."""
    monkeypatch.setattr(wallboard, "REFRESH_SECONDS", 1)
    path = await create_link(client, await add_board(harness))
    screen = {"color_scheme": "light", "viewport": {"width": 1920, "height": 1080}}
    async with open_visit(harness, chromium_path, **screen) as visit:
        page = visit.page
        await page.goto(harness.url + path)  # away from the dashboard, whose feed asks again by itself
        await page.context.clear_cookies()
        await page.goto(harness.url + path)
        await page.evaluate("window.wasHere = true")
        background = await page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert background == "rgb(13, 16, 19)"
        await expect(page.locator('[data-tile="calls"] .value')).to_contain_text("15")
        await expect(page.get_by_text("Not connected")).to_be_hidden()
        await page.screenshot(path=OUTPUT / "wallboard.png")
        await harness.ingest_details([details(some_calls()[0] + timedelta(seconds=1))])
        await expect(page.locator('[data-tile="calls"] .value')).to_contain_text("16", timeout=60_000)
        assert await page.evaluate("window.wasHere")
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
