"""Settings of the reader: zone and clock in the header, remembered columns."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import aiohttp
import pytest
from playwright.async_api import expect

from onhook.appdb.reader_settings import ReaderSettings
from onhook.console.reader import TwelveHourZone, decode_settings_cookie, encode_settings_cookie
from tests.console.conftest import ConsoleHarness
from tests.console.test_pages import open_visit
from tests.factories import details

STARTED_AT = datetime(2026, 4, 27, 20, 30, tzinfo=UTC)
"""27 April in Berlin, 28 April in Tokyo."""

PASSWORD = "correct horse battery"


async def sign_in(harness: ConsoleHarness, browser: aiohttp.ClientSession, name: str) -> None:
    """Add a reader, and sign in."""
    now_us = harness.clock.microseconds()
    invitation = await harness.appdb.users.add(name, "reader", None, now_us=now_us)
    await harness.appdb.users.accept_invitation(invitation, PASSWORD, now_us=now_us)
    answer = await browser.post("/sign-in", data={"name": name, "password": PASSWORD})
    assert answer.status == 200


@pytest.mark.parametrize("is_user", [True, False])
async def test_reader_settings_apply_to_pages_and_stay(harness: ConsoleHarness, is_user: bool) -> None:
    """Those of a user at each sign-in; those of a session of a token in the browser. A reader may set them."""
    await harness.ingest_details([details(STARTED_AT)])
    async with harness.client("", cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
        if is_user:
            await sign_in(harness, browser, "Alice")
        else:
            await browser.post("/sign-in", data={"token": harness.admin_token})
        form = {"zone": "Asia/Tokyo", "clock": "12", "next": "/calls?zone=UTC&trunk=A&since=2026-04-28"}
        headers = {"Sec-Fetch-Site": "same-origin"}
        answer = await browser.post("/settings", data=form, headers=headers, allow_redirects=False)
        assert (answer.status, answer.headers["Location"]) == (303, "/calls?trunk=A&since=2026-04-28")
        text = await (await browser.get("/calls?since=2026-04-28&until=2026-04-29")).text()
        assert "5:30:00 AM" in text
        assert "8:30:00 PM" in await (await browser.get("/calls?zone=UTC")).text()
        # Days of exports and of data for the page are those of the page.
        records = await (await browser.get("/api/v1/records?since=2026-04-28&until=2026-04-29")).json()
        assert len(records["data"]) == 1
    async with harness.client() as program:
        records = await (await program.get("/api/v1/records?since=2026-04-28&until=2026-04-29")).json()
        assert records["data"] == []


async def test_reader_settings_of_another_site_or_invalid_are_rejected(harness: ConsoleHarness) -> None:
    async with harness.client("", cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
        await sign_in(harness, browser, "Alice")
        own = {"Sec-Fetch-Site": "same-origin"}
        for form, headers, status in (
            ({"zone": "Asia/Tokyo"}, {"Sec-Fetch-Site": "cross-site"}, 403),
            ({"zone": "Mars/Olympus"}, own, 400),
            ({"clock": "13"}, own, 400),
        ):
            assert (await browser.post("/settings", data=form, headers=headers)).status == status
        assert (await browser.post("/settings/columns", data={"columns": "colour"}, headers=own)).status == 400
        for place in ("//evil.example", "/\\evil.example", "https://evil.example", "/" + "x" * 5_000):
            answer = await browser.post("/settings", data={"next": place}, headers=own, allow_redirects=False)
            assert answer.headers["Location"] == "/"
    assert await harness.appdb.reader_settings.all() == {"Alice": ReaderSettings()}
    async with harness.client("") as anonymous:
        assert (await anonymous.post("/settings", data={"zone": "UTC"}, headers=own)).status == 401


async def test_reader_settings_columns_are_remembered(harness: ConsoleHarness) -> None:
    """A link with columns still shows those of the link."""
    await harness.ingest_details([details(STARTED_AT)])
    async with harness.client("", cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
        await sign_in(harness, browser, "Alice")
        form = {"columns": "trunk,legs", "next": "/calls?columns=wait&trunk="}
        answer = await browser.post(
            "/settings/columns", data=form, headers={"Sec-Fetch-Site": "same-origin"}, allow_redirects=False
        )
        assert answer.headers["Location"] == "/calls"
        text = await (await browser.get("/calls")).text()
        assert ">Legs</th>" in text
        assert ">Answered by</th>" not in text
        assert ">Answered by</th>" in await (await browser.get("/calls?columns=answered_by")).text()
        await harness.appdb.reader_settings.put("Alice", ReaderSettings(call_columns="colour"))
        assert ">Answered by</th>" in await (await browser.get("/calls")).text()


@pytest.mark.parametrize("text", ["", "x", "zone=Mars", "clock=13", "zone=%00", "&".join("a=b" for _ in range(8))])
def test_reader_settings_cookie_that_is_none_is_ignored(text: str) -> None:
    assert decode_settings_cookie(text) == ReaderSettings()


def test_reader_settings_cookie_returns_what_was_set() -> None:
    settings = ReaderSettings(zone="America/Argentina/Buenos_Aires", clock="12", call_columns="wait,talk")
    assert decode_settings_cookie(encode_settings_cookie(settings)) == settings


def test_twelve_hour_zone_has_the_times_of_its_zone() -> None:
    """Another class of the same zone: the offset is that of the zone, and neither replaces the other."""
    zone = TwelveHourZone("Europe/Berlin")
    assert STARTED_AT.astimezone(zone).utcoffset() == STARTED_AT.astimezone(ZoneInfo("Europe/Berlin")).utcoffset()
    assert zone.key == "Europe/Berlin"
    assert not isinstance(ZoneInfo("Europe/Berlin"), TwelveHourZone)


@pytest.mark.slow
async def test_reader_settings_are_switched_in_the_header_by_keyboard(
    harness: ConsoleHarness, chromium_path: str
) -> None:
    await harness.ingest_details([details(STARTED_AT)])
    async with open_visit(harness, chromium_path, viewport={"width": 390, "height": 844}) as visit:
        page = visit.page
        await page.goto(f"{harness.url}/calls?since=2026-04-01")
        summary = page.locator(".reader-settings summary")
        await summary.focus()
        await page.keyboard.press("Enter")
        await page.get_by_label("My time zone").fill("Asia/Tokyo")
        await page.get_by_label("My clock").select_option("12")
        await page.get_by_label("Colours").press("Tab")
        await page.get_by_label("Language").press("Tab")
        await page.keyboard.press("Enter")
        await expect(summary).to_contain_text("Tokyo")
        await expect(page.locator("tr.call time")).to_have_text("5:30:00 AM")
        assert page.url == f"{harness.url}/calls?since=2026-04-01"
        await summary.click()
        await page.keyboard.press("Escape")
        await expect(page.get_by_label("My clock")).to_be_hidden()


COLOURS = "() => getComputedStyle(document.body).backgroundColor"


async def test_reader_settings_theme_is_in_the_page_from_its_first_byte(harness: ConsoleHarness) -> None:
    """No script and no inline style sets it, so that nothing flashes and the content policy stays; a page of a mistake
    has it too.
    """
    async with harness.client(
        "", cookie_jar=aiohttp.CookieJar(unsafe=True), headers={"Sec-Fetch-Site": "same-origin", "Accept": "text/html"}
    ) as browser:
        await sign_in(harness, browser, "Alice")
        for theme, scheme, media in (
            ("dark", "dark", 'media="screen"'),
            ("light", "light", None),
            ("system", "light dark", 'media="screen and (prefers-color-scheme: dark)"'),
        ):
            assert (await browser.post("/settings", data={"theme": theme, "next": "/account"})).status == 200
            for path in ("/account", "/nothing", "/calls?since=foo"):
                head = (await (await browser.get(path)).text()).partition("</head>")[0]
                assert f'<meta name="color-scheme" content="{scheme}">' in head, path
                assert (f'data-theme="{theme}"' in head) == (theme != "system"), path
                assert ("dark.css" not in head) if media is None else (media in head), path
        assert (await browser.post("/settings", data={"theme": "pink"})).status == 400
        await browser.post("/settings", data={"theme": "dark"})
        settings = await harness.appdb.reader_settings.get("Alice")
        assert (settings.theme, settings.clock) == ("dark", "24")


@pytest.mark.slow
async def test_reader_settings_theme_is_seen_whatever_the_system_prefers(
    harness: ConsoleHarness, chromium_path: str
) -> None:
    async with open_visit(harness, chromium_path, color_scheme="light") as visit:
        page = visit.page
        light = await page.evaluate(COLOURS)
        for theme, seen_on_light, seen_on_dark in (
            ("dark", False, False),
            ("light", True, True),
            ("system", True, False),
        ):
            await page.emulate_media(color_scheme="light")
            await page.locator(".reader-settings summary").click()
            await page.get_by_label("Colours").select_option(theme)
            await page.get_by_role("button", name="Apply").click()
            for scheme, is_light in (("light", seen_on_light), ("dark", seen_on_dark)):
                await page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type] # one of them
                assert (await page.evaluate(COLOURS) == light) == is_light, (theme, scheme)
