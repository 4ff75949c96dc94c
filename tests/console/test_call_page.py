"""The page of a call: what its reports prove, what was said before, and what people write about it."""

import aiohttp
import msgspec

from onhook.ledger.contract import LedgerEntry
from onhook.lib.signing import sign
from onhook.pbx.registry import dialects
from tests.console.conftest import SECRET, ConsoleHarness
from tests.factories import SN, details

OURS = {"Sec-Fetch-Site": "same-origin"}


async def test_a_signature_is_checked_anew(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """By the secrets of today: right, of none of them, or none at all."""
    dialect = dialects()["yeastar"]
    for n, said in enumerate(("valid", "invalid", "missing")):
        body = dialect.format(details(call_id=f"1777287876.{n}"), SN, "p-2026")
        signature = {"valid": sign(SECRET, body), "invalid": sign("another secret", body), "missing": ""}[said]
        entry = LedgerEntry(sn=SN, dialect="yeastar", via="webhook", received_at=1, key=bytes([n]) * 16, body=body)
        await harness.ledger.append([msgspec.structs.replace(entry, signature=signature)])
    await harness.projector.catch_up()
    shown = [await (await client.get(f"/calls/{SN}/1777287876.{n}")).text() for n in range(3)]
    assert "signature right" in shown[0]
    assert "signature of no secret of today" in shown[1]
    assert "no signature" in shown[2]
    assert SECRET not in "".join(shown)


async def test_earlier_versions_are_found(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """A report that was corrected by a later one is shown when it is asked for, and is not among those that count."""
    first = details(call_id="1777287876.5", status="BUSY", talk_duration=0)
    await harness.ingest_details([first])
    await harness.ingest_details([msgspec.structs.replace(first, status="ANSWERED", talk_duration=14)])
    path = f"/calls/{SN}/1777287876.5"
    assert "Report 1 " not in await (await client.get(path)).text()
    text = await (await client.get(f"{path}?earlier=yes")).text()
    assert "Report 1 " in text[text.index('id="earlier"') :]
    assert "Report 2 " not in text[text.index('id="earlier"') :]


async def test_notes_have_a_history(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """An administrator writes, everybody who sees the call reads; what was before stays; all of it is escaped."""
    await harness.ingest_details([details(call_id="1777287876.6")])
    for text in ("first <b>note</b>", "second"):
        data = {"sn": SN, "call_id": "1777287876.6", "text": text, "tags": "sales, <i>vip</i>"}
        answer = await client.post("/call/note", data=data, allow_redirects=False)
        assert (answer.status, answer.headers["Location"]) == (303, f"/calls/{SN}/1777287876.6#notes")
    reader = harness.appdb.add_token("reader", "reader", now_us=harness.clock.microseconds())
    async with harness.client(reader) as other:
        text = await (await other.get(f"/calls/{SN}/1777287876.6")).text()
        assert text.index("second") < text.index("first &lt;b&gt;note")
        assert "&lt;i&gt;vip" in text
        assert "/call/note" not in text
        refused = {"sn": SN, "call_id": "1777287876.6", "text": "mine"}
        assert (await other.post("/call/note", data=refused, headers=OURS)).status == 403
    missing = {"sn": SN, "call_id": "1.1", "text": "x"}
    assert (await client.post("/call/note", data=missing)).status == 404


async def test_a_search_is_kept_by_its_address(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """Kept under a name, it stands on everybody's page of calls, and leads back to itself."""
    await harness.ingest_details([details(status="BUSY", talk_duration=0)])
    path = "/calls?status=BUSY&zone=UTC"
    answer = await client.post("/saved-searches", data={"name": "busy ones", "path": path}, allow_redirects=False)
    assert answer.headers["Location"] == path
    text = await (await client.get("/calls")).text()
    assert 'href="/calls?status=BUSY&amp;zone=UTC"' in text
    assert "busy ones" in text
    assert (await client.post("/saved-searches", data={"name": "x", "path": "//evil.example"})).status == 400
