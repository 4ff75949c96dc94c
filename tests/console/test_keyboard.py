"""The keyboard alone reaches every control of every page, and shows where it is."""

from collections.abc import Mapping

import pytest
from playwright.async_api import Page

from tests.console.all_pages import MISTAKE_PAGES, PAGES, PUBLIC_PAGES, add_sample_data
from tests.console.conftest import ConsoleHarness
from tests.console.test_accessible import TIMEOUT_MILLISECONDS, public_paths, without_advice
from tests.console.test_pages import open_visit

TABS_PER_CONTROL = 4
"""A field for a date has several stops."""

PARTS = 6
"""Of the pages, each with a browser of its own."""

LISTED_REPORTS = {"report-queues", "report-week", "report-extensions-grouped"}
"""The pages of the other reports have the same controls."""

MARK_CONTROLS = """() => {
  const controls = document.querySelectorAll(
    'a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex]');
  globalThis.unreached = new Set();
  globalThis.unseen = [];
  for (const control of controls) {
    if (control.tabIndex >= 0 && !control.disabled && control.checkVisibility({ visibilityProperty: true })) {
      unreached.add(control);
    }
  }
  addEventListener('focusin', ({ target }) => {
    if (!unreached.delete(target)) return;
    // A link that covers its card or row draws the outline around that.
    const styles = [getComputedStyle(target), getComputedStyle(target, '::after')];
    const isSeen = styles.some((style) => style.outlineStyle !== 'none' || style.boxShadow !== 'none');
    if (!isSeen) unseen.push(target.outerHTML.slice(0, 120));
  });
  return unreached.size;
}"""

LIST_PROBLEMS = """() => [
  ...unseen.map((text) => `the focus does not show: ${text}`),
  ...[...unreached].filter((control) => control.isConnected && control.checkVisibility())
    .map((control) => `not reached: ${control.outerHTML.slice(0, 120)}`),
]"""

pytestmark = pytest.mark.slow


async def walk_controls(page: Page) -> list[str]:
    """Press Tab until each control was reached; return those that were not, or whose focus does not show."""
    count = await page.evaluate(MARK_CONTROLS)
    for _round in range(TABS_PER_CONTROL):
        for _press in range(count + 1):
            await page.keyboard.press("Tab")
        if await page.evaluate("unreached.size") == 0:
            break
    problems: list[str] = await page.evaluate(LIST_PROBLEMS)
    return problems


def pages_of_part(part: int) -> Mapping[str, str]:
    """Return the pages of a part, by name."""
    pages = {
        name: path
        for name, path in (PAGES | MISTAKE_PAGES).items()
        if not path.startswith("/reports?report=") or name in LISTED_REPORTS
    }
    return dict(list(pages.items())[part::PARTS])


@pytest.mark.parametrize("part", range(PARTS))
async def test_keyboard_reaches_every_control_of_every_page(
    harness: ConsoleHarness, chromium_path: str, part: int
) -> None:
    await add_sample_data(harness)
    results: dict[str, list[str]] = {}
    async with open_visit(harness, chromium_path, viewport={"width": 1280, "height": 900}) as visit:
        page = visit.page
        page.set_default_timeout(TIMEOUT_MILLISECONDS)
        for name, path in pages_of_part(part).items():
            await page.goto(harness.url + path)
            results[name] = await walk_controls(page)
        visit.errors[:] = without_advice(visit.errors)
    assert {name: problems for name, problems in results.items() if problems} == {}


async def test_keyboard_reaches_every_control_without_a_user(harness: ConsoleHarness, chromium_path: str) -> None:
    await add_sample_data(harness)
    results: dict[str, list[str]] = {}
    async with open_visit(harness, chromium_path) as visit:
        paths = dict(zip(PUBLIC_PAGES, await public_paths(harness), strict=True))
        await visit.page.context.clear_cookies()
        for name, path in paths.items():
            await visit.page.goto(harness.url + path)
            results[name] = await walk_controls(visit.page)
        visit.errors[:] = without_advice(visit.errors)
    assert {name: problems for name, problems in results.items() if problems} == {}
