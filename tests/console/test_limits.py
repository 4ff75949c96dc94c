"""A limited reader sees the calls within the limits and nothing else: on every page, route, export and feed."""

import re
from collections.abc import Iterator

import aiohttp
import pytest
from litestar.handlers import HTTPRouteHandler

from onhook.cdr.access_scope import AccessScope
from onhook.console.app import _api_router, _page_router
from onhook.console.pages.reports.kinds import KINDS
from tests.console.conftest import ConsoleHarness
from tests.factories import ALICE, SN, STARTED_AT, details

OTHER_SN = "3699OTHER"
HIDDEN = "7777777"
"""A number that no answer to a limited reader may hold."""

SHOWN_ID, HIDDEN_ID, ELSEWHERE_ID = "1777287876.1", "1777287876.2", "1777287876.3"

LIMITED_ROUTES = {
    *("/exports/{ticket:str}", "/", "/calls", "/calls/{sn:str}/{call_id:str}", "/call", "/reports", "/reports.csv"),
    *("/api/v1/notes", "/api/v1/recording", "/api/v1/saved-searches", "/api/v1/reports"),
    *("/api/v1/records", "/api/v1/calls", "/api/v1/calls/{sn:str}/{call_id:str}", "/api/v1/summary", "/api/v1/live"),
    *(f"/api/v1/export.{form}" for form in ("csv", "jsonl", "parquet", "xlsx")),
}
"""All that a limited reader may ask. Whoever adds one shows below that nothing leaks by it."""


def handlers() -> Iterator[tuple[str, HTTPRouteHandler]]:
    for router in (_api_router(), _page_router()):
        for route in router.routes:
            for handler in getattr(route, "route_handlers", ()):
                yield route.path, handler


def test_no_route_is_open_to_limited_readers_by_chance() -> None:
    """Those that are marked are the ones listed here; all others refuse."""
    assert {path for path, handler in handlers() if handler.opt.get("scoped")} == LIMITED_ROUTES
    assert not any(handler.opt.get("scoped") and handler.http_methods != {"GET"} for _, handler in handlers())


@pytest.fixture
async def tokens(harness: ConsoleHarness) -> dict[str, str]:
    """Three calls, and readers limited by extension, by PBX, and to a PBX that does not exist."""
    harness.appdb.add_pbx(name="branch", sn=OTHER_SN, secret="s" * 32, now_us=1)
    shown = {"call_from": ALICE, "call_to": "1002", "recording": "shown.wav"}
    await harness.ingest_details([details(STARTED_AT, call_id=SHOWN_ID, **shown)])
    hidden = {"call_from": f"Hidden<{HIDDEN}>", "call_to": "1003", "recording": f"{HIDDEN}.wav", "type": "Inbound"}
    await harness.ingest_details(
        [details(STARTED_AT, call_id=HIDDEN_ID, src_trunk_name=HIDDEN, did_number=HIDDEN, **hidden)]
    )
    await harness.ingest_details(
        [details(STARTED_AT, call_id=ELSEWHERE_ID, call_from=f"Hidden<{HIDDEN}>", call_to="1009", status="BUSY")],
        OTHER_SN,
    )
    limits = {
        "extension": AccessScope(numbers=("1002", "1001")),
        "both": AccessScope(sns=(SN,), numbers=("1001",)),
        "nothing": AccessScope(sns=()),
    }
    at = harness.clock.microseconds()
    return {name: harness.appdb.add_token(name, "reader", now_us=at, scope=item) for name, item in limits.items()}


async def test_what_is_not_marked_refuses(harness: ConsoleHarness, tokens: dict[str, str]) -> None:
    """Every other route that is not open to strangers answers 403, whatever it is."""
    async with harness.client(tokens["extension"]) as reader:
        asked = 0
        for path, handler in handlers():
            if handler.opt.get("scoped") or handler.opt.get("open"):
                continue
            filled = re.sub(r"\{\w+:int\}", "1", re.sub(r"\{\w+:str\}", "office", path))
            for method in handler.http_methods:
                answer = await reader.request(str(method), filled, json={} if str(method) != "GET" else None)
                assert answer.status == 403, (method, path)
                asked += 1
        assert asked > 40
        assert (await reader.get("/metrics")).status == 403


