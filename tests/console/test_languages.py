"""The language of a response: of the link of a wallboard, the user, the browser, the installation; and of mails."""

from datetime import UTC, datetime, timedelta

import aiohttp
import msgspec
import pytest

from onhook.appdb.dashboards import DashboardLayout, StoredTile
from onhook.appdb.mail_settings import MailSettings
from onhook.appdb.reader_settings import ReaderSettings
from onhook.appdb.report_spec import ReportSpec
from onhook.console.invitation_mails import add_invitation_mail, request_reset
from onhook.console.report_mails.mails import build_report_mails
from onhook.lib.languages import LANGUAGES, load_catalogue, use_language
from tests.console.conftest import ConsoleHarness
from tests.console.test_reader_settings import sign_in
from tests.factories import details

STARTED_AT = datetime(2026, 4, 27, 20, 30, tzinfo=UTC)
GERMAN = {"Accept-Language": "de-AT,de;q=0.9,en;q=0.8"}
SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin"}


async def test_language_is_that_of_the_browser_before_a_sign_in(harness: ConsoleHarness) -> None:
    async with harness.client("") as browser:
        page = await (await browser.get("/sign-in", headers=GERMAN)).text()
        assert '<html lang="de" dir="ltr"' in page
        assert "Anmelden" in page
        assert '<html lang="en" dir="ltr"' in await (await browser.get("/sign-in")).text()
        # Errors too, and each request for itself: the same connection, another language.
        page = await (await browser.get("/nothing", headers={**GERMAN, "Accept": "text/html"})).text()
        assert "Nicht gefunden" in page
        assert "Unter dieser Adresse ist nichts" in page
        assert "Sign in" in await (await browser.get("/sign-in", headers={"Accept-Language": "ja"})).text()


async def test_report_of_busy_hours_has_days_of_the_week_in_the_language_of_the_reader(harness: ConsoleHarness) -> None:
    """In cells whose direction is that of their content, as if they were data."""
    await harness.ingest_details([details(STARTED_AT)])
    headers = {**GERMAN, **SAME_ORIGIN}
    async with harness.client("", cookie_jar=aiohttp.CookieJar(unsafe=True), headers=headers) as browser:
        await browser.post("/sign-in", data={"token": harness.admin_token})
        page = await (await browser.get("/reports", params={"report": "week", "since": "2026-04-01"})).text()
        assert [day in page for day in ("Montag", "Sonntag", "Monday", "Sunday")] == [True, True, False, False]


async def test_language_of_a_user_comes_before_that_of_the_browser(harness: ConsoleHarness) -> None:
    await harness.ingest_details([details(STARTED_AT)])
    async with harness.client("", cookie_jar=aiohttp.CookieJar(unsafe=True), headers=SAME_ORIGIN) as browser:
        await sign_in(harness, browser, "Alice")
        assert '<html lang="de"' in await (await browser.get("/calls", headers=GERMAN)).text()
        form = {"zone": "Europe/Berlin", "language": "de", "next": "/calls"}
        assert (await browser.post("/settings", data=form, allow_redirects=False)).status == 303
        page = await (await browser.get("/calls?since=2026-04-27&until=2026-04-29")).text()
        assert '<html lang="de"' in page
        assert "Mo., 27. Apr. 2026" in page
        assert "Angenommen" in page
        # The API answers a page in the language of its user, errors included.
        problem = await (await browser.get("/api/v1/calls?since=x")).json()
        assert "geben Sie 2026-04-27" in str(problem)
        form = {"zone": "Europe/Berlin", "language": "en", "next": "/calls"}
        await browser.post("/settings", data=form, allow_redirects=False)
        assert '<html lang="en"' in await (await browser.get("/calls", headers=GERMAN)).text()
        answer = await browser.post("/settings", data={"language": "xx"}, headers={"Accept": "text/html"})
        assert answer.status == 400


async def test_language_of_a_session_of_a_token_is_kept_by_its_browser(harness: ConsoleHarness) -> None:
    async with harness.client("", cookie_jar=aiohttp.CookieJar(unsafe=True), headers=SAME_ORIGIN) as browser:
        await browser.post("/sign-in", data={"token": harness.admin_token})
        await browser.post("/settings", data={"language": "de"}, allow_redirects=False)
        assert '<html lang="de"' in await (await browser.get("/calls")).text()


