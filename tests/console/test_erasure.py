"""`/erasure` and `/api/v1/erasures`: a number is erased by administrators, after a preview."""

import asyncio
import json

import aiohttp
import pytest
from playwright.async_api import Page, expect

from tests.console.conftest import ConsoleHarness
from tests.console.test_accessible import AXE, SERIOUS
from tests.console.test_layout import CUT_TABLES, SPILLING_TEXTS
from tests.console.test_pages import OUTPUT, open_visit
from tests.factories import details

NUMBER = "0301234567"


async def test_erasures_api_previews_erases_and_lists(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    await harness.ingest_details([details(call_from=f"Alice<{NUMBER}>"), details()])
    async with client.post("/api/v1/erasures/preview", json={"number": "+49 30 1234567"}) as response:
        preview = await response.json()
    assert (response.status, preview["calls"], preview["raw_events"]) == (200, 1, 1)
    async with client.post("/api/v1/erasures", json={"number": NUMBER, "calls": 1}) as response:
        assert (response.status, await response.json()) == (201, preview)
    async with client.get("/api/v1/calls") as response:
        assert sorted(call["call_from"] for call in (await response.json())["data"]) == ["Alice<1001>", "erased"]
    async with client.get("/api/v1/erasures") as response:
        (erasure,) = (await response.json())["data"]
    assert (erasure["calls"], erasure["state"]) == (1, "erasing")
    async with client.get("/api/v1/audit") as response:
        entries = (await response.json())["data"]
    assert entries[0]["action"] == "erase a number: calls: 1, raw events: 1"
    assert NUMBER not in str(entries)


async def test_erasures_api_invalid_numbers_are_refused(client: aiohttp.ClientSession) -> None:
    for number, status, word in (("7", 400, "2 digits"), ("Alice12", 400, "telephone"), (NUMBER, 404, "nothing")):
        async with client.post("/api/v1/erasures/preview", json={"number": number}) as response:
            assert response.status == status
            assert word in (await response.json())["detail"]


async def test_erasures_are_for_administrators(harness: ConsoleHarness) -> None:
    token = await harness.appdb.tokens.add("program", "reader", now_us=1)
    async with harness.client(token) as reader:
        for path in ("/api/v1/erasures", "/erasure"):
            assert (await reader.get(path)).status == 403
        for path in ("/api/v1/erasures", "/api/v1/erasures/preview"):
            assert (await reader.post(path, json={"number": NUMBER})).status == 403
        for path in ("/erasure", "/erasure/preview"):
            assert (await reader.post(path, data={"number": NUMBER})).status == 403


async def test_erasure_page_previews_and_erases(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    await harness.ingest_details([details(call_from=f"Alice<{NUMBER}>")])
    page = await (await client.get("/erasure")).text()
    assert "about the past" in page
    preview = await (await client.post("/erasure/preview", data={"number": NUMBER})).text()
    assert "Calls, which stay without it: 1" in preview
    assert "Erase the number" in preview
    erased = await (await client.post("/erasure", data={"number": NUMBER, "calls": "1"})).text()
    assert "The number was erased from" in erased
    assert NUMBER not in erased
    failed = await (await client.post("/erasure/preview", data={"number": NUMBER})).text()
    assert "Nothing that is stored has this number" in failed


@pytest.mark.slow
async def test_erasure_page_is_walked(harness: ConsoleHarness, chromium_path: str) -> None:
    """A person erases a number, at a telephone's width: each step can be read, and used by keyboard."""
    await harness.ingest_details([details(call_from=f"Alice<{NUMBER}>")])
    script = await asyncio.to_thread(AXE.read_text)
    async with open_visit(harness, chromium_path, viewport={"width": 390, "height": 844}) as visit:
        page = visit.page
        await page.goto(f"{harness.url}/audit")
        await page.get_by_role("link", name="Erase a number").click()
        await check_page(page, script, "form")
        await page.get_by_label("Number, in any notation").fill("030 / 123 45 67")
        await page.keyboard.press("Enter")
        await expect(page.get_by_text("Calls, which stay without it: 1")).to_be_visible()
        await check_page(page, script, "preview")
        await page.get_by_role("button", name="Erase the number").press("Enter")
        await expect(page.get_by_role("status").filter(has_text="The number was erased from")).to_be_visible()
        await expect(page.get_by_role("cell", name="erasing")).to_be_visible()
        await check_page(page, script, "erased")
        await page.goto(f"{harness.url}/calls")
        await expect(page.get_by_text("erased").first).to_be_visible()
        assert NUMBER not in await page.content()


async def check_page(page: Page, script: str, step: str) -> None:
    """Save a screenshot; check that nothing is cut, and nothing serious is found by axe."""
    await page.screenshot(path=OUTPUT / f"erasure-{step}.png", full_page=True)
    assert await page.evaluate(SPILLING_TEXTS) == []
    assert await page.evaluate(CUT_TABLES) == []
    await page.evaluate(script)
    violations = json.loads(await page.evaluate("axe.run().then((result) => JSON.stringify(result.violations))"))
    assert [violation["id"] for violation in violations if violation["impact"] in SERIOUS] == []
