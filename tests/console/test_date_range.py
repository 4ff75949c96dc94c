"""The date range of a page: label, presets, steps; the calendar in a browser, by keyboard, and without scripts."""

import html
import re
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

import aiohttp
import pytest
from playwright.async_api import expect

from onhook.console.pages.date_range import DateRange, create_date_range
from tests.console.conftest import ConsoleHarness
from tests.console.test_pages import open_visit
from tests.factories import details

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 4, 29, 14, 30, tzinfo=UTC)
"""A Wednesday."""


def make_range(since: str = "", until: str = "", now: datetime = NOW, **options: str) -> DateRange:
    query = {name: text for name, text in (("since", since), ("until", until)) if text}
    return create_date_range("/calls", {**query, **options}, BERLIN, now, offers_all=True)


def step_of(url: str) -> tuple[str, str]:
    query = parse_qs(urlsplit(url).query)
    return query.get("since", [""])[0], query.get("until", [""])[0]


@pytest.mark.parametrize(
    ("since", "until", "label", "earlier", "later"),
    [
        ("", "", "All times", ("", ""), ("", "")),
        ("today", "", "Today", ("2026-04-28", "2026-04-29"), ("", "")),
        ("2026-04-29", "2026-04-30", "Today", ("2026-04-28", "2026-04-29"), ("", "")),
        ("2026-04-28", "2026-04-29", "Yesterday", ("2026-04-27", "2026-04-28"), ("2026-04-29", "2026-04-30")),
        ("6d", "", "7 days", ("2026-04-16", "2026-04-23"), ("", "")),
        ("2026-04-27", "", "This week", ("2026-04-24", "2026-04-27"), ("", "")),
        ("2026-04-20", "2026-04-27", "Last week", ("2026-04-13", "2026-04-20"), ("2026-04-27", "2026-05-04")),
        ("2026-04-01", "", "This month", ("2026-03-01", "2026-04-01"), ("", "")),
        ("2026-03-01", "2026-04-01", "Last month", ("2026-02-01", "2026-03-01"), ("2026-04-01", "2026-05-01")),
        ("2025-05-01", "", "12 months", ("2024-05-01", "2025-05-01"), ("", "")),
        ("2026-02-01", "2026-03-01", "February 2026", ("2026-01-01", "2026-02-01"), ("2026-03-01", "2026-04-01")),
        ("2026-03-29", "2026-03-30", "Sun 29 Mar 2026", ("2026-03-28", "2026-03-29"), ("2026-03-30", "2026-03-31")),
        (
            "2026-03-02", "2026-03-05", "Mon 2 Mar 2026 \N{EN DASH} Wed 4 Mar 2026",
            ("2026-02-27", "2026-03-02"), ("2026-03-05", "2026-03-08"),
        ),
        (
            "2026-04-27T10:00", "2026-04-27T12:00", "Mon 27 Apr 2026 10:00 \N{EN DASH} Mon 27 Apr 2026 12:00",
            ("2026-04-27T08:00:00+02:00", "2026-04-27T10:00:00+02:00"),
            ("2026-04-27T12:00:00+02:00", "2026-04-27T14:00:00+02:00"),
        ),
        ("", "2026-04-28", "Until Mon 27 Apr 2026", ("", ""), ("", "")),
        ("2026-04-24", "", "Since Fri 24 Apr 2026", ("2026-04-18", "2026-04-24"), ("", "")),
        ("2h", "", "Since Wed 29 Apr 2026 14:30", ("2026-04-29T12:30:00+02:00", "2026-04-29T14:30:00+02:00"), ("", "")),
        ("2026-04-20", "2026-04-20", "Mon 20 Apr 2026 \N{EN DASH} Sun 19 Apr 2026", ("", ""), ("", "")),
        ("soon", "", "Period", ("", ""), ("", "")),
        ("1990-01-01", "1990-01-02", "Mon 1 Jan 1990", ("", ""), ("1990-01-02", "1990-01-03")),
        ("0002-01-01", "9999-12-01", "Tue 1 Jan 2 \N{EN DASH} Tue 30 Nov 9999", ("", ""), ("", "")),
    ],
)  # fmt: skip
def test_date_range_label_and_steps(
    since: str, until: str, label: str, earlier: tuple[str, str], later: tuple[str, str]
) -> None:
    """Days begin in the reader's zone; months are stepped by months; no step leads to the future."""
    result = make_range(since, until)
    assert (result.label, step_of(result.earlier_url), step_of(result.later_url)) == (label, earlier, later)


def test_date_range_day_of_summer_time_is_whole() -> None:
    """A step of a day leads to the day before, also where that has 23 hours."""
    result = make_range("2026-03-30", "2026-03-31")
    assert (result.first_day, result.last_day) == ("2026-03-30", "2026-03-30")
    assert step_of(result.earlier_url) == ("2026-03-29", "2026-03-30")


