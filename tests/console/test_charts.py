"""Charts: the period of a page is narrowed in them, and they are saved as files."""

import html
import json
import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
from playwright.async_api import Page, expect

from onhook.cdr.access_scope import AccessScope
from onhook.cdr.record_filter import RecordFilter
from onhook.console.pages import formatting
from onhook.console.pages.reports.spread import TALK_EDGES, WAIT_EDGES
from tests.console.conftest import ConsoleHarness
from tests.console.test_pages import OUTPUT, open_visit
from tests.factories import details

BEGIN = datetime(2026, 10, 25, 22, tzinfo=UTC)
DAYS = "since=2026-10-26&until=2026-10-30"
"""Four days; the first one begins at BEGIN."""

VALUES = (None, 0, 1, 59, 60, 999, 1_000, 3_599, 3_600, 86_400, 1_234_567)
SHARES = (None, 0, 0.5, 0.873_5, 0.999_9, 1)


async def add_calls(harness: ConsoleHarness) -> None:
    """Add some calls of each of the four days, from 1001 and 1003."""
    hours = [24 * day + hour for day in range(4) for hour in (9, 10, 15)[: 3 - day % 2]]
    await harness.ingest_details(
        [details(BEGIN + timedelta(hours=hour), call_from=("1001", "1003")[hour % 2]) for hour in hours]
    )


def chart_of(page: str) -> Any:
    """Return the chart in a page."""
    match = re.search(r'data-chart="([^"]+)"', page)
    assert match
    return json.loads(html.unescape(match[1]))


def period_of(url: str) -> tuple[str, str]:
    query = parse_qs(urlsplit(url).query)
    return query["since"][0], query["until"][0]


@pytest.mark.parametrize(
    "path",
    [
        f"/reports?report=volume&by=day&{DAYS}",
        f"/reports?report=quality&by=hour&{DAYS}",
        f"/?tiles=timeline:12&{DAYS}",
    ],
)
async def test_chart_steps_along_the_time_are_the_periods_of_their_links(
    harness: ConsoleHarness, client: aiohttp.ClientSession, path: str
) -> None:
    """They follow each other without a gap."""
    await add_calls(harness)
    chart = chart_of(await (await client.get(path)).text())
    spans = [(span["since"], span["until"]) for span in chart["spans"]]
    assert spans == [period_of(link) for link in chart["links"]]
    assert [until for _since, until in spans[:-1]] == [since for since, _until in spans[1:]]
    assert (spans[0][0], spans[-1][1]) == ("2026-10-26T00:00:00+01:00", "2026-10-30T00:00:00+01:00")


