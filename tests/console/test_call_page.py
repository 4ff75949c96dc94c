"""The page of a call: its events, their earlier versions, and notes."""

import html
import re

import aiohttp
import msgspec

from onhook.cdr.access_scope import AccessScope
from onhook.ledger.contract import LedgerEntry
from onhook.lib.signing import sign
from onhook.pbx.registry import dialects
from tests.console.conftest import SECRET, ConsoleHarness
from tests.factories import SN, details

OURS = {"Sec-Fetch-Site": "same-origin"}


async def test_call_page_shows_state_of_signatures(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """Signatures are verified with the current secrets: valid, invalid or missing."""
    dialect = dialects()["yeastar"]
    for n, signature_state in enumerate(("valid", "invalid", "missing")):
        body = dialect.format(details(call_id=f"1777287876.{n}"), SN, "p-2026")
        signature = {"valid": sign(SECRET, body), "invalid": sign("another secret", body), "missing": ""}[
            signature_state
        ]
        entry = LedgerEntry(sn=SN, dialect="yeastar", via="webhook", received_at=1, key=bytes([n]) * 16, body=body)
        await harness.ledger.append([msgspec.structs.replace(entry, signature=signature)])
    await harness.projector.catch_up()
    pages = [await (await client.get(f"/calls/{SN}/1777287876.{n}")).text() for n in range(3)]
    assert "valid signature" in pages[0]
    assert "invalid signature" in pages[1]
    assert "no signature" in pages[2]
    assert SECRET not in "".join(pages)


async def test_call_page_links_members_of_extra_to_their_calls(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    """The link finds this call and no other; a value that no filter finds is plain text."""
    extra = {"account_code": "4711", "note": "a, b=c <i>"}
    await harness.ingest_details([details(call_id="1777287876.1", extra=extra), details(call_id="1777287876.2")])
    page = await (await client.get(f"/calls/{SN}/1777287876.1")).text()
    links = re.findall(r'href="(/calls\?extra=[^"]+)"', page)
    (link,) = (link for link in links if "is_display" not in link)
    assert "a, b=c &lt;i&gt;" in page
    answer = await (await client.get(f"/api/v1{html.unescape(link)}")).json()
    assert [call["call_id"] for call in answer["data"]] == ["1777287876.1"]
    assert 'value="account_code=4711"' in await (await client.get(link)).text()


async def test_call_page_shows_no_other_calls_to_a_reader_of_one_number(harness: ConsoleHarness) -> None:
    """The body of an event may have several calls, and an id may begin with another one's."""
    own = details(call_id="1777287876.1", call_from="1001", call_to="1002")
    other_calls = [
        details(call_id="1777287876.15", call_from="1005", call_to="5550115"),
        details(call_id="1777287880.7", call_from="1006", call_to="5550107"),
    ]
    await harness.ingest_details([other_calls[0]])
    bodies = [dialects()["yeastar"].format(call_details, SN, "p-2026") for call_details in (own, other_calls[1])]
    await harness.ingest_bodies([b"[" + b",".join(bodies) + b"]"])
    scope = AccessScope(numbers=("1001",))
    token = await harness.appdb.tokens.add("alice", "reader", now_us=harness.clock.microseconds(), scope=scope)
    async with harness.client(token) as reader:
        text = await (await reader.get(f"/calls/{SN}/1777287876.1?earlier=yes")).text()
    assert "1777287876.1" in text
    assert not any(number in text for number in ("5550115", "5550107"))
    async with harness.client() as administrator:
        text = await (await administrator.get(f"/calls/{SN}/1777287876.1?earlier=yes")).text()
    assert [number in text for number in ("5550115", "5550107")] == [False, True]


async def test_call_page_shows_earlier_versions_on_request(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    """An event that was corrected by a later one is not part of the call."""
    first = details(call_id="1777287876.5", status="BUSY", talk_duration=0)
    await harness.ingest_details([first])
    await harness.ingest_details([msgspec.structs.replace(first, status="ANSWERED", talk_duration=14)])
    path = f"/calls/{SN}/1777287876.5"
    assert "Event 2 " not in await (await client.get(path)).text()
    text = await (await client.get(f"{path}?earlier=yes")).text()
    assert "Event 2 " in text[text.index('id="earlier"') :]
    assert "Event 3 " not in text[text.index('id="earlier"') :]


async def test_call_page_note_has_history(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """Administrators write notes, all users who see the call read them; earlier versions stay; texts are escaped."""
    await harness.ingest_details([details(call_id="1777287876.6")])
    for text in ("first <b>note</b>", "second"):
        data = {"sn": SN, "call_id": "1777287876.6", "text": text, "tags": "sales, <i>vip</i>"}
        answer = await client.post("/call/note", data=data, allow_redirects=False)
        assert (answer.status, answer.headers["Location"]) == (303, f"/calls/{SN}/1777287876.6#notes")
    reader = await harness.appdb.tokens.add("reader", "reader", now_us=harness.clock.microseconds())
    async with harness.client(reader) as other:
        text = await (await other.get(f"/calls/{SN}/1777287876.6")).text()
        assert text.index("second") < text.index("first &lt;b&gt;note")
        assert "&lt;i&gt;vip" in text
        assert "/call/note" not in text
        refused = {"sn": SN, "call_id": "1777287876.6", "text": "mine"}
        assert (await other.post("/call/note", data=refused, headers=OURS)).status == 403
    missing = {"sn": SN, "call_id": "1.1", "text": "x"}
    assert (await client.post("/call/note", data=missing)).status == 404


async def test_saved_search_is_linked_on_calls_page(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    await harness.ingest_details([details(status="BUSY", talk_duration=0)])
    path = "/calls?status=BUSY&zone=UTC"
    answer = await client.post("/saved-searches", data={"name": "busy ones", "path": path}, allow_redirects=False)
    assert answer.headers["Location"] == path
    text = await (await client.get("/calls")).text()
    assert 'href="/calls?status=BUSY&amp;zone=UTC"' in text
    assert "busy ones" in text
    assert (await client.post("/saved-searches", data={"name": "x", "path": "//evil.example"})).status == 400
