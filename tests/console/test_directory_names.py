"""Names of the directory on calls, the page of a call, and reports; records stay as the PBX sent them."""

import csv
import io
from datetime import timedelta
from typing import Any

import pytest
from playwright.async_api import expect

from onhook.cdr.access_scope import AccessScope
from onhook.cdr.directory import DirectoryEntry
from onhook.console.pages.reports.kinds import KINDS
from tests.console.conftest import ConsoleHarness
from tests.console.test_pages import OUTPUT, open_visit, some_calls
from tests.factories import PBX, SN, STARTED_AT, details

CALL_ID = "1777287876.1"
CALLER = "+4930901820"
PERIOD = "since=2026-04-01&until=2026-05-01"
ENTRIES = (
    DirectoryEntry(number="030 901820", kind="contact", name="Carol", company="ACME"),
    DirectoryEntry(sn=SN, number="1001", name="Alice Smith"),
    DirectoryEntry(sn=SN, number="6400", kind="queue", name="Support"),
    DirectoryEntry(sn=SN, number="+4930555000", kind="did", name="Hotline"),
)


async def add_calls(harness: ConsoleHarness) -> None:
    """Add a call of a contact by a queue to an extension, one that is missed, and an outgoing one; without names."""
    inbound: dict[str, Any] = {"src_trunk_name": "sip", "type": "Inbound", "did_number": "+4930555000"}
    await harness.ingest_details(
        [
            details(call_id=CALL_ID, call_from=CALLER, call_to="6400", talk_duration=0, **inbound),
            details(call_id=CALL_ID, call_from=CALLER, call_to="1001", **inbound),
            details(
                call_id="1777287876.2", call_from=CALLER, call_to="1002", status="NO ANSWER", talk_duration=0, **inbound
            ),
            details(
                STARTED_AT + timedelta(minutes=5),
                call_id="1777287876.3",
                call_from="1001",
                call_to=CALLER,
                dst_trunk_name="sip",
                type="Outbound",
            ),
        ]
    )
    await harness.appdb.directory.put(ENTRIES)


async def read_report(harness: ConsoleHarness, name: str) -> list[dict[str, str]]:
    async with harness.client() as client:
        text = await (await client.get(f"/reports.csv?report={name}&{PERIOD}")).text()
    return list(csv.DictReader(io.StringIO(text)))


@pytest.mark.parametrize(
    ("name", "column", "expected"),
    [
        ("extensions", "Extension", ["Alice Smith (1001)", "1002"]),
        ("queues", "Queue", ["Support (6400)", "Total"]),
        ("agents", "Agent", ["Alice Smith (1001)", "Total"]),
        ("agents", "Queue", ["Support (6400)", ""]),
        ("callers", "Caller", [f"Carol, ACME ({CALLER})", "Alice Smith (1001)"]),
        ("dids", "DID", ["Hotline (+4930555000)"]),
        ("pbxs", "PBX", [PBX]),
        ("unreturned", "From", []),
        ("returned", "From", [f"Carol, ACME ({CALLER})"]),
    ],
)
async def test_report_file_has_names(harness: ConsoleHarness, name: str, column: str, expected: list[str]) -> None:
    await add_calls(harness)
    assert [row[column] for row in await read_report(harness, name)] == expected


async def test_did_has_its_name_on_pages(harness: ConsoleHarness) -> None:
    await add_calls(harness)
    async with harness.client() as client:
        for path in (f"/calls?{PERIOD}&columns=did", f"/calls/{SN}/{CALL_ID}", f"/missed?{PERIOD}&show=done"):
            text = await (await client.get(path)).text()
            assert "Hotline" in text, path


async def test_report_api_has_number_and_name_apart(harness: ConsoleHarness) -> None:
    await add_calls(harness)
    async with harness.client() as client:
        report = await (await client.get(f"/api/v1/reports?report=extensions&{PERIOD}")).json()
    first, second = report["data"]
    assert (first[0]["value"], first[0]["name"]) == ("1001", "Alice Smith")
    assert (second[0]["value"], "name" in second[0]) == ("1002", False)


async def test_calls_and_records_of_the_api_stay_as_sent(harness: ConsoleHarness) -> None:
    await add_calls(harness)
    async with harness.client() as client:
        calls = (await (await client.get("/api/v1/calls")).json())["data"]
        records = await (await client.get("/api/v1/export.csv")).text()
    assert {(call["call_from"], call["call_to"]) for call in calls} >= {(CALLER, "6400"), ("1001", CALLER)}
    assert ("Alice Smith" in records, "Carol" in records) == (False, False)