async def test_language_of_a_program_is_english_whatever_it_accepts(harness: ConsoleHarness) -> None:
    async with harness.client(headers=GERMAN) as program:
        problem = await (await program.get("/api/v1/calls?since=x")).json()
        assert problem["title"] == "Bad Request"
        assert "write 2026-04-27" in str(problem)


async def test_language_of_the_installation_is_for_browsers_that_name_none(harness: ConsoleHarness) -> None:
    config = msgspec.structs.replace(harness.config, language="de")
    app_state = msgspec.structs.replace(harness.app_state, config=config)
    harness.app_state = app_state
    async with harness.open_other_hub() as (url, _appdb), aiohttp.ClientSession(url) as browser:
        assert '<html lang="de"' in await (await browser.get("/sign-in")).text()
        headers = {"Accept-Language": "en"}
        assert '<html lang="en"' in await (await browser.get("/sign-in", headers=headers)).text()


async def test_language_of_a_wallboard_is_that_of_its_link(harness: ConsoleHarness) -> None:
    now_us = harness.clock.microseconds()
    layout = DashboardLayout(tiles=(StoredTile("calls", 2),), since="7d")
    await harness.appdb.dashboards.save("Hall", layout, author="token:admin")
    (dashboard,) = await harness.appdb.dashboards.all()
    texts = {
        language: await harness.appdb.wallboard_links.add(
            dashboard.dashboard_id,
            f"hall {language}",
            scope=None,
            language=language,
            expires_us=now_us + 10**12,
            now_us=now_us,
        )
        for language in ("de", "")
    }
    async with harness.client("") as screen:
        page = await (await screen.get(f"/wallboard/Hall?token={texts['de']}")).text()
        assert '<html lang="de"' in page
        assert "Anrufe" in page
        assert '<html lang="en"' in await (await screen.get(f"/wallboard/Hall?token={texts['']}")).text()
        assert (
            '<html lang="de"' in await (await screen.get(f"/wallboard/Hall?token={texts['']}", headers=GERMAN)).text()
        )


async def test_language_of_mails_is_that_of_their_recipient(harness: ConsoleHarness) -> None:
    appdb, now_us = harness.appdb, harness.clock.microseconds()
    settings = MailSettings(host="mail.example.com", sender="a@example.com", console_url="https://calls.example.com")
    await appdb.mail_settings.put(settings)
    for name, language in (("Alice", "de"), ("Bob", "")):
        invitation = await appdb.users.add(name, "reader", None, email=f"{name}@example.com", now_us=now_us)
        await appdb.users.accept_invitation(invitation, "three short words", now_us=now_us)
        await appdb.reader_settings.put(name, ReaderSettings(language=language))
        await add_invitation_mail(appdb, harness.clock, await appdb.users.get(name), "abc")
        await request_reset(appdb, harness.clock, name)
    subjects = {mail.subject: mail.recipient for mail in await appdb.mails.latest(9)}
    assert subjects == {
        "Einladung zu Onhook": "Alice@example.com",
        "Anderes Passwort für Onhook": "Alice@example.com",
        "Invitation to Onhook": "Bob@example.com",
        "Another password for Onhook": "Bob@example.com",
    }


async def test_language_of_a_scheduled_report_is_that_of_its_user(harness: ConsoleHarness) -> None:
    appdb, now_us = harness.appdb, harness.clock.microseconds()
    await harness.ingest_details([details(harness.clock.now() - timedelta(days=1))])
    await appdb.users.add("Alice", "reader", None, email="alice@example.com", now_us=now_us)
    await appdb.reader_settings.put("Alice", ReaderSettings(language="de"))
    await appdb.report_schedules.add("Alice", "Tag", ReportSpec(report="outcomes"), now_us=now_us)
    (schedule,) = await appdb.report_schedules.all()
    run = await build_report_mails(harness.app_state, schedule, await appdb.users.get("Alice"))
    (mail,) = run.mails
    assert "Onhook sendet diesen Bericht für Alice: täglich um" in mail.content.text
    assert '<html lang="de"' in mail.content.html


@pytest.mark.parametrize("code", sorted(set(LANGUAGES) - {"en"}))
def test_language_has_its_dates_and_decimals(code: str) -> None:
    with use_language(code):
        formats = load_catalogue(code).formats
    assert len(formats.weekdays) == 7
    assert len(formats.months) == len(formats.short_months) == len(formats.lone_months) == 12