def test_date_range_begins_where_the_page_does() -> None:
    result = create_date_range(
        "/reports", {"report": "week"}, BERLIN, NOW, since_default=datetime(2026, 4, 22, 22, tzinfo=UTC), compare="year"
    )
    assert (result.label, result.first_day, result.last_day, result.today) == (
        "7 days",
        "2026-04-23",
        "2026-04-29",
        "2026-04-29",
    )
    assert result.earlier_url == "/reports?report=week&since=2026-04-16&until=2026-04-23"
    assert [preset.name for preset in result.presets if preset.is_current] == ["7 days"]
    assert (result.compare, result.compare_day) == ("year", "")


def test_date_range_day_in_the_evening_is_that_of_the_reader() -> None:
    """At 22:30 in UTC it is tomorrow in Berlin."""
    assert make_range("today", now=datetime(2026, 4, 29, 22, 30, tzinfo=UTC)).today == "2026-04-30"


async def test_date_range_links_keep_the_filters(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """Presets and steps are links, without a script, on the pages Calls and Reports."""
    await harness.ingest_details([details()])
    for path in ("/calls?trunk=SIP-1&since=2026-04-20&until=2026-04-21", "/reports?trunk=SIP-1&since=2026-04-20"):
        text = await (await client.get(path)).text()
        hrefs = [html.unescape(href) for href in re.findall(r'href="([^"]*since=[^"]*)"', text)]
        steps = [href for href in hrefs if "since=2026-04-19" in href or "since=yesterday" in href]
        assert len(steps) >= 1, path
        assert all("trunk=SIP-1" in href for href in steps), path
        for href in steps:
            assert (await client.get(href)).status == 200, href


async def test_date_range_invalid_time_is_marked_in_the_open_panel(client: aiohttp.ClientSession) -> None:
    text = await (await client.get("/calls?since=soon", headers={"Accept": "text/html"})).text()
    assert re.search(r"<details data-date-range[^>]* open>", text, re.DOTALL)
    assert 'name="since" aria-invalid="true"' in text


@pytest.mark.slow
async def test_date_range_calendar_is_used_by_keyboard(harness: ConsoleHarness, chromium_path: str) -> None:
    """Two days are chosen with the arrow keys; Escape closes; the comparison is a choice with a day."""
    await harness.ingest_details([details()])
    async with open_visit(harness, chromium_path) as visit:
        page = visit.page
        await page.goto(f"{harness.url}/reports?since=2026-04-20&until=2026-04-25")
        summary = page.locator("details[data-date-range] summary")
        await summary.focus()
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("grid", name="Days")).to_be_visible()
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("grid", name="Days")).to_be_hidden()
        await expect(summary).to_be_focused()
        await page.keyboard.press("Enter")
        focused = page.locator("[data-day][tabindex='0']")
        await expect(focused).to_have_attribute("data-day", "2026-04-24")
        await focused.focus()
        for key in ("PageUp", "Home", "ArrowDown", "Enter", "End", "ArrowRight", "ArrowRight", "ArrowUp", "Enter"):
            await page.keyboard.press(key)
        # From 24 April: 24, 23, 30 March is the first day; 5, 6, 7 April and back a week, 31 March, is the last one.
        await expect(page.locator("input[name=since]")).to_have_value("2026-03-30")
        await expect(page.locator("input[name=until]")).to_have_value("2026-04-01")
        await expect(page.locator("[data-apply]")).to_be_focused()
        comparison = page.get_by_label("Compare with")
        await comparison.select_option("a chosen period")
        await page.get_by_label("First day").fill("2026-01-05")
        await page.locator("[data-apply]").focus()
        await page.keyboard.press("Enter")
        await expect(page.locator("details[data-date-range] summary")).to_have_text(
            "Mon 30 Mar 2026 \N{EN DASH} Tue 31 Mar 2026"
        )
        assert parse_qs(urlsplit(page.url).query)["compare"] == ["2026-01-05"]
        await expect(page.get_by_text("Compared with")).to_contain_text("Mon 5 Jan 2026")


@pytest.mark.slow
async def test_date_range_fields_work_without_scripts(harness: ConsoleHarness, chromium_path: str) -> None:
    await harness.ingest_details([details()])
    async with open_visit(harness, chromium_path, java_script_enabled=False) as visit:
        page = visit.page
        await page.goto(f"{harness.url}/calls")
        await page.locator("details[data-date-range] summary").click()
        await page.get_by_label("Since").fill("2026-04-01")
        await page.get_by_label("Before").fill("2026-05-01")
        await page.get_by_role("button", name="Apply").click()
        await expect(page.locator("details[data-date-range] summary")).to_have_text("April 2026")
        await page.get_by_role("link", name="Earlier period").click()
        await expect(page.locator("details[data-date-range] summary")).to_have_text("March 2026")