async def test_chart_of_concurrent_calls_has_steps_and_others_have_none(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    await add_calls(harness)
    spans = chart_of(await (await client.get(f"/reports?report=concurrent&by=day&{DAYS}")).text())["spans"]
    assert [span["since"][:10] for span in spans] == [f"2026-10-{day}" for day in range(26, 30)]
    chart = chart_of(await (await client.get(f"/reports?report=talk&{DAYS}")).text())
    assert (chart["spans"], chart["axis_title"]) == ([], "Seconds")


@pytest.mark.parametrize("edges", [WAIT_EDGES, TALK_EDGES])
def test_chart_bins_are_equal(edges: tuple[int, ...]) -> None:
    assert len({high - low for low, high in pairwise(edges)}) == 1


async def test_chart_of_a_limited_user_holds_what_the_page_holds(harness: ConsoleHarness) -> None:
    """A file is made of the chart in the page."""
    await add_calls(harness)
    now_us, scope = harness.clock.microseconds(), AccessScope(numbers=("1001",))
    token = await harness.appdb.tokens.add("limited", "reader", now_us=now_us, scope=scope)
    async with harness.client(token) as reader:
        chart = chart_of(await (await reader.get(f"/reports?report=callers&{DAYS}")).text())
        volume = chart_of(await (await reader.get(f"/reports?report=volume&by=day&{DAYS}")).text())
    assert chart["labels"] == ["1001"]
    calls = (await harness.store.calls(RecordFilter(call_from="1001"), 100)).data
    assert sum(sum(series["values"]) for series in volume["series"]) == len(calls)


async def select_with_mouse(page: Page, first: float, last: float) -> None:
    """Drag over a chart, between two parts of its width."""
    box = await page.locator("figure.chart").bounding_box()
    assert box
    y = box["y"] + box["height"] / 2
    await page.mouse.move(box["x"] + first * box["width"], y)
    await page.mouse.down()
    await page.mouse.move(box["x"] + (first + last) / 2 * box["width"], y)
    await page.mouse.move(box["x"] + last * box["width"], y)
    await expect(page.locator(".chart-selection")).to_be_visible()
    await page.screenshot(path=OUTPUT / "chart-selection.png")
    await page.mouse.up()


@pytest.mark.slow
async def test_chart_selection_narrows_the_period_with_mouse_and_keyboard(
    harness: ConsoleHarness, chromium_path: str
) -> None:
    """Two days of a report with the mouse, then hours of the dashboard with the keyboard."""
    await add_calls(harness)
    async with open_visit(harness, chromium_path) as visit:
        page = visit.page
        await page.goto(f"{harness.url}/reports?report=volume&by=day&{DAYS}")
        await expect(page.locator("figure.chart[data-rendered]")).to_be_visible()
        await select_with_mouse(page, 0.4, 0.6)
        await page.wait_for_url(re.compile("2026-10-27"))
        assert period_of(page.url) == ("2026-10-27T00:00:00+01:00", "2026-10-29T00:00:00+01:00")
        await expect(page.locator("details[data-date-range] summary")).to_contain_text("Tue 27 Oct 2026")
        await page.goto(f"{harness.url}/?tiles=timeline:12&since=2026-10-26&until=2026-10-27")
        await page.get_by_role("button", name="Select a period").focus()
        await page.keyboard.press("Enter")
        status = page.locator(".chart-tools [role=status]")
        await expect(status).to_contain_text("23:00. Arrow keys move")
        for key in ("Home", "ArrowRight", "Shift+ArrowRight", "Shift+ArrowRight", "ArrowLeft", "Shift+ArrowRight"):
            await page.keyboard.press(key)
        await expect(status).to_have_text("02:00 – 03:00")  # noqa: RUF001 - a dash between times
        await page.keyboard.press("Escape")
        await expect(page.locator(".chart-selection")).to_be_hidden()
        for key in ("Enter", "Home", "Shift+ArrowRight", "Enter"):
            await page.keyboard.press(key)
        await page.wait_for_url(re.compile("T02"))
        assert period_of(page.url) == ("2026-10-26T00:00:00+01:00", "2026-10-26T02:00:00+01:00")


async def drag_finger(page: Page, first: float, last: float) -> None:
    """Drag one finger over a chart, between two parts of its width."""
    box = await page.locator("figure.chart").bounding_box()
    assert box
    devtools = await page.context.new_cdp_session(page)
    y = box["y"] + box["height"] / 2
    places = [box["x"] + part * box["width"] for part in (first, (first + last) / 2, last)]
    for event, x in zip(("touchStart", "touchMove", "touchMove"), places, strict=True):
        await devtools.send("Input.dispatchTouchEvent", {"type": event, "touchPoints": [{"x": x, "y": y}]})
    await devtools.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


@pytest.mark.slow
async def test_chart_selection_narrows_the_period_with_a_finger(harness: ConsoleHarness, chromium_path: str) -> None:
    """Once the selection is switched on; until then a finger scrolls the page."""
    await add_calls(harness)
    screen = {"viewport": {"width": 390, "height": 900}, "has_touch": True, "is_mobile": True}
    async with open_visit(harness, chromium_path, **screen) as visit:
        page = visit.page
        await page.goto(f"{harness.url}/reports?report=volume&by=day&{DAYS}")
        await expect(page.locator("figure.chart[data-rendered]")).to_be_visible()
        await page.locator("figure.chart").scroll_into_view_if_needed()
        address = page.url
        await drag_finger(page, 0.4, 0.6)
        assert page.url == address
        await expect(page.locator(".chart-selection")).to_be_hidden()
        await page.get_by_role("button", name="Select a period").tap()
        await page.locator("figure.chart").scroll_into_view_if_needed()
        await page.screenshot(path=OUTPUT / "chart-touch.png")
        await drag_finger(page, 0.4, 0.6)
        await page.wait_for_url(re.compile("2026-10-27T00"))
        since, until = period_of(page.url)
        assert since == "2026-10-27T00:00:00+01:00"
        assert until >= "2026-10-28"


@pytest.mark.slow
async def test_chart_is_saved_as_png_and_svg_in_the_forms_of_the_page(
    harness: ConsoleHarness, chromium_path: str
) -> None:
    """The name of a file says what it is; a chart without values says so; scripts and server write values alike."""
    await add_calls(harness)
    async with open_visit(harness, chromium_path) as visit:
        page = visit.page
        await page.goto(f"{harness.url}/reports?report=volume&by=day&{DAYS}")
        for name in ("PNG", "SVG"):
            async with page.expect_download() as download_info:
                await page.get_by_role("button", name=f"Save the chart as {name}").click()
            download = await download_info.value
            assert download.suggested_filename == f"volume-2026-10-26-to-2026-10-29.{name.lower()}"
            await download.save_as(OUTPUT / f"chart.{name.lower()}")
        assert (OUTPUT / "chart.png").read_bytes().startswith(b"\x89PNG")
        drawing = (OUTPUT / "chart.svg").read_text()
        for text in ("Volume", "Mon 26 Oct 2026", "Answered", "Missed"):
            assert text in drawing
        for unit, values in (("count", VALUES), ("seconds", VALUES), ("share", SHARES)):
            formatted = await page.evaluate(
                "([unit, values]) => values.map((value) => onhookFormatValue(unit, value))", [unit, list(values)]
            )
            assert formatted == [formatting.format_value(value, unit) for value in values]
        await page.goto(f"{harness.url}/?tiles=volume:12&since=2026-01-01&until=2026-01-03")
        await expect(page.locator("figure.chart[data-rendered]")).to_be_visible()
        assert await page.evaluate("onhookCharts[0].instance.getOption().title[0].text") == "No calls in this period."
        await page.screenshot(path=OUTPUT / "chart-empty.png")
