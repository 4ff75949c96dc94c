"""Queues now: callers who wait and talk where the PBX reports them, else the calls that ended in the last minutes."""

import html
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest
from playwright.async_api import expect

from onhook.appdb.dashboards import DashboardLayout, StoredTile
from onhook.cdr.access_scope import AccessScope
from onhook.cdr.directory import DirectoryEntry
from onhook.cdr.queue_states import QueueState
from onhook.cdr.record import Call
from onhook.cdr.record_filter import RecordFilter
from onhook.console.pages.dashboards import content
from onhook.console.pages.dashboards.queues_now import ENDED_MINUTES
from tests.cdr import plain_queues
from tests.console.conftest import ConsoleHarness
from tests.console.test_dashboard import rows_of, tile_of
from tests.console.test_pages import OUTPUT, open_visit
from tests.console.test_queue_reports import leg, select
from tests.factories import BOB, QUEUE, SN, details

OTHER_SN = "3699OTHER"
TILES = "queues-now:12"
TEAM = QueueState(queue="6400", name="team", waiting=2, talking=1, longest_wait=75)
IDLE = QueueState(queue="6401", name="6401", waiting=0, talking=0, longest_wait=None)


async def add_ended_calls(harness: ConsoleHarness, sn: str = SN) -> list[Call]:
    """Add calls of a queue that ended in the last minutes, and before; return all. One of the first began before."""
    now, events = datetime.now(UTC).replace(microsecond=0), []
    for number, (begin, wait, talk) in enumerate(
        ((60, 5, 20), (600, 30, 0), (1_500, 10, 900), (1_200, 8, 40), (3_000, 7, 0), (90_000, 7, 60))
    ):
        started_at = now - timedelta(seconds=begin)
        call_id, status = f"{int(started_at.timestamp())}.{number}", "ANSWERED" if talk else "NO ANSWER"
        events.append(leg(call_id, started_at, QUEUE, (wait + talk, talk), status))
        if talk:
            events.append(leg(call_id, started_at, BOB, (wait + talk, talk), status))
    await harness.ingest_details(events, sn)
    return [call for call in (await harness.store.calls(RecordFilter(), 1_000)).data if call.sn == sn]


async def read_tile(client: aiohttp.ClientSession, query: str = "") -> str:
    return tile_of(await (await client.get(f"/?tiles={TILES}{query}")).text(), "queues-now")


@pytest.fixture
async def branch(harness: ConsoleHarness) -> str:
    """Return the serial number of a second PBX, which has a call."""
    await harness.appdb.add_pbx(name="branch", sn=OTHER_SN, secret="s" * 32, now_us=1)
    await harness.publish()
    await harness.ingest_details([details()], OTHER_SN)
    return OTHER_SN


