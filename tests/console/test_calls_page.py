"""The page Calls: chips, count and pages, directions, numbers to dial, names of the directory."""

import re
from datetime import timedelta
from html import unescape

import aiohttp
import pytest
from playwright.async_api import expect

from onhook.cdr.access_scope import AccessScope
from onhook.cdr.directory import DirectoryEntry
from onhook.store.contract import CALL_ORDERS, LATEST_FIRST
from tests.console.conftest import ConsoleHarness
from tests.console.test_pages import open_visit
from tests.counts import sampled
from tests.factories import SN, STARTED_AT, details


def links_of(text: str, words: str) -> list[str]:
    """Return the links of a page with these words."""
    return [unescape(href) for href in re.findall(rf'<a[^>]*href="([^"]*)"[^>]*>{words}', text)]


async def test_calls_page_chips_remove_one_filter_each(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    await harness.ingest_details([details(STARTED_AT)])
    await harness.appdb.directory.put([DirectoryEntry(sn=SN, number="1002", name="Bob")])
    query = "call_to=1002&status=!ANSWERED&weekday=1&min_talk_duration=5&since=2026-04-01&sort=-talk_duration"
    text = await (await client.get(f"/calls?{query}")).text()
    chips = re.findall(r'class="chip"><span[^>]*>([^<]*)<b>([^<]*)</b>', text)
    assert [title + value for title, value in chips] == [
        "Outcome: Missed",
        "To: Bob (1002)",
        "Talk, minimum: 0:05",
        "Weekday: Monday",
    ]
    removals = [unescape(href) for href in re.findall(r'<a href="([^"]*)" aria-label="Remove filter', text)]
    assert "status" not in removals[0]
    assert all("since=2026-04-01" in href and "sort=-talk_duration" in href for href in removals)
    assert "call_to" not in removals[1]
    assert 'class="chip"' not in await (await client.get("/calls?since=2026-04-01")).text()
    text = await (await client.get("/calls?status=!BUSY,FAILED")).text()
    assert "not Busy, Failed" in text


@pytest.mark.parametrize("sort", sampled(["", *CALL_ORDERS, *(f"-{key}" for key in CALL_ORDERS)]))
async def test_calls_page_shows_each_call_once_in_every_order(harness: ConsoleHarness, sort: str) -> None:
    """Also when a call arrives between two pages; back on the first page there is no page before."""
    for n in range(7):
        await harness.ingest_details([details(STARTED_AT + timedelta(minutes=n // 2), talk_duration=n % 3)])
    async with harness.client() as client:
        text = await (await client.get(f"/calls?sort={sort}&limit=3")).text()
        assert "1 to 3 of 7 calls, page 1 of 3" in text
        keys = re.findall(r'class="call" data-key="([^"]*)"', text)
        await harness.ingest_details([details(STARTED_AT + timedelta(minutes=2), call_id="1777287999.99")])
        while next_links := links_of(text, "(?:More|Older) calls"):
            text = await (await client.get(next_links[0])).text()
            keys += re.findall(r'class="call" data-key="([^"]*)"', text)
        assert len(keys) == len(set(keys))
        assert len([key for key in keys if "1777287999.99" not in key]) == 7
        while previous_links := links_of(text, "← "):
            text = await (await client.get(previous_links[0])).text()
        assert 'rel="prev"' not in text.split('id="pages"')[1].split("</nav>")[0]
    assert LATEST_FIRST == "-started_at"


async def test_calls_page_counts_a_search_of_all_times_when_asked(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    """Those of a period, of a PBX and of all calls are counted at once, and a list that ends is."""
    text = ""
    for n in range(3):
        await harness.ingest_details([details(STARTED_AT + timedelta(minutes=n), type="Inbound")])
    for query, place in (
        ("trunk=", "1 to 2 of 3 calls, page 1 of 2"),
        ("type=inbound", "1 to 2 of 3 calls, page 1 of 2"),
        ("call_from=1001&since=2026-04-01", "1 to 2 of 3 calls, page 1 of 2"),
        ("call_from=1001&count=yes", "1 to 2 of 3 calls, page 1 of 2"),
        ("call_from=1001", "1 to 2, page 1</span>"),
    ):
        text = await (await client.get(f"/calls?limit=2&{query}")).text()
        assert place in text, query
    assert links_of(text, "Count all") == ["/calls?call_from=1001&limit=2&count=yes"]
    text = await (await client.get(links_of(text, "Older calls")[0])).text()
    assert "3 to 3 of 3 calls, page 2 of 2" in text


async def test_calls_page_shows_directions_and_numbers_to_dial(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    await harness.ingest_details(
        [
            details(STARTED_AT, call_from="+49 30 901820", src_trunk_name="SIP", type="Inbound"),
            details(STARTED_AT, call_from="Survey", type="strange"),
        ]
    )
    text = await (await client.get("/calls")).text()
    assert 'aria-label="Inbound"' in text
    assert 'href="tel:+4930901820"' in text
    assert text.count('class="direction"') == 1
    assert "tel:Survey" not in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [("alic", {"inside"}), ("support", {"queue"}), ("acme", {"contact"}), ("Zoe", set()), ("Old name", set())],
)
async def test_search_finds_names_of_the_directory(harness: ConsoleHarness, text: str, expected: set[str]) -> None:
    """Names of extensions at their PBX alone, of queues, and of contacts in each notation of their number."""
    await harness.appdb.add_pbx(name="branch", sn="BRANCH", secret="x" * 32, now_us=1)
    await harness.publish()
    sides = {"inside": "1001", "queue": "6400", "contact": "004930901820", "other": "1003"}
    for name, side in sides.items():
        await harness.ingest_details([details(call_from=side, call_to="1009", recording=name)])
    await harness.ingest_details([details(call_from="1001", call_to="1009", recording="branch")], "BRANCH")
    await harness.appdb.directory.put(
        [
            DirectoryEntry(sn=SN, number="1001", name="Alice"),
            DirectoryEntry(sn=SN, number="6400", name="Support", kind="queue"),
            DirectoryEntry(number="+49 30 901820", name="Jane", company="Acme", kind="contact"),
        ]
    )
    async with harness.client() as client:
        answer = await (await client.get("/api/v1/calls", params={"q": text})).json()
        assert {call["recordings"][0] for call in answer["data"]} == expected


async def test_search_by_name_shows_a_limited_reader_no_other_names(harness: ConsoleHarness) -> None:
    """A reader who may see 1002 alone finds no calls by the name of the number on the other side."""
    await harness.ingest_details([details(call_from="1001", call_to="1002")])
    await harness.appdb.directory.put(
        [DirectoryEntry(sn=SN, number="1001", name="Carol"), DirectoryEntry(sn=SN, number="1002", name="Bob")]
    )
    scope = AccessScope(numbers=("1002",))
    token = await harness.appdb.tokens.add("limited", "reader", now_us=harness.clock.microseconds(), scope=scope)
    async with harness.client(token) as client:
        counts = [
            len((await (await client.get("/api/v1/calls", params={"q": name})).json())["data"])
            for name in ("Carol", "Bob")
        ]
    assert counts == [0, 1]


async def suggest(client: aiohttp.ClientSession, field: str, text: str = "") -> list[tuple[str, str]]:
    answer = await (await client.get("/suggestions", params={"field": field, "text": text})).json()
    return [(item["value"], item["label"]) for item in answer["data"]]


async def test_suggestions_are_values_of_the_scope(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    now = harness.clock.now().replace(microsecond=0) - timedelta(minutes=5)
    await harness.appdb.add_pbx(name="branch", sn="BRANCH", secret="x" * 32, now_us=1)
    await harness.publish()
    inbound = {"type": "Inbound", "did_number": "5550100"}
    await harness.ingest_details(
        [details(now, src_trunk_name="SIP-1", **inbound), details(now, src_trunk_name="SIP-1")]
    )
    await harness.ingest_details([details(now, src_trunk_name="ISDN")], "BRANCH")
    await harness.appdb.directory.put(
        [
            DirectoryEntry(sn=SN, number="5550100", name="Sales line", kind="did"),
            DirectoryEntry(sn=SN, number="6400", name="Support", kind="queue"),
            DirectoryEntry(sn=SN, number="1001", name="Alice"),
            DirectoryEntry(sn="BRANCH", number="1002", name="Alina"),
        ]
    )
    assert await suggest(client, "trunk") == [("SIP-1", ""), ("ISDN", "")]
    assert await suggest(client, "trunk", "isd") == [("ISDN", "")]
    assert await suggest(client, "did_number", "sales") == [("5550100", "Sales line")]
    assert await suggest(client, "party", "supp") == [("6400", "Support, queue, office")]
    assert {value for value, _label in await suggest(client, "party", "ali")} == {"1001", "1002"}
    assert (await client.get("/suggestions?field=colour")).status == 400
    scope = AccessScope(sns=(SN,))
    token = await harness.appdb.tokens.add("limited", "reader", now_us=harness.clock.microseconds(), scope=scope)
    async with harness.client(token) as limited:
        assert await suggest(limited, "trunk") == [("SIP-1", "")]
        assert [value for value, _label in await suggest(limited, "party", "ali")] == ["1001"]


async def test_tags_of_selected_calls_are_added_and_removed(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    """The rest of a note stays; a reader may not, and an annotator only within the scope: all calls or none."""
    ids = [f"1777287876.{n}" for n in range(3)]
    for number, call_id in enumerate(ids):
        await harness.ingest_details([details(STARTED_AT, call_id=call_id, call_to=f"100{number + 2}")])
    now_us = harness.clock.microseconds()
    await harness.appdb.notes.write(SN, ids[0], "calls back", "vip", author="Alice", now_us=now_us)
    form = [("tags", "sales, north"), ("action", "add"), ("next", "/calls?trunk=A")]
    calls = [("call", f"{SN}\n{call_id}") for call_id in ids]
    answer = await client.post("/calls/tags", data=[*form, calls[0], calls[1]], allow_redirects=False)
    assert (answer.status, answer.headers["Location"]) == (303, "/calls?trunk=A")
    keys = [(SN, call_id) for call_id in ids]
    assert await harness.appdb.notes.tags_by_call(keys) == {
        keys[0]: ("vip", "sales", "north"),
        keys[1]: ("sales", "north"),
    }
    assert (await harness.appdb.notes.history(SN, ids[0]))[0].text == "calls back"
    await client.post("/calls/tags", data=[("tags", "sales"), ("action", "remove"), calls[0]], allow_redirects=False)
    assert (await harness.appdb.notes.tags_by_call(keys))[keys[0]] == ("vip", "north")
    for body in ([*form], [calls[0], ("tags", " ")], [*form, *(("call", f"{SN}\n{n}") for n in range(201))]):
        assert (await client.post("/calls/tags", data=body)).status == 400
    scope = AccessScope(numbers=("1002",))
    for role, status in (("reader", 403), ("annotator", 404)):
        token = await harness.appdb.tokens.add(role, role, now_us=now_us, scope=scope)
        async with harness.client(token) as limited:
            answer = await limited.post("/calls/tags", data=[("tags", "x"), calls[0], calls[2]])
            assert answer.status == status
    assert keys[2] not in await harness.appdb.notes.tags_by_call(keys)


async def test_call_page_leads_to_calls_before_and_after_and_of_the_same_number(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    """In order of their starts, those of one second by their ids; related are those of the other side's number."""
    parties = {"call_from": "+4930901820", "src_trunk_name": "SIP", "type": "Inbound"}
    for n in range(3):
        await harness.ingest_details([details(STARTED_AT, call_id=f"1777287876.{n}", **parties)])
    other = {"call_to": "+4930901820", "dst_trunk_name": "SIP", "type": "Outbound"}
    await harness.ingest_details([details(STARTED_AT + timedelta(days=3), call_id="1777547076.1", **other)])
    await harness.ingest_details([details(STARTED_AT + timedelta(days=60), call_id="1782471876.1", call_from="1003")])
    text = await (await client.get(f"/calls/{SN}/1777287876.1")).text()
    assert [href for href in re.findall(r'rel="(?:prev|next)" href="([^"]*)"', text) if "1777" in href] == [
        f"/calls/{SN}/1777287876.0",
        f"/calls/{SN}/1777287876.2",
    ]
    related = text.split('id="related"')[1].split("</section>")[0]
    assert re.findall(r'data-key="\S+ (\S+)"', related) == ["1777547076.1", "1777287876.2", "1777287876.0"]
    assert 'href="/calls?number=%2B4930901820"' in related
    assert text.index('id="notes"') < text.index('id="journey"')
    text = await (await client.get(f"/calls/{SN}/1777547076.1")).text()
    assert 'rel="next"' not in text


async def test_shortcuts_lead_through_the_list_by_keyboard(harness: ConsoleHarness, chromium_path: str) -> None:
    """The overlay lists them, and switches them off; in a field they are letters."""
    for n in range(4):
        await harness.ingest_details([details(STARTED_AT + timedelta(minutes=n), call_id=f"1777287876.{n}")])
    async with open_visit(harness, chromium_path) as visit:
        page = visit.page
        await page.goto(f"{harness.url}/calls?limit=2&since=2026-04-01")
        await page.keyboard.press("?")
        await expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
        await page.keyboard.press("Escape")
        for key in ("j", "j", "x"):
            await page.keyboard.press(key)
        await expect(page.locator("tr.call input").nth(1)).to_be_checked()
        await page.get_by_label("Tag of the selected calls").fill("jxn")
        async with page.expect_navigation():
            await page.get_by_role("button", name="Add tag").click()
        await page.keyboard.press("n")
        await expect(page.get_by_text("page 2 of 2")).to_be_visible()
        assert await harness.appdb.notes.tags_by_call([(SN, "1777287876.2")]) == {(SN, "1777287876.2"): ("jxn",)}
        await page.keyboard.press("/")
        await expect(page.get_by_label("Number, name or call id")).to_be_focused()
        await page.keyboard.type("j?")
        await expect(page.get_by_label("Number, name or call id")).to_have_value("j?")
        await page.goto(f"{harness.url}/calls/{SN}/1777287876.1")
        await page.keyboard.press("p")
        await expect(page).to_have_url(f"{harness.url}/calls/{SN}/1777287876.0")
        await page.keyboard.press("e")
        await expect(page.get_by_label("Note", exact=True)).to_be_focused()
        await page.keyboard.press("Tab")
        await page.goto(f"{harness.url}/calls")
        await page.keyboard.press("?")
        await page.get_by_label("Shortcuts of one key are on").uncheck()
        await page.get_by_role("button", name="Close").click()
        await page.keyboard.press("?")
        await expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_hidden()


@pytest.mark.slow
async def test_suggestions_appear_while_typing(harness: ConsoleHarness, chromium_path: str) -> None:
    await harness.appdb.directory.put([DirectoryEntry(sn=SN, number="1001", name="Alice")])
    await harness.ingest_details([details(STARTED_AT)])
    async with open_visit(harness, chromium_path) as visit:
        page = visit.page
        await page.goto(f"{harness.url}/calls?call_to=1002")
        await page.get_by_label("From", exact=True).fill("ali")
        option = page.locator("datalist option[value='1001']").first
        await expect(option).to_have_text("1001 · Alice, office")