async def test_export_with_names_has_what_the_console_shows(harness: ConsoleHarness) -> None:
    """In each form of CSV; a mask of the export is one of the names too. The page links to files with names."""
    await add_calls(harness)
    async with harness.client() as client:
        page = await (await client.get(f"/calls?{PERIOD}")).text()
        assert "names=yes" in page
        text = await (await client.get("/api/v1/export.csv?names=yes")).text()
        excel = await (await client.get("/api/v1/export.csv?names=yes&excel=comma")).text()
        masked = await (await client.get("/api/v1/export.csv?names=yes&mask=last3")).text()
        assert (await client.get("/api/v1/export.csv?names=maybe")).status == 400
    names = [(row["call_from_name"], row["call_to_name"]) for row in csv.DictReader(io.StringIO(text))]
    assert names == [
        ("Carol, ACME", "Support"),
        ("Carol, ACME", "Alice Smith"),
        ("Carol, ACME", ""),
        ("Alice Smith", "Carol, ACME"),
    ]
    assert [(row["call_from_name"], row["call_to_name"]) for row in csv.DictReader(io.StringIO(excel))] == names
    assert ("Alice Smith" in masked, "Carol" in masked) == (True, False)


@pytest.mark.parametrize("mask", ["last3", "hash"])
async def test_masked_reader_sees_names_of_extensions_alone(harness: ConsoleHarness, mask: Any) -> None:
    await add_calls(harness)
    token = await harness.appdb.tokens.add(
        "masked", "reader", now_us=harness.clock.microseconds(), scope=AccessScope(mask=mask)
    )
    async with harness.client(token) as reader:
        paths = [f"/calls?{PERIOD}", f"/calls/{SN}/{CALL_ID}", *(f"/reports?report={name}&{PERIOD}" for name in KINDS)]
        texts = [await (await reader.get(path)).text() for path in paths]
    assert [path for path, text in zip(paths, texts, strict=True) if "Carol" in text or "901820" in text] == []
    assert "Alice Smith" in texts[0]


async def test_limited_reader_sees_no_name_of_another_pbx(harness: ConsoleHarness) -> None:
    """A number without a PBX in its row has the name of the PBX in scope, or none."""
    await harness.appdb.add_pbx(name="branch", sn="3699OTHER", secret="s" * 32, now_us=1)
    await harness.ingest_details([details(call_from="1001", call_to="1002")])
    await harness.appdb.directory.put([DirectoryEntry(sn="3699OTHER", number="1001", name="Hidden")])
    scope = AccessScope(sns=(SN,))
    token = await harness.appdb.tokens.add("limited", "reader", now_us=harness.clock.microseconds(), scope=scope)
    async with harness.client(token) as reader:
        for path in (f"/calls?{PERIOD}", *(f"/reports?report={name}&{PERIOD}" for name in KINDS)):
            answer = await reader.get(path)
            assert (answer.status, "Hidden" in await answer.text()) == (200, False), path


@pytest.mark.slow
async def test_pages_show_names(harness: ConsoleHarness, chromium_path: str) -> None:
    """A name that is set while the page is open is shown after it is loaded again, on calls of before too."""
    await add_calls(harness)
    await harness.ingest_details([details(some_calls()[0], call_from="1001", call_to="1003")])
    async with open_visit(harness, chromium_path, viewport={"width": 1280, "height": 900}) as visit:
        page = visit.page
        await page.goto(f"{harness.url}/calls?{PERIOD}")
        call = page.locator(f"tr[data-key='{SN} {CALL_ID}']")
        await expect(call.locator(".from .name")).to_have_text("Carol, ACME")
        await expect(call.locator(".from .number")).to_have_text(CALLER)
        await expect(call.locator(".to .name")).to_have_text("Support")
        await expect(call.locator(".answered-by .name")).to_have_text("Alice Smith")
        await page.screenshot(path=OUTPUT / "directory-calls.png", full_page=True)
        await page.goto(f"{harness.url}/calls/{SN}/{CALL_ID}")
        await expect(page.get_by_role("heading", level=1)).to_contain_text("Carol, ACME")
        await expect(page.locator(".leglabel").nth(1)).to_contain_text("Alice Smith")
        await page.screenshot(path=OUTPUT / "directory-call.png", full_page=True)
        await page.goto(f"{harness.url}/reports?report=extensions&{PERIOD}")
        await expect(page.get_by_role("rowheader").first).to_have_text("Alice Smith 1001")
        await page.screenshot(path=OUTPUT / "directory-report.png", full_page=True)
        await page.goto(harness.url)
        await expect(page.locator("tr.call .from .name").first).to_have_text("Alice Smith")
        await harness.appdb.directory.put([DirectoryEntry(sn=SN, number="1001", name="Alice Jones")])
        await page.reload()
        await expect(page.locator("tr.call .from .name").first).to_have_text("Alice Jones")