async def test_queues_now_ended_calls_equal_plain_loop_and_link_to_them(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    """By their end, whatever the period of the dashboard is."""
    calls = await add_ended_calls(harness)
    begin = datetime.now(UTC) - timedelta(minutes=ENDED_MINUTES)
    ended = [call for call in calls if call.ended_at is not None and call.ended_at >= begin]
    figures = plain_queues.figures(select(ended, "queue"), 20, 5)
    tile = await read_tile(client, "&since=2026-01-01&until=2026-01-02")
    assert rows_of(tile)[1] == [
        "6400", *(str(figures[name]) for name in ("offered", "answered", "abandoned")), "0:30", "0:08"
    ]  # fmt: skip
    assert figures["offered"] == len(ended) == 3
    assert "office: calls that ended in the last 15 minutes" in tile
    link = re.search(r'href="(/calls[^"]+)">\s*3\s*<', tile)
    assert link
    calls_page = await (await client.get(html.unescape(link[1]))).text()
    assert calls_page.count('class="call"') == 3
    assert "Ended since" in calls_page


async def test_queues_now_shows_who_waits_and_talks(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """By the name of the directory, else that on the PBX; ended calls are not shown beside."""
    await add_ended_calls(harness)
    harness.queue_states = {SN: [TEAM, IDLE]}
    tile = await read_tile(client)
    assert rows_of(tile) == [
        ["Queue", "Waiting", "Longest wait", "Talking"],
        ["team 6400", "2", "1:15", "1"],
        ["6401", "0", "–", "0"],  # noqa: RUF001 - a dash for an unknown value
    ]
    assert "ended in the last" not in tile
    await harness.appdb.directory.put([DirectoryEntry(sn=SN, number="6400", kind="queue", name="Support")])
    assert rows_of(await read_tile(client))[1][0] == "Support 6400"
    harness.queue_states = {SN: []}
    assert "No queues." in await read_tile(client)


async def test_queues_now_of_two_pbxs_has_both_tables(
    harness: ConsoleHarness, client: aiohttp.ClientSession, branch: str
) -> None:
    """Ended calls are those of the PBX alone that does not report who waits."""
    await add_ended_calls(harness)
    await add_ended_calls(harness, branch)
    harness.queue_states = {branch: [TEAM]}
    rows = rows_of(await read_tile(client))
    assert rows[1] == ["team 6400", "branch", "2", "1:15", "1"]
    assert [row[:3] for row in rows[3:]] == [["6400", "office", "3"]]
    assert [row[0] for row in rows_of(await read_tile(client, "&pbx=branch"))] == ["Queue", "team 6400"]
    assert "No calls of queues" not in await read_tile(client, "&pbx=office")
    assert "team" not in await read_tile(client, "&pbx=office")


@pytest.mark.parametrize(
    ("scope", "live", "ended"),
    [
        (AccessScope(sns=(SN,)), [], ["6400"]),
        (AccessScope(sns=(OTHER_SN,)), ["team 6400", "6401"], []),
        (AccessScope(numbers=("6400",)), ["team 6400"], ["6400"]),
        (AccessScope(numbers=("1009",)), [], []),
        (AccessScope(sns=(OTHER_SN,), numbers=("6401",)), ["6401"], []),
    ],
)
async def test_queues_now_holds_the_scope_of_users_and_links(
    harness: ConsoleHarness, branch: str, scope: AccessScope, live: Sequence[str], ended: Sequence[str]
) -> None:
    await add_ended_calls(harness)
    await harness.ingest_details([details(call_to="1009")])
    await harness.ingest_details([details(call_to="6401")], branch)
    harness.queue_states = {branch: [TEAM, IDLE]}
    now_us = harness.clock.microseconds()
    board = await harness.appdb.dashboards.save(
        "Wall", DashboardLayout(tiles=(StoredTile("queues-now", 12),)), author="token:admin"
    )
    token = await harness.appdb.tokens.add("limited", "reader", now_us=now_us, scope=scope)
    text = await harness.appdb.wallboard_links.add(
        board.dashboard_id, "hall", scope=scope, expires_us=now_us + 10**10, now_us=now_us
    )
    async with harness.client(token) as reader, harness.client("") as screen:
        answers = (await reader.get(f"/?tiles={TILES}"), await screen.get(f"/wallboard/Wall?token={text}"))
        for answer in answers:
            tile = tile_of(await answer.text(), "queues-now")
            tables = [rows_of(table) for table in re.findall(r"<table.*?</table>", tile, re.DOTALL)]
            names = {rows[0][-1]: [row[0] for row in rows[1:]] for rows in tables}
            assert names.get("Talking", []) == live
            assert names.get("ASA", []) == ended


async def test_queues_now_overview_leaves_the_tile_out_without_queues(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    await harness.ingest_details([details(datetime.now(UTC) - timedelta(seconds=30))])
    assert 'data-tile="queues-now"' not in await (await client.get("/?since=1d")).text()
    harness.queue_states = {SN: [IDLE]}
    page = await (await client.get("/?since=1d")).text()
    assert "6401" in tile_of(page, "queues-now")
    board = await (await client.get("/wallboard/overview")).text()
    assert 'data-refresh-seconds="5"' in tile_of(board, "queues-now")
    assert 'data-seconds="15"' in board


async def test_queues_now_is_loaded_without_the_other_tiles(
    harness: ConsoleHarness, client: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the scope of a link, and of a dashboard that has the tile alone; nothing else is counted."""
    await add_ended_calls(harness)
    harness.queue_states = {SN: [TEAM, IDLE]}
    now_us, texts = harness.clock.microseconds(), []
    for kind in ("queues-now", "calls"):
        layout = DashboardLayout(tiles=(StoredTile(kind, 12),))
        board = await harness.appdb.dashboards.save(kind, layout, author="token:admin")
        texts.append(
            await harness.appdb.wallboard_links.add(
                board.dashboard_id, "hall", scope=AccessScope(numbers=("6400",)), expires_us=now_us + 10**10,
                now_us=now_us,
            )
        )  # fmt: skip
    page = await (await client.get("/?since=1d")).text()
    monkeypatch.setattr(content, "FigureReads", None)
    monkeypatch.setattr(harness.store, "calls", None)
    part = await (await client.get("/?since=1d&part=queues-now")).text()
    assert rows_of(part) == rows_of(tile_of(page, "queues-now"))
    assert "<section" not in part
    async with harness.client("") as screen:
        link_part = await (await screen.get(f"/wallboard/x?token={texts[0]}&part=queues-now")).text()
        assert [row[0] for row in rows_of(link_part)] == ["Queue", "team 6400"]
        assert (await screen.get(f"/wallboard/x?token={texts[1]}&part=queues-now")).status == 404
        assert (await screen.get("/?part=queues-now")).status == 401
    assert (await client.get("/?tiles=calls:12&part=queues-now")).status == 404
    assert (await client.get("/?part=calls")).status == 400


@pytest.mark.slow
async def test_queues_now_changes_without_a_call_in_a_browser(
    harness: ConsoleHarness, chromium_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tile alone is loaded again, and the focus stays in the table; so it is on a wallboard."""
    monkeypatch.setattr(content, "REFRESH_SECONDS", 1)
    await add_ended_calls(harness)
    harness.queue_states = {SN: [TEAM, IDLE]}
    async with open_visit(harness, chromium_path) as visit:
        page = visit.page
        await page.goto(f"{harness.url}/?tiles={TILES}")
        table = page.get_by_role("region", name="Table: Queues now")
        await expect(table).to_contain_text("1:15")
        await page.evaluate("window.wasHere = true")
        urls: list[str] = []
        page.on("request", lambda request: urls.append(request.url))
        await table.focus()
        await page.screenshot(path=OUTPUT / "queues-now.png")
        harness.queue_states = {SN: [QueueState(queue="6400", name="team", waiting=9, talking=1, longest_wait=99)]}
        await expect(table).to_contain_text("1:39", timeout=60_000)
        await expect(table).to_be_focused()
        assert {url for url in urls if "tiles=" in url} == {f"{harness.url}/?tiles=queues-now%3A12&part=queues-now"}
        assert await page.evaluate("window.wasHere")
        await page.goto(f"{harness.url}/wallboard/overview")
        await expect(page.locator("[data-tile=queues-now]")).to_contain_text("1:39")
        harness.queue_states = {SN: [TEAM]}
        await expect(page.locator("[data-tile=queues-now]")).to_contain_text("1:15", timeout=60_000)
        assert f"{harness.url}/wallboard/overview?part=queues-now" in urls
