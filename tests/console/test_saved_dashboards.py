"""Dashboards that users arrange, save, copy and share."""

import html
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import aiohttp
import pytest

from onhook.appdb.dashboards import TILES_MAX, DashboardLayout, StoredTile
from onhook.cdr.access_scope import AccessScope
from onhook.console.pages.dashboards.layout import format_tiles, parse_tiles
from onhook.console.pages.dashboards.tiles import DEFAULT_TILES, TILE_KINDS, WIDTHS
from tests.console.conftest import ConsoleHarness
from tests.console.test_pages import some_calls
from tests.console.test_users import browser, invite, signed_in
from tests.factories import SN, details

__all__ = ["browser"]

HEADERS = {"Sec-Fetch-Site": "same-origin"}
LAYOUT = DashboardLayout(tiles=(StoredTile("calls", 2),))


def tiles_of(page: str) -> list[tuple[str, int]]:
    """Return kind and width of the tiles of a page, in order."""
    pattern = r'<section class="tile width-(\d+)[^>]*data-tile="([^"]+)"'
    return [(kind, int(width)) for width, kind in re.findall(pattern, page)]


def link_of(page: str, text: str) -> str:
    """Return the address of a link with this text, or with this hidden text."""
    match = re.search(
        rf'<a href="([^"]+)">(?:<span aria-hidden="true">.</span>)?(?:<span class="visually-hidden">)?{text}<', page
    )
    assert match, text
    return html.unescape(match[1])


async def read(client: aiohttp.ClientSession, path: str) -> str:
    answer = await client.get(path)
    assert answer.status == 200, path
    return await answer.text()


@asynccontextmanager
async def sign_in_as(
    harness: ConsoleHarness, name: str, role: str = "reader", scope: AccessScope | None = None
) -> AsyncIterator[aiohttp.ClientSession]:
    """Yield a client with a token of this role."""
    now_us = harness.clock.microseconds()
    token = await harness.appdb.tokens.add(name, role, now_us=now_us, scope=scope)
    async with harness.client(token, headers=HEADERS) as client:
        yield client


async def save(client: aiohttp.ClientSession, name: str, **fields: str) -> tuple[int, str]:
    """Save a dashboard; return the status and the address that follows."""
    form = {"name": name, "tiles": "calls:2,missed:4", "since": "6d", **fields}
    async with client.post("/dashboards/save", data=form, allow_redirects=False) as answer:
        return answer.status, answer.headers.get("Location", "")


