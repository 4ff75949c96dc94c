"""Pages, mails and input in Arabic, which is written from right to left."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import aiohttp
import pytest
from litestar.types import HTTPScope, ReceiveMessage

from onhook.appdb.notes import parse_tags
from onhook.appdb.reader_settings import ReaderSettings
from onhook.appdb.report_spec import ReportSpec
from onhook.cdr.record_filter import WordFilter
from onhook.console.head_requests import _without_direction_marks
from onhook.console.pages.formatting import back_arrow, forward_arrow, signed_percent
from onhook.console.report_mails.mails import build_report_mails
from onhook.delivery.mail_message import text_to_html
from onhook.lib.languages import use_language
from onhook.lib.text import LEFT_TO_RIGHT_MARK, format_share, split_list
from tests.console.conftest import ConsoleHarness
from tests.console.test_accessible import AXE, open_pages, without_advice
from tests.console.test_layout import SPILLING_TEXTS, _add_long_texts
from tests.console.test_pages import OUTPUT, open_visit
from tests.factories import details

WIDTHS = (390, 1280)
ARABIC = {"Accept-Language": "ar-EG,ar;q=0.9,en;q=0.8"}
SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin"}
SPILLING = SPILLING_TEXTS.replace(".right > innerWidth + 1", ".left < -1")
"""What is beyond the left edge, where the lines of such a page end."""


@pytest.mark.slow
async def test_right_to_left_pages_fit_the_screen_without_axe_violation(
    harness: ConsoleHarness, chromium_path: str
) -> None:
    """Each page begins at the right, is no wider than the screen, and has what axe-core wants."""
    await _add_long_texts(harness)
    script = await asyncio.to_thread(AXE.read_text)
    results: dict[Any, Any] = {}
    async with open_visit(harness, chromium_path) as visit:
        page = visit.page
        await page.context.set_extra_http_headers(ARABIC)
        async for name in open_pages(harness, page):
            assert await page.evaluate("[document.dir, document.documentElement.lang]") == ["rtl", "ar"], name
            for width in WIDTHS:
                await page.set_viewport_size({"width": width, "height": 900})
                if spilling := await page.evaluate(SPILLING):
                    results[width, name] = spilling[:3]
                page_width = await page.evaluate("document.documentElement.scrollWidth")
                if page_width > width:
                    results[width, name, "page"] = page_width
                await page.screenshot(path=OUTPUT / f"{name}-ar-{width}.png", full_page=True)
            await page.evaluate(script)
            violations = json.loads(
                await page.evaluate("axe.run().then((result) => JSON.stringify(result.violations))")
            )
            for violation in violations:
                results[name, violation["id"]] = [node["html"][:160] for node in violation["nodes"][:3]]
        visit.errors[:] = without_advice(visit.errors)
    assert results == {}


async def test_right_to_left_pages_and_problems_name_their_direction(harness: ConsoleHarness) -> None:
    async with harness.client("", headers={**ARABIC, "Accept": "text/html"}) as browser:
        for path in ("/sign-in", "/nothing"):
            assert '<html lang="ar" dir="rtl"' in await (await browser.get(path)).text(), path


async def test_right_to_left_report_mail_names_its_direction(harness: ConsoleHarness) -> None:
    appdb, now_us = harness.appdb, harness.clock.microseconds()
    await harness.ingest_details([details(harness.clock.now() - timedelta(days=days)) for days in (1, 2)])
    await appdb.users.add("Alice", "reader", None, email="alice@example.com", now_us=now_us)
    await appdb.reader_settings.put("Alice", ReaderSettings(language="ar"))
    await appdb.report_schedules.add("Alice", "Day", ReportSpec(report="outcomes"), now_us=now_us)
    (schedule,) = await appdb.report_schedules.all()
    run = await build_report_mails(harness.app_state, schedule, await appdb.users.get("Alice"))
    (mail,) = run.mails
    assert '<html lang="ar" dir="rtl"' in mail.content.html
    assert "text-align:right;" in mail.content.html
    assert "text-align:left;white-space:nowrap;" in mail.content.html


def test_right_to_left_text_mail_takes_the_direction_of_its_letters() -> None:
    assert '<div dir="auto"><p>' in text_to_html("x")


def test_right_to_left_figures_keep_their_signs() -> None:
    with use_language("ar"):
        assert format_share(0.8735) == f"{LEFT_TO_RIGHT_MARK}87.4 %{LEFT_TO_RIGHT_MARK}"
        assert signed_percent(0.5) == f"{LEFT_TO_RIGHT_MARK}+50 %{LEFT_TO_RIGHT_MARK}"
        assert (back_arrow(), forward_arrow()) == ("→", "←")
    assert format_share(0.8735) == "87.4 %"


async def test_right_to_left_marks_in_a_filter_are_removed(harness: ConsoleHarness) -> None:
    """A number that is copied from a page in Arabic finds its calls."""
    await harness.ingest_details([details(harness.clock.now() - timedelta(hours=1), call_from="+49301234")])
    async with harness.client() as client:
        for query in ("number=%E2%80%8E%2B49301234%E2%80%8E", "number=%E2%81%A6%2B49301234%E2%81%A9"):
            page = await (await client.get(f"/api/v1/calls?{query}")).json()
            assert len(page["data"]) == 1, query


async def test_right_to_left_marks_in_a_form_are_removed(harness: ConsoleHarness) -> None:
    async with harness.client("", cookie_jar=aiohttp.CookieJar(unsafe=True), headers=SAME_ORIGIN) as browser:
        await browser.post("/sign-in", data={"token": harness.admin_token})
        form = {"zone": "\u200fEurope/\u2066Berlin\u2069", "next": "/calls"}
        assert (await browser.post("/settings", data=form, allow_redirects=False)).status == 303
        assert 'value="Europe/Berlin"' in await (await browser.get("/calls")).text()


@pytest.mark.parametrize("part_bytes", range(1, 12))
async def test_right_to_left_marks_are_removed_where_a_form_is_cut(part_bytes: int) -> None:
    body = b"a=%E2%80%8E1%E2%80%8F2&b=%E2%82%AC%E2%81%A63%E2%81%A9"
    parts = [body[begin : begin + part_bytes] for begin in range(0, len(body), part_bytes)]

    async def receive() -> ReceiveMessage:
        part = parts.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(parts)}

    scope: HTTPScope = {"headers": [(b"content-type", b"application/x-www-form-urlencoded; charset=utf-8")]}  # type: ignore[typeddict-item]
    clean_receive, received = _without_direction_marks(scope, receive), b""
    while True:
        message = await clean_receive()
        assert message["type"] == "http.request"
        received += message["body"]
        if not message["more_body"]:
            break
    assert received == b"a=12&b=%E2%82%AC3"


def test_right_to_left_lists_take_the_arabic_comma() -> None:
    assert split_list("1001، 1002,1003 ،") == ["1001", "1002", "1003"]
    assert parse_tags("vip، sales") == ("vip", "sales")
    assert WordFilter.parse("!busy،no answer").words == ("BUSY", "NOANSWER")
