"""Dashboards and wallboards as data: the values of the page, by the API and by the text of a link."""

from datetime import datetime, timedelta
from typing import Any

import aiohttp

from onhook.appdb.dashboards import DashboardLayout, StoredTile
from onhook.cdr.access_scope import AccessScope
from onhook.console.pages.dashboards.tiles import TILE_KINDS
from tests.console.conftest import ConsoleHarness
from tests.console.test_dashboard import PERIOD, add_two_weeks, rows_of, tile_of, values_of
from tests.factories import SN, details


async def read_json(client: aiohttp.ClientSession, path: str) -> Any:
    async with client.get(path) as answer:
        assert answer.status == 200, (path, await answer.text())
        return await answer.json()


async def test_dashboard_data_has_the_figures_and_tables_of_the_page(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    await add_two_weeks(harness)
    page = await (await client.get(f"/?{PERIOD}")).text()
    board = await read_json(client, f"/api/v1/dashboards/0?{PERIOD}")
    tiles = {tile["kind"]: tile for tile in board["data"]}
    figures = {kind: str(tile["value"]) for kind, tile in tiles.items() if tile["unit"]}
    assert figures == values_of(page)
    assert (board["dashboard_id"], board["name"], board["zone"]) == (0, "Overview", "Europe/Berlin")
    since, until, previous_until = (
        datetime.fromisoformat(board[name]) for name in ("since", "until", "previous_until")
    )
    # The first day has 25 hours.
    assert (until - since, until - previous_until) == (timedelta(days=7, hours=1), timedelta(days=7, hours=1))
    for kind in ("callers", "dialled", "queues"):
        (table,) = tiles[kind]["tables"]
        assert len(table["data"]) == len(rows_of(tile_of(page, kind))) - 1
    (timeline,) = tiles["timeline"]["tables"]
    assert sum(row[1]["value"] for row in timeline["data"]) == tiles["calls"]["value"]
    unreturned = tiles["unreturned-calls"]["tables"][0]["data"]
    assert 0 < len(unreturned) <= tiles["unreturned-count"]["value"]
    answer = await client.get("/api/v1" + tiles["calls"]["href"] + "&limit=1000")
    assert len((await answer.json())["data"]) == tiles["calls"]["value"]


async def test_dashboard_data_of_every_kind_of_tile_is_there(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    await add_two_weeks(harness)
    now_us, kinds = harness.clock.microseconds(), [name for name in TILE_KINDS if name != "quality"]
    await harness.appdb.alarms.raise_alarm(SN, "difference", "312 records", hint="", now_us=now_us)
    layout = DashboardLayout(
        tiles=tuple(StoredTile(name, TILE_KINDS[name].width) for name in kinds),
        since="2026-10-25",
        until="2026-11-01",
    )
    saved = await harness.appdb.dashboards.save("All", layout, author="token:admin")
    (entry,) = (await read_json(client, "/api/v1/dashboards"))["data"]
    assert (entry["name"], entry["since"], len(entry["tiles"])) == ("All", "2026-10-25", len(kinds))
    board = await read_json(client, f"/api/v1/dashboards/{saved.dashboard_id}")
    assert [tile["kind"] for tile in board["data"]] == kinds
    assert all(tile["unit"] or tile["tables"] for tile in board["data"])
    assert all(
        len(row) == len(table["columns"]) for tile in board["data"] for table in tile["tables"] for row in table["data"]
    )
    issues = next(tile for tile in board["data"] if tile["kind"] == "issues")["tables"][0]["data"]
    assert ["office", "Calls are missing", "312 records"] in [[cell["value"] for cell in row] for row in issues]
    async with client.get("/api/v1/dashboards/99") as answer:
        assert answer.status == 404


async def test_wallboard_data_is_read_by_the_text_of_its_link_alone(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    """In the scope of the link, until it is revoked."""
    await add_two_weeks(harness)
    layout = DashboardLayout(tiles=(StoredTile("calls", 2),), since="2026-10-25", until="2026-11-01")
    saved = await harness.appdb.dashboards.save("Hall", layout, author="token:admin")
    everything = await read_json(client, "/api/v1/wallboards/hall")
    now_us = harness.clock.microseconds()
    text = await harness.appdb.wallboard_links.add(
        saved.dashboard_id,
        "screen",
        scope=AccessScope(numbers=("1004",)),
        expires_us=now_us + 86_400_000_000,
        now_us=now_us,
    )
    async with harness.client("") as screen:
        board = await read_json(screen, f"/api/v1/wallboards/any?token={text}")
        assert board["name"] == "Hall"
        assert 0 < board["data"][0]["value"] < everything["data"][0]["value"]
        for path in ("/api/v1/dashboards", f"/api/v1/dashboards/{saved.dashboard_id}", "/api/v1/calls"):
            async with screen.get(f"{path}?token={text}") as answer:
                assert answer.status == 401, path
        (link,) = await harness.appdb.wallboard_links.all()
        await harness.appdb.wallboard_links.remove(link.link_id)
        async with screen.get(f"/api/v1/wallboards/any?token={text}") as answer:
            assert answer.status == 401


async def test_dashboard_data_links_after_api_v1_list_calls(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    """Also the longest wait, which sorts them, and calls of missed reports, which are read."""
    now = harness.clock.now().replace(microsecond=0)
    missed: dict[str, Any] = {"type": "Inbound", "src_trunk_name": "trunk", "status": "NO ANSWER", "talk_duration": 0}
    await harness.ingest_details(
        [
            details(now - timedelta(minutes=minutes), call_from=f"+493012345{minutes}", call_duration=minutes, **missed)
            for minutes in range(3, 6)
        ]
        + [details(now - timedelta(hours=12), call_id="7/8?", call_from="+4930999", **missed)]
    )
    board = await read_json(client, "/api/v1/dashboards/0?since=2d")
    tiles = {tile["kind"]: tile["href"] for tile in board["data"]}
    assert len((await read_json(client, "/api/v1" + tiles["calls"]))["data"]) == 4
    waits = [call["wait_duration"] for call in (await read_json(client, "/api/v1" + tiles["longest-wait"]))["data"]]
    assert len(waits) == 4
    assert waits == sorted(waits, reverse=True)
    report = await read_json(client, "/api/v1/reports?report=unreturned&zone=Asia/Tokyo&since=2d")
    call_ids = set()
    for row in report["data"]:
        body = await read_json(client, "/api/v1" + row[0]["href"])
        (call,) = body.get("data", [body])
        call_ids.add(call["call_id"])
        assert (await client.get(row[0]["href"])).status == 200
    assert len(call_ids) == 4
    assert "7/8?" in call_ids