async def test_tiles_are_arranged_by_links(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """Each change is in the address, and needs no script; nothing is stored."""
    await harness.ingest_details([details(moment) for moment in some_calls()])
    page = await read(client, "/?tiles=calls:2,missed:4,talk-time:2&edit=yes&since=1d")
    assert tiles_of(page) == [("calls", 2), ("missed", 4), ("talk-time", 2)]
    for text, expected in (
        ("Move earlier: Missed", [("missed", 4), ("calls", 2), ("talk-time", 2)]),
        ("Move later: Missed", [("calls", 2), ("talk-time", 2), ("missed", 4)]),
        ("Narrower: Missed", [("calls", 2), ("missed", 3), ("talk-time", 2)]),
        ("Wider: Missed", [("calls", 2), ("missed", 6), ("talk-time", 2)]),
        ("Remove: Missed", [("calls", 2), ("talk-time", 2)]),
        ("Answer rate", [("calls", 2), ("missed", 4), ("talk-time", 2), ("answer-rate", 2)]),
    ):
        link = link_of(page, text)
        assert "since=1d" in link
        assert tiles_of(await read(client, link.partition("#")[0])) == expected, text
    assert "Move earlier: Calls" not in page, "it is the first"
    assert tiles_of(await read(client, link_of(page, "Done"))) == [("calls", 2), ("missed", 4), ("talk-time", 2)]
    assert await harness.appdb.dashboards.all() == []


async def test_tiles_of_every_kind_are_shown(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    await harness.ingest_details(
        [details(moment, type="Inbound", src_trunk_name="t", did_number="5") for moment in some_calls()]
    )
    kinds = list(TILE_KINDS)
    for first in range(0, len(kinds), TILES_MAX):
        some_kinds = kinds[first : first + TILES_MAX]
        page = await read(client, "/?since=1d&tiles=" + ",".join(f"{kind}:6" for kind in some_kinds))
        assert tiles_of(page) == [(kind, 6) for kind in some_kinds]


@pytest.mark.parametrize(
    "tiles", ["calls", "calls:5", "unknown:2", "calls:2,", ",".join(["calls:2"] * (TILES_MAX + 1))]
)
async def test_tiles_that_are_invalid_are_rejected(
    harness: ConsoleHarness, client: aiohttp.ClientSession, tiles: str
) -> None:
    await harness.ingest_details([details()])
    answer = await client.get("/", params={"tiles": tiles}, headers={"Accept": "text/html"})
    assert answer.status == 400
    assert "tiles" in await answer.text()


async def test_dashboard_with_a_name_that_cannot_be_used_is_kept_in_its_form(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    form = {"name": "n" * 200, "tiles": "calls:2,missed:4", "since": "6d", "until": "", "pbx": "office"}
    answer = await client.post("/dashboards/save", data=form, headers=HEADERS)
    text = await answer.text()
    assert (answer.status, 'id="error-name"' in text) == (400, True)
    for name, value in form.items():
        assert re.search(rf'name="{name}"[^>]* value="{value}"', text), name
    assert await harness.appdb.dashboards.all() == []


async def test_dashboard_removal_is_confirmed(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """The button is in a part of the page that has to be opened."""
    await harness.ingest_details([details()])
    _status, address = await save(client, "Team")
    text = await read(client, address)
    (form,) = re.findall(r'<details class="confirm">.*?</details>', text, re.DOTALL)
    assert 'action="/dashboards/remove"' in form
    assert text.count('action="/dashboards/remove"') == 1


def test_tiles_default_can_be_edited() -> None:
    assert tuple(parse_tiles(format_tiles(DEFAULT_TILES))) == DEFAULT_TILES
    assert {kind.width for kind in TILE_KINDS.values()} <= {*WIDTHS}


async def test_dashboard_is_saved_with_period_and_pbx(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """By the form of the page; another period in the address is for once."""
    moments = some_calls()
    await harness.ingest_details([details(moment - timedelta(days=3)) for moment in moments])
    page = await read(client, "/?tiles=calls:2,missed:4&edit=yes&since=6d&pbx=office")
    fields = dict(
        re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page.partition('action="/dashboards/save"')[2])
    )
    assert fields == {"tiles": "calls:2,missed:4", "since": "6d", "until": "", "pbx": "office"}
    status, address = await save(client, "Mine", **fields)
    (saved,) = await harness.appdb.dashboards.all()
    assert (status, address) == (303, f"/?dashboard={saved.dashboard_id}")
    tiles = (StoredTile("calls", 2), StoredTile("missed", 4))
    assert saved.layout == DashboardLayout(tiles=tiles, since="6d", pbx="office")
    page = await read(client, address)
    assert '<h1 dir="auto">Mine</h1>' in page
    assert tiles_of(page) == [("calls", 2), ("missed", 4)]
    assert 'data-value="12"' in page
    assert 'data-value="0"' in await read(client, f"{address}&since=1d&filters=url")
    assert "<option selected>office</option>" in page
    assert "<option selected>office</option>" not in await read(client, f"{address}&filters=url&since=6d")


async def test_dashboard_is_seen_by_its_author_until_an_administrator_shares_it(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    await harness.ingest_details([details()])
    status, address = await save(client, "Team")
    number = address.rpartition("=")[2]
    async with sign_in_as(harness, "reader") as reader:
        assert "Team" not in await read(reader, "/")
        for path in ("copy", "remove"):
            async with reader.post(f"/dashboards/{path}", data={"dashboard_id": number}) as answer:
                assert answer.status == 404, path
        assert (await reader.get(address)).status == 404
        assert (await save(reader, "Team"))[0] == status == 303
        async with reader.post("/dashboards/share", data={"dashboard_id": number, "shared": "yes"}) as answer:
            assert answer.status == 403
        await client.post("/dashboards/share", data={"dashboard_id": number, "shared": "yes"}, headers=HEADERS)
        assert tiles_of(await read(reader, address)) == [("calls", 2), ("missed", 4)]
        async with reader.post("/dashboards/remove", data={"dashboard_id": number}) as answer:
            assert answer.status == 403
        async with reader.post("/dashboards/copy", data={"dashboard_id": number}, allow_redirects=False) as answer:
            assert answer.status == 303
        own = [board.name for board in await harness.appdb.dashboards.all() if board.author == "token:reader"]
        assert own == ["Team", "Team copy 1"]
    await client.post("/dashboards/share", data={"dashboard_id": number, "shared": ""}, headers=HEADERS)
    assert not (await harness.appdb.dashboards.get(int(number))).is_shared
    await client.post("/dashboards/remove", data={"dashboard_id": number}, headers=HEADERS)
    assert {board.author for board in await harness.appdb.dashboards.all()} == {"token:reader"}


async def test_dashboard_is_shared_by_its_author_with_the_permission(
    harness: ConsoleHarness, browser: aiohttp.ClientSession
) -> None:
    """And changed and removed; not that of another user."""
    await harness.ingest_details([details()])
    other = await harness.appdb.dashboards.save("Other", LAYOUT, author="token:admin")
    await harness.appdb.dashboards.set_shared(other.dashboard_id, is_shared=True)
    async with signed_in(harness, await invite(browser, "Alice", may_share="yes")) as alice:
        _status, address = await save(alice, "Team")
        number = address.rpartition("=")[2]
        assert "Share with all users" in await read(alice, address)
        assert "Stop sharing" not in await read(alice, f"/?dashboard={other.dashboard_id}")
        await alice.post("/dashboards/share", data={"dashboard_id": number, "shared": "yes"})
        assert (await harness.appdb.dashboards.get(int(number))).is_shared
        assert (await save(alice, "Team"))[0] == 303
        for path in ("share", "remove"):
            form = {"dashboard_id": str(other.dashboard_id), "shared": ""}
            assert (await alice.post(f"/dashboards/{path}", data=form)).status == 403, path
        assert (await alice.post("/dashboards/remove", data={"dashboard_id": number})).status == 200
    assert [board.name for board in await harness.appdb.dashboards.all()] == ["Other"]


async def test_dashboard_of_another_pbx_is_hidden_from_a_limited_reader(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    """A shared one for all PBXs shows the figures of the scope alone."""
    await harness.appdb.add_pbx(name="branch", sn="3699OTHER", secret="s" * 32, now_us=1)
    await harness.publish()
    moments = some_calls()
    await harness.ingest_details([details(moments[0])])
    await harness.ingest_details([details(moment) for moment in moments], "3699OTHER")
    for name, pbx in (("Everything", ""), ("Branch board", "branch"), ("Office board", "office")):
        _status, address = await save(client, name, pbx=pbx)
        form = {"dashboard_id": address.rpartition("=")[2], "shared": "yes"}
        await client.post("/dashboards/share", data=form, headers=HEADERS)
    boards = {board.name: board.dashboard_id for board in await harness.appdb.dashboards.all()}
    async with sign_in_as(harness, "limited", scope=AccessScope(sns=(SN,))) as reader:
        page = await read(reader, f"/?dashboard={boards['Everything']}")
        assert 'data-value="1"' in page
        assert "Office board" in page
        assert "Branch board" not in page
        assert (await reader.get(f"/?dashboard={boards['Branch board']}")).status == 404
        # Tiles that are not for this reader are left out, also where the URL has them.
        assert tiles_of(await read(reader, "/?tiles=issues:12,calls:2")) == [("calls", 2)]


async def test_dashboard_with_a_tile_of_a_later_version_shows_the_others(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    await harness.ingest_details([details()])
    layout = DashboardLayout(tiles=(StoredTile("holograms", 2), StoredTile("calls", 2)))
    saved = await harness.appdb.dashboards.save("Later", layout, author="token:admin")
    assert tiles_of(await read(client, f"/?dashboard={saved.dashboard_id}")) == [("calls", 2)]
