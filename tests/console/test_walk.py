"""All pages in a browser: without scripts, by keyboard, on paper. Slow; the short test is in test_pages.py."""

import re
import wave
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from onhook.store.sql.contract import WALL_SECONDS_MAX
from tests.console.all_pages import CALL_ID, PAGES, add_sample_data
from tests.console.conftest import ConsoleHarness
from tests.console.test_pages import OUTPUT, open_visit
from tests.factories import SN, details

A4 = {"width": 794, "height": 1123}
"""In CSS pixels, 96 per inch."""

pytestmark = pytest.mark.slow


async def press(page: Page, role: str, name: str) -> None:
    """Focus a control and press Enter."""
    control = page.get_by_role(role, name=name, exact=True).first  # type: ignore[arg-type] # a text that is a role
    await control.focus()
    assert await page.evaluate("document.activeElement !== document.body"), name
    await page.keyboard.press("Enter")


async def test_walk_all_tasks_work_without_scripts(harness: ConsoleHarness, chromium_path: str) -> None:
    """Search, choose columns, read reports, write notes, add a PBX."""
    await add_sample_data(harness)
    async with open_visit(harness, chromium_path, java_script_enabled=False) as visit:
        page = visit.page
        for name, path in PAGES.items():
            answer = await page.goto(harness.url + path)
            assert answer is not None
            assert answer.status == 200, name
            assert len((await page.locator("main").inner_text()).strip()) > 40, name
        await page.goto(harness.url + "/calls")
        await page.get_by_label("Number, name or call id").fill("Alice")
        await page.get_by_role("button", name="Search").click()
        await expect(page.get_by_text("Searching for")).to_be_visible()
        await page.get_by_text("Columns", exact=True).click()
        await page.get_by_role("button", name="Legs").click()
        await expect(page.get_by_role("columnheader", name="Legs")).to_be_visible()
        await page.goto(f"{harness.url}/calls/{SN}/{CALL_ID}")
        await page.get_by_text("Change note").click()
        await page.locator("textarea[name=text]").fill("called back")
        await page.get_by_role("button", name="Save").click()
        await expect(page.locator("blockquote.note")).to_contain_text("called back")
        await page.goto(harness.url + "/reports")
        await page.locator("details[data-date-range] summary").click()
        await page.get_by_label("Since").fill("today")
        await page.get_by_role("button", name="Show").click()
        await expect(page.locator("table.figures")).to_be_visible()
        await page.goto(harness.url + "/pbxs")
        await page.get_by_label("Name", exact=True).fill("branch")
        await page.get_by_label("Serial number").fill("3699NEW")
        await page.get_by_role("button", name="Add", exact=True).click()
        await expect(page.locator(".secret")).to_be_visible()
        await page.get_by_role("link", name="Wait for the test event").click()
        await expect(page.get_by_text("Nothing received yet")).to_be_visible()


async def test_walk_all_tasks_work_by_keyboard(harness: ConsoleHarness, chromium_path: str) -> None:
    """Each control can be focused and pressed."""
    await add_sample_data(harness)
    async with open_visit(harness, chromium_path) as visit:
        page = visit.page
        await press(page, "link", "PBXs")
        await page.get_by_role("link", name="office", exact=True).focus()
        await page.keyboard.press("Enter")
        await press(page, "button", "Run diagnostics")
        await expect(page.get_by_role("heading", name="Results")).to_be_visible()
        await press(page, "button", "Send test event")
        await expect(page.get_by_role("alert")).to_be_visible()
        await press(page, "button", "Add secret")
        await expect(page.locator(".secret")).to_be_visible()
        await press(page, "link", "Users")
        await page.get_by_label("Name", exact=True).first.focus()
        await page.keyboard.type("Carol")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", name="Send this link to")).to_be_visible()
        await press(page, "link", "SQL")
        await page.get_by_label("Query").focus()
        await page.keyboard.type("SELECT count(*) FROM calls")
        await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        await expect(page.get_by_text("1 row")).to_be_visible(timeout=WALL_SECONDS_MAX * 1000)
        await press(page, "link", "Quarantine")
        await page.get_by_role("button", name=re.compile("Retry")).first.focus()
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("status").filter(has_text="0 of 1 events were parsed.")).to_be_visible()
        await press(page, "link", "Destinations")
        await page.get_by_label("Name").first.focus()
        await page.keyboard.type("CRM")
        await page.get_by_label("URL of its webhook").focus()
        await page.keyboard.type("https://crm.example.com/calls")
        await page.keyboard.press("Enter")
        await expect(page.get_by_text("CRM").first).to_be_visible()


async def test_walk_recording_plays(harness: ConsoleHarness, chromium_path: str, tmp_path: Path) -> None:
    """The player of the page uses range requests; the policy of the page blocks nothing."""
    with wave.open(str(tmp_path / "call.wav"), "wb") as wave_file:
        wave_file.setparams((1, 2, 8_000, 0, "NONE", ""))
        wave_file.writeframes(bytes(2 * 8_000 * 60))
    await harness.appdb.recordings.put(SN, tmp_path)
    await harness.ingest_details([details(call_id=CALL_ID, recording="call.wav")])
    async with open_visit(harness, chromium_path) as visit:
        page = visit.page
        await page.goto(f"{harness.url}/calls/{SN}/{CALL_ID}")
        player = page.locator("audio")
        # Seek to a part that is not loaded yet: the browser requests that range.
        await player.evaluate("player => { player.muted = true; player.currentTime = 50; return player.play(); }")
        await player.evaluate("player => new Promise(played => player.addEventListener('timeupdate', played))")
        assert await player.evaluate("player => player.currentTime") >= 50
        assert await player.evaluate("player => Math.round(player.duration)") == 60


@pytest.mark.parametrize("report_name", ["volume", "week", "extensions", "outcomes"])
async def test_walk_report_prints_on_paper(harness: ConsoleHarness, chromium_path: str, report_name: str) -> None:
    """Only the report is printed, as wide as the page; the file is saved."""
    await add_sample_data(harness)
    async with open_visit(harness, chromium_path, color_scheme="dark", viewport=A4) as visit:
        page = visit.page
        await page.goto(f"{harness.url}/reports?report={report_name}")
        await page.emulate_media(media="print")
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "wider than the paper"
        for hidden in ("nav", "form.search", ".bottom", ".files"):
            assert not await page.locator(hidden).first.is_visible(), hidden
        assert await page.locator("table.figures").is_visible()
        pdf = await page.pdf(path=OUTPUT / f"report-{report_name}.pdf", format="A4")
        assert pdf.startswith(b"%PDF")
