"""Destinations are changed and duplicated on their pages; secrets too."""

import re
from datetime import UTC, datetime

import aiohttp
import pytest
from playwright.async_api import expect

from onhook.appdb.destination_spec import DestinationSpec
from onhook.appdb.destinations import Destination
from onhook.cdr.record_filter import RecordFilter
from onhook.console.pages.destination_form import fill_form, reveal_hidden
from onhook.lib.errors import UsageError
from tests.console.conftest import ConsoleHarness
from tests.console.test_pages import OUTPUT, open_visit
from tests.console.test_users import browser

__all__ = ["browser"]

SPEC = DestinationSpec(
    url="https://127.0.0.1:9/calls?key=hush",
    allow_private=True,
    headers={"X-Key": "hush", "X-Office": "1"},
    proxy="http://me:hush@127.0.0.1:3128",
    timeout_seconds=7.0,
    rate_limit=2.5,
    transform="set office = 1\nset tenant = acme",
    filter=RecordFilter(status="!ANSWERED", since=datetime(2026, 4, 27, tzinfo=UTC), call_to="1001"),
)
PATH = "/destinations/1/edit"


async def add(harness: ConsoleHarness, spec: DestinationSpec = SPEC) -> Destination:
    destination, _secret = await harness.appdb.destinations.add("CRM", spec, "s" * 32, after=0, now_us=1)
    return destination


async def get(harness: ConsoleHarness, name: str = "CRM") -> Destination:
    return await harness.appdb.destinations.get(name)


async def test_destination_that_is_saved_unchanged_stays(
    harness: ConsoleHarness, browser: aiohttp.ClientSession
) -> None:
    """With its hidden values, and with a filter that the form does not have; none of them is on the page."""
    stored = await add(harness)
    page = await (await browser.get(PATH)).text()
    assert "hush" not in page
    assert "X-Key: …\nX-Office: …</textarea>" in page
    answer = await browser.post(PATH, data=fill_form(stored))
    assert (answer.url.path, "Settings saved" in await answer.text()) == ("/destinations/1", True)
    assert await get(harness) == stored


async def test_destination_is_changed(harness: ConsoleHarness, browser: aiohttp.ClientSession) -> None:
    stored = await add(harness)
    form = fill_form(stored) | {
        "name": "CRM 2", "status": "BUSY", "since": "", "headers": "X-Key: …\nX-New: 2", "timeout_seconds": "9",
        "url": "https://127.0.0.1:9/new", "mask": "last3", "retry_policy": "original", "max_attempts": "5",
    }  # fmt: skip
    await browser.post(PATH, data=form)
    changed = await get(harness, "CRM 2")
    assert changed.filter == RecordFilter(status="BUSY", call_to="1001")
    assert changed.headers == {"X-Key": "hush", "X-New": "2"}
    assert (changed.url, changed.proxy) == ("https://127.0.0.1:9/new", SPEC.proxy)
    assert (changed.mask, changed.retry_policy, changed.max_attempts) == ("last3", "original", 5)
    assert changed.timeout_seconds == 9.0
    assert (await harness.appdb.audit.latest(1))[0].action == "change destination CRM 2"


INVALID_CHANGES = (
    ({"url": "https://192.0.2.9/calls"}, "belong to another host"),
    ({"url": "https://127.0.0.1:9/new?key=…"}, "enter the whole URL"),
    ({"proxy": "http://you:…@127.0.0.1:3128"}, "enter the whole address"),
    ({"headers": "X-Other: …"}, "A header has no value"),
    ({"rate_limit": "fast"}, "correct the form"),
    ({"name": ""}, "correct the form"),
)


async def test_destination_invalid_change_keeps_what_was_entered(
    harness: ConsoleHarness, browser: aiohttp.ClientSession
) -> None:
    stored = await add(harness)
    for change, sentence in INVALID_CHANGES:
        page = await (await browser.post(PATH, data=fill_form(stored) | change)).text()
        assert sentence in page, change
        assert next(iter(change.values())) in page
        assert "hush" not in page
    assert await get(harness) == stored


async def test_destination_password_is_sent_to_no_other_host(
    harness: ConsoleHarness, browser: aiohttp.ClientSession
) -> None:
    stored = await add(
        harness, DestinationSpec(kind="postgresql", url="postgresql://o@127.0.0.1/calls", allow_private=True)
    )
    form = fill_form(stored) | {"url": "postgresql://o@127.0.0.1/other"}
    assert (await browser.post(PATH, data=form)).url.path == "/destinations/1"
    page = await (await browser.post(PATH, data=form | {"url": "postgresql://o@127.0.0.2/other"})).text()
    assert "Its password belongs to another host" in page
    assert (await get(harness)).url == "postgresql://o@127.0.0.1/other"


async def test_destination_header_that_is_entered_again_is_sent_to_another_host(
    harness: ConsoleHarness, browser: aiohttp.ClientSession
) -> None:
    stored = await add(harness)
    change = {"url": "https://127.0.0.2:9/calls", "headers": "X-Key: hush\nX-Office: 1"}
    assert (await browser.post(PATH, data=fill_form(stored) | change)).url.path == "/destinations/1"
    assert (await get(harness)).url == change["url"]
    assert (await get(harness)).headers == stored.headers


