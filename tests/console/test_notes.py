"""Notes, tags and kept searches in the API; calls are found by what was written about them."""

import aiohttp
import pytest

from tests.console.conftest import ConsoleHarness
from tests.factories import SN, STARTED_AT, details

FIRST, SECOND = "1777287876.1", "1777287876.2"


@pytest.fixture
async def two_calls(harness: ConsoleHarness) -> None:
    await harness.ingest_details([details(STARTED_AT, call_id=FIRST), details(STARTED_AT, call_id=SECOND)])


async def write(client: aiohttp.ClientSession, call_id: str, **given: object) -> list[dict[str, object]]:
    answer = await client.post("/api/v1/notes", json={"sn": SN, "call_id": call_id, **given})
    assert answer.status == 201
    found: list[dict[str, object]] = (await answer.json())["data"]
    return found


@pytest.mark.usefixtures("two_calls")
async def test_a_note_keeps_its_history(client: aiohttp.ClientSession) -> None:
    """The latest first, by whom; the same again is not kept twice; a call that is not there has no note."""
    await write(client, FIRST, text="calls back", tags=["sales", "VIP"])
    await write(client, FIRST, text="calls back", tags=["sales", "VIP"])
    history = await write(client, FIRST, text="done", tags=["VIP"])
    assert [(one["text"], one["tags"], one["author"]) for one in history] == [
        ("done", ["VIP"], "admin"),
        ("calls back", ["sales", "VIP"], "admin"),
    ]
    answer = await client.get("/api/v1/notes", params={"sn": SN, "call_id": FIRST})
    assert (await answer.json())["data"] == history
    assert (await (await client.get("/api/v1/tags")).json())["data"] == ["VIP"]
    missing = {"sn": SN, "call_id": "1777287876.9"}
    assert (await client.get("/api/v1/notes", params=missing)).status == 404
    assert (await client.post("/api/v1/notes", json={**missing, "text": "x"})).status == 404


@pytest.mark.usefixtures("two_calls")
async def test_calls_are_found_by_what_was_written(client: aiohttp.ClientSession) -> None:
    """By a tag and by a part of the note that counts now; on the page, in the API, in files and in counts alike."""
    await write(client, FIRST, text="Calls back at 100 %", tags=["VIP"])
    await write(client, SECOND, text="calls back", tags=["VIP", "sales"])
    await write(client, SECOND, text="done", tags=["VIP"])
    for query, found in (
        ({"tag": "VIP"}, {FIRST, SECOND}),
        ({"tag": "sales"}, set()),
        ({"note": "calls BACK"}, {FIRST}),
        ({"note": "100 %"}, {FIRST}),
        ({"note": "1%0"}, set()),
        ({"tag": "VIP", "note": "done"}, {SECOND}),
        ({"tag": "VIP", "status": "busy"}, set()),
    ):
        calls = (await (await client.get("/api/v1/calls", params=query)).json())["data"]
        assert {call["call_id"] for call in calls} == found, query
        rows = (await (await client.get("/api/v1/summary", params={**query, "by": "pbx"})).json())["data"]
        assert sum(row["calls"] for row in rows) == len(found)
        assert (await (await client.get("/calls", params=query)).text()).count('class="call"') == len(found)
        assert (await (await client.get("/api/v1/export.jsonl", params=query)).text()).count("\n") == len(found)
    page = await (await client.get("/calls", params={"columns": "tags"})).text()
    assert page.count('href="/calls?tag=VIP"') == 2


async def test_a_search_is_kept_by_programs(client: aiohttp.ClientSession) -> None:
    """Under a name of its own, for the pages of calls and reports alone."""
    given = {"name": "missed", "path": "/calls?status=%21ANSWERED"}
    kept = await (await client.post("/api/v1/saved-searches", json=given)).json()
    assert (kept["name"], kept["path"], kept["author"]) == (*given.values(), "admin")
    assert (await (await client.get("/api/v1/saved-searches")).json())["data"] == [kept]
    assert 'href="/calls?status=%21ANSWERED"' in await (await client.get("/calls")).text()
    for wrong in (given, {"name": "x", "path": "//evil.example"}, {"name": "x", "path": "/users"}):
        assert (await client.post("/api/v1/saved-searches", json=wrong)).status == 400
    path = f"/api/v1/saved-searches/{kept['search_id']}"
    assert [(await client.delete(path)).status for _ in range(2)] == [204, 404]
