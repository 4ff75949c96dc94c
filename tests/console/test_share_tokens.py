"""Share tokens: exports in a URL, of a search, and nothing else."""

import html
from datetime import timedelta

import aiohttp
import pytest

from onhook.appdb.tokens import EXPORT_FILTER_EXAMPLE
from onhook.cdr.access_scope import AccessScope
from tests.console.conftest import ConsoleHarness
from tests.factories import details

ANONYMOUS = ""


async def share(harness: ConsoleHarness, export_filter: str = "", scope: AccessScope | None = None) -> str:
    """Store an answered and a busy call, and return a share token."""
    await harness.ingest_details([details(call_from="1001"), details(call_from="1005", status="BUSY")])
    return await harness.appdb.tokens.add("sheet", "reader", now_us=1, scope=scope, export_filter=export_filter)


async def exported(harness: ConsoleHarness, query: str, export_format: str = "csv") -> tuple[int, str]:
    async with (
        harness.client(ANONYMOUS) as client,
        client.get(f"/api/v1/export.{export_format}?{query}") as answer,
    ):
        return answer.status, (await answer.read()).decode(errors="replace")


@pytest.mark.parametrize("export_format", ["csv", "jsonl", "parquet", "xlsx"])
async def test_share_token_opens_every_export(harness: ConsoleHarness, export_format: str) -> None:
    token = await share(harness)
    assert (await exported(harness, f"token={token}", export_format))[0] == 200


async def test_share_token_is_limited_to_its_search(harness: ConsoleHarness) -> None:
    """A request adds conditions; it changes none, and no time zone in which they are read."""
    token = await share(harness, "status=BUSY&since=2020-01-01")
    status, text = await exported(harness, f"token={token}")
    assert (status, "1005" in text, "1001," in text) == (200, True, False)
    status, text = await exported(harness, f"token={token}&number=1001")
    assert (status, text.count("\r\n")) == (200, 1)
    assert (await exported(harness, f"token={token}&status=BUSY"))[0] == 200
    for addition in ("status=", "status=ANSWERED", "since=2019-01-01", "zone=Asia/Tokyo"):
        assert (await exported(harness, f"token={token}&{addition}"))[0] == 403


async def test_share_token_search_of_the_example_finds_missed_calls(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    """The example of page, hint and command line; a word that no PBX reports is rejected."""
    await harness.ingest_details(
        [details(harness.clock.now() - timedelta(hours=1), call_from="1005", status="BUSY", type="Inbound")]
    )
    example = EXPORT_FILTER_EXAMPLE
    assert f"all; or {example}" in html.unescape(await (await client.get("/users")).text())
    body = {"name": "sheet", "export_filter": example}
    text = (await (await client.post("/api/v1/tokens", json=body)).json())["text"]
    status, exported_text = await exported(harness, f"token={text}")
    assert (status, "1005" in exported_text) == (200, True)
    answer = await client.post("/api/v1/tokens", json=body | {"name": "other", "export_filter": "status=missed"})
    assert (answer.status, "!answered" in (await answer.json())["hint"]) == (400, True)


async def test_share_token_of_one_call_finds_no_other_one_by_free_text(harness: ConsoleHarness) -> None:
    token = await share(harness, "call_id=1777287876.1")
    await harness.ingest_details([details(call_id="1777287876.15"), details(call_id="1777287876.1", call_to="1009")])
    for addition, count in (("", 1), ("&q=1777287876.1", 1), ("&q=1777287876.15", 0)):
        status, text = await exported(harness, f"token={token}{addition}")
        assert (status, text.count("\r\n") - 1) == (200, count), text


async def test_share_token_is_limited_to_its_scope(harness: ConsoleHarness) -> None:
    token = await share(harness, scope=AccessScope(numbers=("1005",)))
    _status, text = await exported(harness, f"token={token}")
    assert ("1005" in text, "1001," in text) == (True, False)


async def test_share_token_opens_nothing_else(harness: ConsoleHarness) -> None:
    """Not in the header, not in the URL of another route, and it signs in to nothing."""
    token = await share(harness)
    async with harness.client(token) as client:
        for path in ("/api/v1/records", "/api/v1/export.csv", "/api/v1/live", "/"):
            assert (await client.get(path)).status == 401
    async with harness.client(ANONYMOUS) as client:
        for path in ("/api/v1/records", "/api/v1/live", "/api/v1/calls", "/api/v1/audit", "/reports.csv", "/metrics"):
            assert (await client.get(f"{path}?token={token}")).status == 401
        assert (await client.get(f"/sign-in?token={token}")).status == 401
        assert (await client.post("/sign-in", data={"token": token})).status == 401


async def test_share_token_that_is_removed_or_another_token_is_rejected(harness: ConsoleHarness) -> None:
    token = await share(harness)
    await harness.appdb.tokens.remove("sheet")
    assert (await exported(harness, f"token={token}"))[0] == 401
    assert (await exported(harness, f"token={harness.admin_token}"))[0] == 401
    async with harness.client() as client, client.get("/api/v1/export.csv") as answer:
        assert (answer.status, len(await answer.read()) > 0) == (200, True)


async def test_share_token_is_added_by_the_api(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """A filter that is none is rejected, and so is an administrator's."""
    body = {"name": "sheet", "export_filter": "/calls?status=BUSY&sort=-talk_duration"}
    async with client.post("/api/v1/tokens", json=body) as answer:
        added = await answer.json()
    assert added["token"]["export_filter"] == "status=BUSY"
    assert (await exported(harness, f"token={added['text']}"))[0] == 200
    for wrong in ({"export_filter": "colour=red"}, {"export_filter": "since=never"}, {"role": "administrator"}):
        async with client.post("/api/v1/tokens", json={"name": "other", "export_filter": "", **wrong}) as answer:
            assert answer.status == 400


async def test_share_token_is_created_on_the_page(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """A wrong filter is an error on the page."""
    form = {"name": "sheet", "role": "reader", "is_share": "true", "export_filter": "status=BUSY"}
    async with client.post("/users/tokens", data=form) as answer:
        text = (await answer.text()).partition("<code data-copy=")[2].partition(">")[2].partition("<")[0]
    assert (await exported(harness, f"token={text}"))[0] == 200
    async with client.post("/users/tokens", data=form | {"name": "other", "export_filter": "colour=red"}) as answer:
        assert "is no filter of exports" in await answer.text()
    assert [token.name for token in await harness.appdb.tokens.all()] == ["admin", "sheet"]


async def test_export_for_excel_keeps_leading_zeros(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """With a mark, the requested separator, and numbers that are texts as formulas of a text."""
    await harness.ingest_details([details(call_from="0049301234", call_to="+15550100", call_id="1777287876.10")])
    async with client.get("/api/v1/export.csv?excel=semicolon") as answer:
        body = await answer.read()
    assert body.startswith(b"\xef\xbb\xbf")
    header, row = body.decode("utf-8-sig").splitlines()
    assert header.startswith("sn;pbx;") or ";call_from;" in header
    for text in ("0049301234", "+15550100", "1777287876.10"):
        assert f'"=""{text}"""' in row
    async with client.get("/api/v1/export.csv?excel=comma") as answer:
        assert '"=""0049301234"""' in (await answer.read()).decode()
    assert (await client.get("/api/v1/export.csv?excel=tab")).status == 400
    assert (await client.get("/api/v1/export.xlsx?excel=comma")).status == 400