async def test_destination_is_duplicated(harness: ConsoleHarness, browser: aiohttp.ClientSession) -> None:
    """From now on, with a secret of its own, and with what is hidden."""
    stored = await add(harness)
    page = await (await browser.get("/destinations?copy_of=1")).text()
    assert 'value="CRM copy"' in page
    assert "hush" not in page
    form = fill_form(stored) | {"name": "CRM copy", "since": "", "copy_of": "1"}
    page = await (await browser.post("/destinations", data=form)).text()
    assert "CRM copy” added" in page
    copied = await get(harness, "CRM copy")
    for name in ("url", "headers", "proxy", "transform", "timeout_seconds", "rate_limit"):
        assert getattr(copied, name) == getattr(stored, name), name
    assert copied.filter == RecordFilter(status="!ANSWERED", call_to="1001")
    secrets = [await harness.appdb.destinations.secret_texts(number) for number in (1, 2)]
    assert secrets[0] != secrets[1]
    assert (await browser.get("/destinations?copy_of=9")).status == 404
    for wrong in ("9", "x", "1" * 30):
        page = await (await browser.post("/destinations", data=form | {"copy_of": wrong})).text()
        assert "There is no such destination" in page


async def test_destination_secret_is_changed_without_a_gap(
    harness: ConsoleHarness, browser: aiohttp.ClientSession
) -> None:
    """One that is generated is shown once; the last one stays."""
    await add(harness)
    page = await (await browser.post("/destinations/1/secrets", data={"label": "2026"})).text()
    texts = await harness.appdb.destinations.secret_texts(1)
    assert texts[1] in page
    assert texts[1] not in await (await browser.get(PATH)).text()
    page = await (await browser.post("/destinations/1/secrets", data={"label": "x", "secret": "short"})).text()
    assert 'role="alert"' in page
    first, second = await harness.appdb.destinations.secrets("CRM")
    page = await (await browser.post(f"/destinations/1/secrets/{first.secret_id}/remove")).text()
    assert "Secret revoked" in page
    page = await (await browser.post(f"/destinations/1/secrets/{second.secret_id}/remove")).text()
    assert "has no other secret" in page
    assert await harness.appdb.destinations.secret_texts(1) == texts[1:]


async def test_destination_edit_page_is_for_administrators(harness: ConsoleHarness) -> None:
    await add(harness)
    reader = await harness.appdb.tokens.add("reader", "reader", now_us=harness.clock.microseconds())
    async with harness.client(reader) as other:
        assert (await other.get(PATH)).status == 403
        assert PATH not in await (await other.get("/destinations/1")).text()
        for path in (PATH, "/destinations/1/secrets", "/destinations/1/secrets/1/remove"):
            assert (await other.post(path)).status == 403


def test_reveal_hidden_url_without_a_secret_may_change() -> None:
    """A hidden header is for the stored host, port and scheme alone."""
    stored = Destination(
        **{name: getattr(SPEC, name) for name in SPEC.__struct_fields__},
        destination_id=1, name="CRM", state="active", reason="", failing_since=None, retry_after=None,
        attempts_succeeded=0, attempts_failed=0, app="", created_at=datetime(2026, 4, 27, tzinfo=UTC), secrets=1,
        revision=1,
    )  # fmt: skip
    texts = reveal_hidden({"url": "https://127.0.0.1:9/new", "headers": "x-key: …"}, stored)
    assert texts["headers"] == "x-key: hush"
    assert reveal_hidden({"url": "https://other/", "headers": "X: 1"}, stored)["url"] == "https://other/"
    for url in ("http://127.0.0.1:9/new", "https://127.0.0.1:10/new", "https://[/"):
        with pytest.raises(UsageError, match="another host"):
            reveal_hidden({"url": url, "headers": "X-Key: …"}, stored)


async def test_destination_walk_edits_and_duplicates(harness: ConsoleHarness, chromium_path: str) -> None:
    await add(harness)
    async with open_visit(harness, chromium_path, viewport={"width": 390, "height": 900}) as visit:
        page = visit.page
        await page.goto(f"{harness.url}/destinations/1")
        await page.get_by_role("link", name="Edit settings and secrets").press("Enter")
        await page.get_by_label("Status filter").fill("BUSY")
        await page.screenshot(path=OUTPUT / "destination-edit.png", full_page=True)
        await page.get_by_role("button", name="Save", exact=True).press("Enter")
        await expect(page.get_by_role("status").filter(has_text="Settings saved")).to_be_visible()
        await page.get_by_role("link", name="Duplicate").press("Enter")
        await expect(page.get_by_label("Name", exact=True)).to_have_value("CRM copy")
        await page.get_by_role("button", name="Add", exact=True).press("Enter")
        await expect(page.get_by_role("heading", name="“CRM copy” added")).to_be_visible()
        await page.get_by_label("Kind").select_option("postgresql")
        await expect(page.get_by_label("Schema")).to_be_visible()
        await expect(page.locator("details[data-kind]:visible")).to_have_count(1)
        await expect(page.locator("input[name=url]")).to_have_attribute("placeholder", re.compile("^postgresql://"))
    assert (await get(harness)).filter.status == (await get(harness, "CRM copy")).filter.status == "BUSY"
