"""The directory: API, page, scope, and masked numbers."""

import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from playwright.async_api import expect

from onhook.appdb.directory import DatedName, LearntState
from onhook.appdb.directory_csv import parse_directory_csv
from onhook.appdb.pbxs import Pbx
from onhook.cdr.access_scope import AccessScope
from onhook.cdr.directory import DirectoryEntry, PbxName
from onhook.cdr.number_plan import NumberPlan
from onhook.console.queries import directory
from tests.console.conftest import ConsoleHarness
from tests.console.test_pages import OUTPUT, open_visit
from tests.factories import PBX, SN, details

OTHER_SN = "3699OTHER"
ENTRIES = (
    DirectoryEntry(number="+49 30 901820", kind="contact", name="Carol", company="ACME"),
    DirectoryEntry(sn=SN, number="1001", name="Alice Smith", department="Sales", site="Berlin"),
    DirectoryEntry(sn=SN, number="6400", kind="queue", name="Support"),
    DirectoryEntry(sn=OTHER_SN, number="1001", name="Dave"),
)


@pytest.fixture
async def filled(harness: ConsoleHarness) -> ConsoleHarness:
    """Return the console of two PBXs with four entries and two learnt names."""
    await harness.appdb.add_pbx(name="branch", sn=OTHER_SN, secret="s" * 32, now_us=1)
    await harness.appdb.directory.put(ENTRIES)
    names = [
        DatedName(sn=SN, number=number, name=name, started_at=1, seq=1)
        for number, name in (("1001", "A. Smith"), ("1002", "Bob"))
    ]
    await harness.appdb.directory.learn(names, LearntState(position=1, erasures=0))
    return harness


@pytest.fixture
async def client(filled: ConsoleHarness) -> AsyncIterator[aiohttp.ClientSession]:
    async with filled.client() as session:
        yield session


async def read_names(session: aiohttp.ClientSession, query: str = "") -> list[tuple[str, str, str, str]]:
    answer = await session.get(f"/api/v1/directory?{query}")
    assert answer.status == 200, await answer.text()
    return [(row["pbx"], row["number"], row["name"], row["source"]) for row in (await answer.json())["data"]]


async def test_api_lists_set_and_learnt_names(client: aiohttp.ClientSession) -> None:
    assert await read_names(client) == [
        ("", "+49 30 901820", "Carol", "set"),
        ("branch", "1001", "Dave", "set"),
        (PBX, "1001", "Alice Smith", "set"),
        (PBX, "1002", "Bob", "learnt"),
        (PBX, "6400", "Support", "set"),
    ]
    assert [row[2] for row in await read_names(client, "q=SALES")] == ["Alice Smith"]
    page = await (await client.get("/api/v1/directory?limit=2&cursor=2")).json()
    assert ([row["number"] for row in page["data"]], page["next"]) == (["1001", "1002"], "4")
    assert (await (await client.get("/api/v1/directory?cursor=4")).json())["next"] is None
    assert (await client.get("/api/v1/directory?cursor=x")).status == 400


async def test_api_names_of_the_pbx_come_after_those_that_were_set(
    filled: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    """And before learnt ones; they can be edited, and searched for on the page of calls."""
    names = [
        PbxName(sn=SN, number="1001", kind="extension", name="Al"),
        PbxName(sn=SN, number="1002", kind="extension", name="Robert"),
        PbxName(sn=SN, number="6500", kind="queue", name="Sales"),
    ]
    await filled.appdb.directory.put_pbx_names(SN, names)
    assert [row for row in await read_names(client) if row[0] == PBX] == [
        (PBX, "1001", "Alice Smith", "set"),
        (PBX, "1002", "Robert", "pbx"),
        (PBX, "6400", "Support", "set"),
        (PBX, "6500", "Sales", "pbx"),
    ]
    page = await (await client.get("/directory")).text()
    assert page.count("from the PBX") == 2
    await filled.ingest_details([details(call_from="1002", call_to="1009")])
    for text, count in (("robert", 1), ("bob", 0)):
        calls = await (await client.get("/api/v1/calls", params={"q": text})).json()
        assert len(calls["data"]) == count, text


async def test_api_sets_and_removes_a_name(client: aiohttp.ClientSession) -> None:
    entry = {"pbx": "branch", "number": "1005", "name": "Eve", "site": "Köln"}
    answer = await client.put("/api/v1/directory", json=entry)
    assert (answer.status, (await answer.json())["sn"]) == (200, OTHER_SN)
    assert ("branch", "1005", "Eve", "set") in await read_names(client)
    gone = {"number": "1005", "pbx": "branch"}
    assert (await client.delete("/api/v1/directory", params=gone)).status == 204
    assert (await client.delete("/api/v1/directory", params=gone)).status == 404
    assert (await client.delete("/api/v1/directory", params={"number": "+49 30 901820"})).status == 204
    assert (await client.delete("/api/v1/directory", params={"number": "1001", "pbx": PBX})).status == 204
    assert (PBX, "1001", "A. Smith", "learnt") in await read_names(client)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"pbx": ""}, "the PBX is missing"),
        ({"pbx": "nowhere"}, "there is no PBX"),
        ({"kind": "contact"}, "a contact belongs to no PBX"),
        ({"kind": "robot"}, "robot"),
        ({"name": " "}, "the name is missing"),
        ({"salary": "1"}, "salary"),
    ],
)
async def test_api_invalid_name_is_400(client: aiohttp.ClientSession, changes: dict[str, str], sentence: str) -> None:
    answer = await client.put("/api/v1/directory", json={"pbx": PBX, "number": "1005", "name": "Eve", **changes})
    assert (answer.status, sentence in await answer.text()) == (400, True), await answer.text()


