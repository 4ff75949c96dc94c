"""Notes, tags and saved searches in the API; searching calls by notes."""

import aiohttp
import pytest

from onhook.cdr.access_scope import AccessScope
from tests.console.conftest import ConsoleHarness
from tests.factories import SN, STARTED_AT, details

FIRST, SECOND = "1777287876.1", "1777287876.2"


@pytest.fixture
async def two_calls(harness: ConsoleHarness) -> None:
    await harness.ingest_details([details(STARTED_AT, call_id=FIRST), details(STARTED_AT, call_id=SECOND)])


async def write(client: aiohttp.ClientSession, call_id: str, **members: object) -> list[dict[str, object]]:
    answer = await client.post("/api/v1/notes", json={"sn": SN, "call_id": call_id, **members})
    assert answer.status == 201
    calls: list[dict[str, object]] = (await answer.json())["data"]
    return calls


@pytest.mark.usefixtures("two_calls")
async def test_notes_history_is_listed(client: aiohttp.ClientSession) -> None:
    """The latest version is first, with its author; an unchanged note is not stored again; an unknown call
    has no note.
    """
    await write(client, FIRST, text="calls back", tags=["sales", "VIP"])
    await write(client, FIRST, text="calls back", tags=["sales", "VIP"])
    history = await write(client, FIRST, text="done", tags=["VIP"])
    assert [(note["text"], note["tags"], note["author"]) for note in history] == [
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
async def test_calls_are_found_by_tag_and_note(client: aiohttp.ClientSession) -> None:
    """The current note counts, on the page, in the API, in files and in counts."""
    await write(client, FIRST, text="Calls back at 100 %", tags=["VIP"])
    await write(client, SECOND, text="calls back", tags=["VIP", "sales"])
    await write(client, SECOND, text="done", tags=["VIP"])
    for query, expected in (
        ({"tag": "VIP"}, {FIRST, SECOND}),
        ({"tag": "sales"}, set()),
        ({"note": "calls BACK"}, {FIRST}),
        ({"note": "100 %"}, {FIRST}),
        ({"note": "1%0"}, set()),
        ({"tag": "VIP", "note": "done"}, {SECOND}),
        ({"tag": "VIP", "status": "busy"}, set()),
    ):
        calls = (await (await client.get("/api/v1/calls", params=query)).json())["data"]
        assert {call["call_id"] for call in calls} == expected, query
        rows = (await (await client.get("/api/v1/summary", params={**query, "by": "pbx"})).json())["data"]
        assert sum(row["calls"] for row in rows) == len(expected)
        assert (await (await client.get("/calls", params=query)).text()).count('class="call"') == len(expected)
        assert (await (await client.get("/api/v1/export.jsonl", params=query)).text()).count("\n") == len(expected)
    page = await (await client.get("/calls", params={"columns": "tags"})).text()
    assert page.count('href="/calls?tag=VIP"') == 2


async def test_calls_are_found_by_the_note_on_the_pbx(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """A filter finds both kinds of notes: those written in Onhook, and those that the PBX's list of calls has."""
    await harness.ingest_details(
        [
            details(STARTED_AT, call_id=FIRST, extra={"call_note": "Asked for the invoice"}),
            details(STARTED_AT, call_id=SECOND),
            details(STARTED_AT, call_id="1777287876.3"),
        ]
    )
    await write(client, SECOND, text="sent the INVOICE", tags=["VIP"])
    for query, expected in (
        ({"note": "invoice"}, {FIRST, SECOND}),
        ({"note": "asked"}, {FIRST}),
        ({"note": "invoice", "tag": "VIP"}, {SECOND}),
        ({"note": "asked", "tag": "VIP"}, set()),
        ({"note": "call_note"}, set()),
    ):
        calls = (await (await client.get("/api/v1/calls", params=query)).json())["data"]
        assert {call["call_id"] for call in calls} == expected, query
        records = (await (await client.get("/api/v1/export.jsonl", params=query)).text()).count("\n")
        assert records == len(expected), query
        assert (await (await client.get("/calls", params=query)).text()).count('class="call"') == len(expected)


@pytest.mark.usefixtures("two_calls")
async def test_calls_tag_does_not_widen_the_search_for_another_call(client: aiohttp.ClientSession) -> None:
    """Each condition restricts: an id in the free text, another one in the filter, and a tag match nothing."""
    await write(client, FIRST, tags=["VIP"])
    query = {"q": SECOND, "call_id": FIRST, "tag": "VIP"}
    assert (await (await client.get("/api/v1/calls", params=query)).json())["data"] == []


async def test_saved_searches_are_managed_by_the_api(client: aiohttp.ClientSession) -> None:
    """Only pages of calls and reports can be saved."""
    members = {"name": "missed", "path": "/calls?status=%21ANSWERED"}
    saved_search = await (await client.post("/api/v1/saved-searches", json=members)).json()
    assert (saved_search["name"], saved_search["path"], saved_search["author"]) == (*members.values(), "admin")
    assert (await (await client.get("/api/v1/saved-searches")).json())["data"] == [saved_search]
    assert 'href="/calls?status=%21ANSWERED"' in await (await client.get("/calls")).text()
    for wrong in (members, {"name": "x", "path": "//evil.example"}, {"name": "x", "path": "/users"}):
        assert (await client.post("/api/v1/saved-searches", json=wrong)).status == 400
    path = f"/api/v1/saved-searches/{saved_search['search_id']}"
    assert [(await client.delete(path)).status for _ in range(2)] == [204, 404]


@pytest.mark.usefixtures("two_calls")
async def test_notes_are_written_by_an_annotator_in_scope(harness: ConsoleHarness) -> None:
    """An annotator changes nothing else, and a reader no note."""
    now_us, scope = harness.clock.microseconds(), AccessScope(numbers=("1001",))
    annotator = await harness.appdb.tokens.add("annotator", "annotator", now_us=now_us, scope=scope)
    elsewhere = await harness.appdb.tokens.add("elsewhere", "annotator", now_us=now_us, scope=AccessScope(sns=()))
    reader = await harness.appdb.tokens.add("reader", "reader", now_us=now_us)
    note = {"sn": SN, "call_id": FIRST, "text": "calls back"}
    async with harness.client(annotator) as client:
        (version,) = await write(client, FIRST, text="calls back")
        assert version["author"] == "annotator"
        assert (await client.post("/api/v1/pbxs", json={"name": "x", "sn": "x"})).status == 403
        assert (await client.post("/api/v1/saved-searches", json={"name": "x", "path": "/calls"})).status == 403
        assert "note-form" in await (await client.get(f"/calls/{SN}/{FIRST}")).text()
        form = {key: str(value) for key, value in note.items()} | {"tags": "VIP"}
        assert (await client.post("/call/note", data=form)).status == 200
    for token, status in ((elsewhere, 404), (reader, 403)):
        async with harness.client(token) as client:
            assert (await client.post("/api/v1/notes", json=note)).status == status
            assert (await client.post("/call/note", data=note)).status == status


async def test_call_page_shows_the_note_on_the_pbx(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """Back-fill stores it with the record."""
    await harness.ingest_details([details(STARTED_AT, call_id=FIRST, extra={"call_note": "asked for a refund"})])
    text = await (await client.get(f"/calls/{SN}/{FIRST}")).text()
    assert "asked for a refund <small>note on the PBX</small>" in text


async def test_saved_searches_of_others_are_not_shown_to_a_limited_reader(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    """Their names and filters say what is out of scope."""
    saved = {"name": "Boss's calls", "path": "/calls?number=1009"}
    assert (await client.post("/api/v1/saved-searches", json=saved)).status == 201
    now_us, scope = harness.clock.microseconds(), AccessScope(numbers=("1001",))
    limited = await harness.appdb.tokens.add("limited", "reader", now_us=now_us, scope=scope)
    await harness.appdb.saved_searches.add("Mine", "/calls?status=BUSY", author="limited")
    async with harness.client(limited) as reader:
        names = [search["name"] for search in (await (await reader.get("/api/v1/saved-searches")).json())["data"]]
        assert names == ["Mine"]
        text = await (await reader.get("/calls")).text()
        assert "Mine" in text
        assert "1009" not in text
    names = [search["name"] for search in (await (await client.get("/api/v1/saved-searches")).json())["data"]]
    assert names == ["Boss's calls", "Mine"]


async def test_summary_by_extension_has_a_row_for_each_pbx(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    """1001 of two sites are two people."""
    await harness.appdb.add_pbx(name="branch", sn="3631A2124YYY", secret="s" * 32, now_us=1)
    await harness.publish()
    for sn in (SN, "3631A2124YYY"):
        await harness.ingest_details([details(STARTED_AT, call_from="5550199", call_to="1001", type="Inbound")], sn)
    for by in ("answered_by", "answered_by,pbx"):
        rows = (await (await client.get("/api/v1/summary", params={"by": by})).json())["data"]
        counts = {(row["answered_by"], row["pbx"]): row["calls"] for row in rows}
        assert counts == {("1001", "branch"): 1, ("1001", "office"): 1}