@pytest.mark.parametrize("name", ["extension", "both", "nothing"])
async def test_nothing_leaks(harness: ConsoleHarness, tokens: dict[str, str], name: str) -> None:
    """No list, count, report, export or page has the number, or counts the calls, that the reader may not see."""
    seen = 0 if name == "nothing" else 1
    async with harness.client(tokens[name]) as reader:
        for of in KINDS:
            for form in ("/reports", "/reports.csv", "/api/v1/reports"):
                text = await body(reader, f"{form}?report={of}&since=2026-04-01&until=2026-05-01")
                assert HIDDEN not in text, of
        for path in ("/", "/calls", "/calls?sort=-talk_duration", f"/api/v1/calls?q={HIDDEN}", "/api/v1/records"):
            assert f"<{HIDDEN}>" not in await body(reader, path), path
        assert len((await (await reader.get("/api/v1/calls")).json())["data"]) == seen
        assert len((await (await reader.get("/api/v1/records")).json())["data"]) == seen
        for by in ("pbx", "call_from", "did_number", "went_to", "hour"):
            rows = (await (await reader.get("/api/v1/summary", params={"by": by})).json())["data"]
            assert sum(row["calls"] for row in rows) in {seen, 2 * seen} - ({2} if by != "went_to" else set()), by
        for form in ("csv", "jsonl"):
            text = await body(reader, f"/api/v1/export.{form}")
            assert HIDDEN not in text
            assert text.count("shown.wav") == seen
        for form in ("parquet", "xlsx"):
            answer = await reader.get(f"/api/v1/export.{form}")
            assert answer.status == 200
            assert HIDDEN.encode() not in await answer.read()


async def test_a_call_that_may_not_be_seen_is_not_there(harness: ConsoleHarness, tokens: dict[str, str]) -> None:
    """The same 404 as for one that never was, by either address, in the API too; its report is refused."""
    async with harness.client(tokens["extension"]) as reader:
        for sn, call_id, status in ((SN, SHOWN_ID, 200), (SN, HIDDEN_ID, 404), (OTHER_SN, ELSEWHERE_ID, 404)):
            for path in (f"/calls/{sn}/{call_id}", f"/call?sn={sn}&call_id={call_id}", f"/api/v1/calls/{sn}/{call_id}"):
                answer = await reader.get(path)
                assert answer.status == status, path
                assert HIDDEN not in await answer.text()
            notes = await reader.get("/api/v1/notes", params={"sn": sn, "call_id": call_id})
            assert notes.status == status
        assert (await reader.get("/api/v1/events/2")).status == 403
        assert (await reader.get("/events/2")).status == 403


async def test_the_live_feed_is_limited(harness: ConsoleHarness, tokens: dict[str, str]) -> None:
    """Calls that end are told to those who may see them; others get nothing of them."""
    async with harness.client(tokens["extension"]) as reader:
        answer = await reader.get("/api/v1/live?after=0")
        await harness.ingest_details(
            [details(call_from="1005", call_to=HIDDEN), details(call_from="1001", call_to="1005")]
        )
        found = b""
        while found.count(b"event: record") < 2:
            found += await answer.content.readany()
        assert HIDDEN.encode() not in found
        answer.close()


async def test_an_empty_limit_is_no_way_in(harness: ConsoleHarness, tokens: dict[str, str]) -> None:
    """Limited to nothing one sees nothing; and no parameter widens what one sees."""
    async with harness.client(tokens["nothing"]) as reader:
        for query in ("", "?sn=" + SN, "?pbx=branch", "?status=!x", "?q=Hidden"):
            assert (await (await reader.get(f"/api/v1/calls{query}")).json())["data"] == []
        assert (await reader.get("/api/v1/calls?scope=all")).status == 400
        assert (await reader.get("/api/v1/calls?numbers=1001")).status == 400


async def body(reader: aiohttp.ClientSession, path: str) -> str:
    answer = await reader.get(path)
    assert answer.status == 200, path
    return await answer.text()


async def test_no_name_of_a_pbx_leaks(harness: ConsoleHarness, tokens: dict[str, str]) -> None:
    """Not by the list to choose from, nor by a saved zone: only PBXs whose calls may be seen are named."""
    for name, known in (("extension", True), ("both", False), ("nothing", False)):
        async with harness.client(tokens[name]) as reader:
            for path in ("/", "/calls", "/reports", f"/calls/{SN}/{SHOWN_ID}"):
                answer = await reader.get(path)
                assert ("branch" in await answer.text()) <= known, (name, path)


async def test_no_other_site_changes_anything(harness: ConsoleHarness) -> None:
    """Whatever route: an administrator's cookie alone does nothing, a stranger does nothing, a reader does nothing."""
    reader = harness.appdb.add_token("reader", "reader", now_us=harness.clock.microseconds())
    jar = aiohttp.CookieJar(unsafe=True)
    asked = 0
    async with (
        harness.client("", cookie_jar=jar, headers={"Sec-Fetch-Site": "cross-site"}) as forged,
        harness.client("") as stranger,
        harness.client(reader) as other,
    ):
        await forged.get(f"/sign-in?token={harness.admin_token}")
        assert (await forged.get("/users")).status == 200
        for path, handler in handlers():
            filled = re.sub(r"\{\w+:int\}", "1", re.sub(r"\{\w+:str\}", "office", path))
            for method in handler.http_methods - {"GET", "OPTIONS"}:
                if not handler.opt.get("open"):
                    statuses = [(await one.request(str(method), filled)).status for one in (forged, stranger, other)]
                    assert statuses == [403, 401, 403], (method, path)
                    asked += 1
    assert asked > 40
    assert [pbx.sn for pbx in harness.appdb.pbxs()] == [SN]
