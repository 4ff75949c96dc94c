"""Accessibility of all pages: axe-core finds no serious violation, in light, in dark, and on a telephone."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from playwright.async_api import Page

from onhook.console.app import _page_router
from onhook.console.pages import rendering
from onhook.console.report_mails.unsubscribing import make_token
from tests.console.all_pages import (
    FORM_PAGES,
    MISTAKE_PAGES,
    NO_PAGES,
    PAGES,
    PUBLIC_PAGES,
    SUBSCRIBER,
    add_sample_data,
    matches,
    second_factor_steps,
)
from tests.console.conftest import ConsoleHarness
from tests.console.test_pages import OUTPUT, open_visit

AXE = Path(__file__).parents[1] / "vendor" / "axe.min.js"
SERIOUS = {"serious", "critical"}
TEMPLATES = Path(rendering.__file__).parents[1] / "templates"
VIEWPORTS = {"light": ("light", 1280), "dark": ("dark", 1280), "telephone": ("light", 390)}
TIMEOUT_MILLISECONDS = 120_000
"""Of one page: on a busy machine the browser may be given little time."""

SUBMIT_FORM = """([path, fields]) => {
  const form = document.createElement('form');
  Object.assign(form, {method: 'post', action: path});
  for (const [name, value] of Object.entries(fields)) {
    form.append(Object.assign(document.createElement('input'), {name, value}));
  }
  document.body.append(form);
  form.submit();
}"""


def list_routes() -> set[str]:
    """Return the routes of the console that answer GET."""
    return {
        route.path
        for route in _page_router().routes
        for handler in getattr(route, "route_handlers", ())
        if "GET" in handler.http_methods
    }


def test_pages_are_all_listed() -> None:
    """Each route that a browser can open is a page of these tests, or has none."""
    paths = [*PAGES.values(), *PUBLIC_PAGES.values()]
    assert {route for route in list_routes() if not any(matches(path, route) for path in paths)} == NO_PAGES
    routes = list_routes() | {"/schema"}
    assert [path for path in paths if not any(matches(path, route) for route in routes)] == []


@pytest.mark.slow
async def test_pages_render_all_templates(harness: ConsoleHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages that forms answer, and those of mistakes, are among these tests too."""
    await add_sample_data(harness)
    environment = rendering._environment()
    get_template = environment.get_template
    names: set[str] = set()

    def record_template(name: str, *arguments: Any) -> Any:
        names.add(name)
        return get_template(name, *arguments)

    monkeypatch.setattr(environment, "get_template", record_template)
    headers = {"Accept": "text/html", "Sec-Fetch-Site": "same-origin"}
    async with harness.client("", cookie_jar=aiohttp.CookieJar(unsafe=True), headers=headers) as browser:
        await browser.post("/sign-in", data={"token": harness.admin_token})
        for path in (*PAGES.values(), *MISTAKE_PAGES.values(), *await public_paths(harness)):
            assert (await browser.get(path)).status < 500, path
        for path, fields in FORM_PAGES.values():
            answer = await browser.post(path, data=fields)
            assert answer.status == 200, path
        async for _name, path, fields in second_factor_steps(harness):
            assert (await browser.post(path, data=fields)).status == 200, path
    pages = {path.name for path in TEMPLATES.iterdir() if '{% extends "page.html" %}' in path.read_text()}
    assert pages - names == set()


async def public_paths(harness: ConsoleHarness) -> list[str]:
    """Return the addresses of the pages for a person who has not signed in."""
    invitation = await harness.appdb.users.add("Dora", "reader", None, now_us=harness.clock.microseconds())
    values = {
        "token": harness.admin_token,
        "invitation": invitation,
        "unsubscribe_token": await make_token(harness.appdb, 1, SUBSCRIBER),
    }
    return [path.format(**values) for path in PUBLIC_PAGES.values()]


def without_advice(errors: Iterable[str]) -> list[str]:
    """Return errors without what the browser logs about each answer that is an error, and about forms of passwords."""
    return [error for error in errors if "Failed to load resource" not in error and "[DOM] Password" not in error]


async def open_pages(harness: ConsoleHarness, page: Page) -> AsyncIterator[str]:
    """Open all pages one after another; yield the name of each."""
    page.set_default_timeout(TIMEOUT_MILLISECONDS)
    for name, path in (PAGES | MISTAKE_PAGES).items():
        answer = await page.goto(harness.url + path)
        assert answer is not None
        assert answer.status == 200 or name in MISTAKE_PAGES, path
        yield name
    for name, (path, fields) in FORM_PAGES.items():
        await page.goto(harness.url + "/about")
        async with page.expect_navigation():
            await page.evaluate(SUBMIT_FORM, [path, fields])
        yield name
    public = await public_paths(harness)
    await page.context.clear_cookies()
    for name, path in zip(PUBLIC_PAGES, public, strict=True):
        await page.goto(harness.url + path)
        yield name
    async for name, path, fields in second_factor_steps(harness):
        await page.goto(harness.url + "/forgotten-password")
        async with page.expect_navigation():
            await page.evaluate(SUBMIT_FORM, [path, fields])
        yield name


@pytest.mark.slow
@pytest.mark.parametrize("viewport", VIEWPORTS)
async def test_pages_have_no_serious_axe_violation(harness: ConsoleHarness, chromium_path: str, viewport: str) -> None:
    """Check every page with data and scripts; save a screenshot of each."""
    await add_sample_data(harness)
    script = await asyncio.to_thread(AXE.read_text)
    results: dict[str, Any] = {}
    scheme, width = VIEWPORTS[viewport]
    async with open_visit(
        harness, chromium_path, color_scheme=scheme, viewport={"width": width, "height": 900}
    ) as visit:
        page = visit.page
        async for name in open_pages(harness, page):
            await page.screenshot(path=OUTPUT / f"{name}-{viewport}-whole.png", full_page=True)
            # Through the debugger: the policy of the pages blocks foreign scripts.
            await page.evaluate(script)
            result = json.loads(await page.evaluate("axe.run().then((result) => JSON.stringify(result.violations))"))
            serious = [violation for violation in result if violation["impact"] in SERIOUS]
            if serious:
                results[name] = [
                    (violation["id"], [node["html"][:160] for node in violation["nodes"][:3]]) for violation in serious
                ]
        visit.errors[:] = without_advice(visit.errors)
    assert results == {}