async def test_api_file_is_read_beside_the_event_loop(
    client: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of 20,000 lines takes half a second, in which no other request would be answered."""
    threads: list[threading.Thread] = []

    def parse(content: bytes, pbxs: Sequence[Pbx]) -> list[DirectoryEntry]:
        threads.append(threading.current_thread())
        return parse_directory_csv(content, pbxs)

    monkeypatch.setattr(directory, "parse_directory_csv", parse)
    text = f"pbx,number,name\n{PBX},1007,Grace\n"
    assert (await client.post("/api/v1/directory/import", json={"csv": text})).status == 200
    assert len(threads) == 1
    assert threads[0] is not threading.main_thread()


async def test_api_export_is_imported_again(filled: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """A file of more than the size of other requests too."""
    text = await (await client.get("/api/v1/directory.csv")).text()
    assert [entry.action for entry in await filled.appdb.audit.latest(1)] == ["export of the directory"]
    assert sorted(text.splitlines()[1:]) == [
        "contact,,'+49 30 901820,Carol,,,ACME",
        "extension,branch,1001,Dave,,,",
        f"extension,{PBX},1001,Alice Smith,Sales,Berlin,",
        f"queue,{PBX},6400,Support,,,",
    ]
    more = "".join(f"extension,{PBX},{number},Name {number},,,\r\n" for number in range(20_000, 24_000))
    answer = await client.post("/api/v1/directory/import", json={"csv": text + more})
    assert (answer.status, await answer.json()) == (200, {"entries": 4_004})
    assert len(await filled.appdb.directory.entries()) == 4_004
    answer = await client.post("/api/v1/directory/import", json={"csv": "number,name\n1001,\n"})
    problem = await answer.json()
    assert (answer.status, "line 2: " in problem["detail"]) == (400, True)


async def test_readers_change_nothing(filled: ConsoleHarness) -> None:
    now_us = filled.clock.microseconds()
    token = await filled.appdb.tokens.add("reader", "reader", now_us=now_us)
    async with filled.client(token) as reader:
        assert len(await read_names(reader)) == 5
        entry = {"pbx": "branch", "number": "1005", "name": "Eve"}
        assert (await reader.put("/api/v1/directory", json=entry)).status == 403
        assert (await reader.post("/api/v1/directory/import", json={"csv": "x"})).status == 403
        assert (await reader.delete("/api/v1/directory", params={"number": "1001", "pbx": PBX})).status == 403


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        (AccessScope(sns=(OTHER_SN,)), ["Dave"]),
        (AccessScope(sns=(SN,), numbers=("1002", "6400")), ["Bob", "Support"]),
        (AccessScope(numbers=("1001",)), ["Dave", "Alice Smith"]),
        (AccessScope(sns=()), []),
    ],
)
async def test_limited_reader_sees_names_of_the_scope(
    filled: ConsoleHarness, scope: AccessScope, expected: list[str]
) -> None:
    """In the list, the file and the page; and no contact."""
    token = await filled.appdb.tokens.add("limited", "reader", now_us=filled.clock.microseconds(), scope=scope)
    async with filled.client(token) as reader:
        assert [row[2] for row in await read_names(reader)] == expected
        texts = [await (await reader.get(path)).text() for path in ("/api/v1/directory.csv", "/directory")]
        texts.append(await (await reader.get("/directory?edit=1001&sn=" + SN)).text())
    for entry in ENTRIES:
        assert [entry.name in text for text in texts] == [entry.name in expected] * 3


@pytest.mark.parametrize("mask", ["last3", "hash"])
async def test_masked_reader_sees_no_number_outside(filled: ConsoleHarness, mask: Any) -> None:
    mobile = DirectoryEntry(sn=SN, number="+4915794638271", name="Mobile")
    numbered = DirectoryEntry(sn=SN, number="1003", name="Frank +4915794638271")
    await filled.appdb.directory.put([mobile, numbered])
    token = await filled.appdb.tokens.add(
        "masked", "reader", now_us=filled.clock.microseconds(), scope=AccessScope(mask=mask)
    )
    async with filled.client(token) as reader:
        names = [row[2] for row in await read_names(reader)]
        page = await (await reader.get("/directory")).text()
    assert (len(names), [name for name in names if "Mobile" in name or "Carol" in name]) == (5, [])
    assert ("94638271" in page, "901820" in page, "Alice Smith" in page) == (False, False, True)


async def test_cache_shows_changes_of_another_process_at_once(filled: ConsoleHarness) -> None:
    async with filled.open_other_hub() as (url, other_appdb), filled.client() as client:
        assert len(await read_names(client)) == 5
        await other_appdb.directory.remove(SN, "6400")
        assert len(await read_names(client)) == 4
        assert url


async def test_number_plan_change_is_seen_by_masked_readers(filled: ConsoleHarness) -> None:
    token = await filled.appdb.tokens.add(
        "masked", "reader", now_us=filled.clock.microseconds(), scope=AccessScope(mask="last3")
    )
    async with filled.client(token) as reader:
        assert len(await read_names(reader)) == 4
        await filled.appdb.change_pbx(PBX, {"number_plan": NumberPlan(extension_digits_max=3, queue=())})
        assert [row[2] for row in await read_names(reader)] == ["Dave"]


async def test_page_entry_is_set_edited_and_removed(
    harness: ConsoleHarness, chromium_path: str, tmp_path: Path
) -> None:
    """In the browser; then a file with an error, and one without."""
    await harness.appdb.directory.learn(
        [DatedName(sn=SN, number="1002", name="Bob", started_at=1, seq=1)], LearntState(position=1, erasures=0)
    )
    wrong, right = tmp_path / "wrong.csv", tmp_path / "right.csv"
    wrong.write_text("number,name\n1003,\n", encoding="utf-8")
    right.write_text("number,name,department\n1003,Carol,Sales\n", encoding="utf-8")
    async with open_visit(harness, chromium_path, viewport={"width": 390, "height": 800}) as visit:
        page = visit.page
        await page.goto(harness.url + "/directory")
        await expect(page.get_by_text("learnt", exact=True)).to_be_visible()
        await page.get_by_label("Number", exact=True).fill("1001")
        await page.get_by_label("Name", exact=True).fill("Alice Smith")
        await page.get_by_label("Department", exact=True).fill("Sales")
        await page.get_by_role("button", name="Save").click()
        await expect(page.locator(".success[role=status]")).to_have_text("1001 is Alice Smith.")
        await page.get_by_role("link", name="Edit 1002").click()
        await expect(page.get_by_label("Name", exact=True)).to_have_value("Bob")
        await page.get_by_label("Name", exact=True).fill("Robert")
        await page.get_by_role("button", name="Save").click()
        await expect(page.locator(".success[role=status]")).to_have_text("1002 is Robert.")
        for file, result in (
            (wrong, page.get_by_role("alert").filter(has_text="line 2: the name is missing")),
            (right, page.get_by_role("status").filter(has_text="Entries imported: 1.")),
        ):
            await page.get_by_label("CSV file").set_input_files(file)
            await page.get_by_role("button", name="Import").click()
            await expect(result).to_be_visible()
        await page.screenshot(path=OUTPUT / "directory-narrow.png", full_page=True)
        await page.get_by_role("button", name="Remove 1002").click()
        await expect(page.get_by_text("Bob", exact=True)).to_be_visible()
        await page.get_by_role("searchbox").fill("sales")
        await page.get_by_role("button", name="Search").click()
        await expect(page.get_by_role("link", name="Edit 1003")).to_be_visible()
        await expect(page.get_by_role("link", name="Edit 1002")).to_have_count(0)
        await page.set_viewport_size({"width": 1280, "height": 900})
        await page.screenshot(path=OUTPUT / "directory.png", full_page=True)
