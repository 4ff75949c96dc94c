"""The page Calls: chips, count and pages, directions, numbers to dial, names of the directory."""

import re
from datetime import timedelta
from html import unescape

import aiohttp
import pytest

from onhook.cdr.access_scope import AccessScope
from onhook.cdr.directory import DirectoryEntry
from onhook.console.pages.calls import LATEST_FIRST, SORTABLE
from tests.console.conftest import ConsoleHarness
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
        "Talk, minimum: 5 s",
        "Weekday: Monday",
    ]
    removals = [unescape(href) for href in re.findall(r'<a href="([^"]*)" aria-label="Remove filter', text)]
    assert "status" not in removals[0]
    assert all("since=2026-04-01" in href and "sort=-talk_duration" in href for href in removals)
    assert "call_to" not in removals[1]
    assert 'class="chip"' not in await (await client.get("/calls?since=2026-04-01")).text()
    text = await (await client.get("/calls?status=!BUSY,FAILED")).text()
    assert "not Busy, Failed" in text


@pytest.mark.parametrize("sort", ["", *SORTABLE, *(f"-{key}" for key in SORTABLE)])
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
