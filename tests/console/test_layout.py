"""Layout of the pages in a real browser: nothing is cut, nothing is wider than the screen, tables can be scrolled."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Literal

import pytest
from playwright.async_api import Page

from onhook.appdb.issues import OperationalIssue
from onhook.ledger.contract import CounterKey
from tests.console.all_pages import CALL_ID, add_sample_data
from tests.console.conftest import ConsoleHarness
from tests.console.test_accessible import AXE, SERIOUS, open_pages, without_advice
from tests.console.test_pages import open_visit, some_calls
from tests.factories import SN, details

WIDTHS = (390, 1024, 1440)
LONG_NAME = ("Purchasing department of the main office in the north " * 4)[:200]
LONG_WORD = "Donaudampfschifffahrtsgesellschaft" * 5
RIGHT_TO_LEFT = "مدير المبيعات في المكتب الرئيسي " * 3
LONG_NUMBER = "0049" + "12345678" * 7

SPILLING_TEXTS = """async () => {
  // A chart gets its new width after the frame in which the page got its own.
  await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
  const isClipped = (element) => element.closest('.scroll, pre, svg, .visually-hidden, .skip, details:not([open]) > *');
  return [...document.querySelectorAll('body *')]
    .filter((element) => !isClipped(element) && element.getBoundingClientRect().right > innerWidth + 1)
    .map((element) => element.outerHTML.slice(0, 120));
}"""
CUT_TABLES = """() => [...document.querySelectorAll('table:not(.days)')].filter((table) => {
  const container = table.closest('.scroll');
  return container === null || container.tabIndex !== 0 || !container.getAttribute('aria-label');
}).map((table) => table.outerHTML.slice(0, 120))"""
"""Of all tables but the calendar, whose seven columns are narrow."""


@pytest.fixture
async def visit_page(harness: ConsoleHarness, chromium_path: str) -> AsyncIterator[Page]:
    """Yield a signed-in page."""
    async with open_visit(harness, chromium_path) as visit:
        yield visit.page
        visit.errors[:] = without_advice(visit.errors)


async def _add_long_texts(harness: ConsoleHarness) -> None:
    """Add calls, PBXs, notes and settings whose texts are as long as they may be."""
    await add_sample_data(harness)
    parties = (f"{LONG_NAME}<{LONG_NUMBER}>", f"{RIGHT_TO_LEFT}<1001>", f"{LONG_WORD}<1002>", LONG_NUMBER)
    texts = {
        "src_trunk_name": LONG_NAME,
        "did_number": LONG_NUMBER,
        "did_name": RIGHT_TO_LEFT,
        "recording": "x" * 200,
        "extra": {"account_code": LONG_WORD, "k" * 60: LONG_NAME, "call_note": LONG_WORD},
    }
    pairs = [(parties[n % 4], parties[(n + 1) % 4]) for n in range(4)]
    await harness.ingest_details(
        [
            details(moment, call_from=call_from, call_to=call_to, status="SOME STATUS " * 8, type="Inbound", **texts)
            for moment, (call_from, call_to) in zip(some_calls(), pairs, strict=False)
        ]
    )
    await harness.ingest_details(
        [
            details(some_calls()[0], call_id=CALL_ID, call_from=call_from, call_to=call_to, **texts)
            for call_from, call_to in pairs
        ]
    )
    now_us = harness.clock.microseconds()
    for name, sn in ((LONG_WORD[:64], "S" * 64), (RIGHT_TO_LEFT[:60], "3699R")):
        await harness.appdb.add_pbx(name=name, sn=sn, secret="x" * 32, now_us=now_us)
        await harness.ingest_details([details(some_calls()[1])], sn)
        await harness.appdb.alarms.raise_alarm(sn, "silence", LONG_WORD, hint=LONG_NAME, now_us=now_us)
    await harness.ledger.add_counts({CounterKey("unknown_pbx", "9" * 64, LONG_WORD): 3}, now_us)
    await harness.appdb.tokens.add(LONG_WORD[:60], "reader", now_us=now_us)
    await harness.appdb.saved_searches.add(LONG_WORD[:64], "/calls?q=x", author=LONG_WORD[:60])
    tags = ",".join(f"{n}{'w' * 38}" for n in range(12))
    await harness.appdb.notes.write(
        SN, CALL_ID, f"{LONG_WORD}\n{LONG_NAME}", tags, author=LONG_WORD[:60], now_us=now_us
    )


@pytest.mark.slow
async def test_layout_long_texts_fit_the_screen(harness: ConsoleHarness, visit_page: Page) -> None:
    """No page is wider than a telephone, a tablet or a desktop; only tables scroll."""
    await _add_long_texts(harness)
    results = {}
    async for name in open_pages(harness, visit_page):
        for width in WIDTHS:
            await visit_page.set_viewport_size({"width": width, "height": 900})
            if spilling := await visit_page.evaluate(SPILLING_TEXTS):
                results[width, name] = spilling[:3]
    assert results == {}


@pytest.mark.slow
async def test_layout_each_table_scrolls_by_keyboard(harness: ConsoleHarness, visit_page: Page) -> None:
    """A container that scrolls can be focused and has a name, on every page."""
    await _add_long_texts(harness)
    results = {}
    async for name in open_pages(harness, visit_page):
        if cut := await visit_page.evaluate(CUT_TABLES):
            results[name] = cut
    assert results == {}


@pytest.mark.slow
async def test_layout_pbx_page_controls_have_their_size(harness: ConsoleHarness, visit_page: Page) -> None:
    """A checkbox is as high as a line, a serial number is on one line, and a status is not cut."""
    await visit_page.goto(f"{harness.url}/pbxs/{SN}")
    checkbox = await visit_page.locator("input[name=keeps_unregistered]").bounding_box()
    assert checkbox is not None
    assert checkbox["height"] <= 24
    number = await visit_page.locator("section[aria-labelledby=serial-numbers] li code").bounding_box()
    assert number is not None
    assert number["height"] < 30
    await visit_page.get_by_role("button", name="Run diagnostics").click()
    badges = visit_page.locator(".checks .badge")
    assert "WARNING" in await badges.all_inner_texts()
    assert await badges.evaluate_all("badges => badges.every((badge) => badge.scrollWidth <= badge.clientWidth)")


@pytest.mark.slow
async def test_layout_issue_banner_is_as_wide_as_the_page(harness: ConsoleHarness, visit_page: Page) -> None:
    issue = OperationalIssue(issue_key="check:disk", kind="check_disk", subject="disk", detail=LONG_NAME, hint="x")
    await harness.appdb.issues.begin(issue, now_us=1)
    await visit_page.goto(f"{harness.url}/calls")
    widths = await visit_page.evaluate(
        "[document.querySelector('.issue-banner'), document.querySelector('form.search')].map((box) => box.offsetWidth)"
    )
    assert widths[0] == widths[1]


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_layout_pages_of_mistakes_have_no_serious_axe_violation(
    harness: ConsoleHarness, visit_page: Page, scheme: Literal["light", "dark"]
) -> None:
    """Forms with an invalid value, and an unknown address."""
    await visit_page.emulate_media(color_scheme=scheme)
    script = await asyncio.to_thread(AXE.read_text)
    for path in ("/calls?since=foo", "/reports?report=week&until=foo", "/nothing"):
        await visit_page.goto(harness.url + path)
        await visit_page.evaluate(script)
        result = json.loads(await visit_page.evaluate("axe.run().then((result) => JSON.stringify(result.violations))"))
        assert [violation for violation in result if violation["impact"] in SERIOUS] == [], path


@pytest.mark.slow
async def test_layout_call_page_field_names_are_on_one_line(harness: ConsoleHarness, visit_page: Page) -> None:
    """On a telephone too: a name that is broken cannot be searched for."""
    await harness.ingest_details([details(some_calls()[0], call_id=CALL_ID)])
    await visit_page.set_viewport_size({"width": 390, "height": 900})
    await visit_page.goto(f"{harness.url}/calls/{SN}/{CALL_ID}")
    heights = await visit_page.locator(".fields th code").evaluate_all(
        "names => names.map((name) => name.offsetHeight)"
    )
    assert max(heights) < 24
