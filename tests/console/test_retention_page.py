"""The page of retention, and buttons on the page of issues for what the console can do."""

import aiohttp
import pytest
from playwright.async_api import expect

from onhook.ledger.contract import CounterKey
from tests.console.conftest import ConsoleHarness
from tests.console.test_pages import OUTPUT, open_visit
from tests.factories import SN

NEW_SN = "3699NEW"


@pytest.mark.parametrize(
    ("form", "stored_days"),
    [({"choice": "days", "days": "90"}, {SN: 90}), ({"choice": "always"}, {SN: 0}), ({"choice": "auto"}, {})],
)
async def test_retention_page_changes_the_days_of_a_pbx(
    harness: ConsoleHarness, client: aiohttp.ClientSession, form: dict[str, str], stored_days: dict[str, int]
) -> None:
    await harness.appdb.retention_overrides.put(SN, 30)
    text = await (await client.post("/retention", data={"sn": SN} | form)).text()
    assert "Retention of office saved." in text
    assert await harness.appdb.retention_overrides.all() == stored_days
    assert f'<option value="{form["choice"]}" selected>' in text
    (entry,) = await harness.appdb.audit.latest(1)
    assert "retention of" in entry.action


@pytest.mark.parametrize(
    ("form", "stored_days", "sentence"),
    [
        ({"choice": "days", "days": "90"}, 90, "are deleted 90 days after"),
        ({"choice": "always"}, 0, "are kept for ever"),
        ({"choice": "auto"}, None, "are kept for ever"),
    ],
)
async def test_retention_page_changes_the_days_of_the_installation(
    harness: ConsoleHarness,
    client: aiohttp.ClientSession,
    form: dict[str, str],
    stored_days: int | None,
    sentence: str,
) -> None:
    """The serial number of a form of a PBX changes nothing there."""
    await harness.appdb.installation_retention.put(30)
    text = await (await client.post("/retention/installation", data={"sn": SN} | form)).text()
    assert "Retention of this installation saved." in text
    assert sentence in text
    assert await harness.appdb.installation_retention.get() == stored_days
    assert await harness.appdb.retention_overrides.all() == {}
    about = await (await client.get("/about")).text()
    assert ("Calls are deleted 90 days" in about) is (stored_days == 90)
    text = await (await client.post("/retention/installation", data={"choice": "days", "days": "many"})).text()
    assert ('id="error-installation"' in text, text.count('aria-invalid="true"')) == (True, 1)
    assert await harness.appdb.installation_retention.get() == stored_days


@pytest.mark.parametrize("form", [{"choice": "days", "days": "many"}, {"choice": "days"}, {"choice": "never"}])
async def test_retention_page_invalid_days_are_kept_and_explained(
    harness: ConsoleHarness, client: aiohttp.ClientSession, form: dict[str, str]
) -> None:
    text = await (await client.post("/retention", data={"sn": SN} | form)).text()
    assert "is not a number of days" in text
    assert f'value="{form.get("days", "")}"' in text
    assert await harness.appdb.retention_overrides.all() == {}


@pytest.mark.parametrize("choice", ["auto", "always"])
async def test_retention_page_number_beside_another_choice_is_not_ignored(
    harness: ConsoleHarness, client: aiohttp.ClientSession, choice: str
) -> None:
    """Of a PBX and of the installation; the number that the page has shown is not one that was entered."""
    await harness.appdb.retention_overrides.put(SN, 30)
    await harness.appdb.installation_retention.put(30)
    for path in ("/retention", "/retention/installation"):
        text = await (await client.post(path, data={"sn": SN, "choice": choice, "days": "90"})).text()
        assert ("90 days are entered" in text, 'value="90"' in text, "saved." in text) == (True, True, False)
    assert await harness.appdb.retention_overrides.all() == {SN: 30}
    assert await harness.appdb.installation_retention.get() == 30
    for path in ("/retention", "/retention/installation"):
        text = await (await client.post(path, data={"sn": SN, "choice": choice, "days": "30"})).text()
        assert "saved." in text


async def test_retention_page_is_for_administrators(harness: ConsoleHarness) -> None:
    reader = await harness.appdb.tokens.add("reader", "reader", now_us=harness.clock.microseconds())
    async with harness.client(reader) as client:
        assert (await client.get("/retention")).status == 403
        assert (await client.post("/retention", data={"sn": SN})).status == 403
        assert (await client.post("/retention/installation", data={"choice": "days", "days": "1"})).status == 403


async def test_issues_page_has_buttons_for_remedies(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """For administrators: a connection that fails, an unknown PBX; not for a PBX that was removed."""
    now_us = harness.clock.microseconds()
    await harness.appdb.alarms.raise_alarm(SN, "credentials", "wrong secret", hint="", now_us=now_us)
    await harness.ledger.add_counts({CounterKey("unknown_pbx", NEW_SN, ""): 2}, now_us)
    remedies = (f'href="/pbxs/{SN}/connection"', f'action="/pbxs/{SN}/checks"', f'href="/add-pbx?sn={NEW_SN}"')
    text = await (await client.get("/issues")).text()
    assert [remedy in text for remedy in remedies] == [True, True, True]
    reader = await harness.appdb.tokens.add("reader", "reader", now_us=now_us)
    async with harness.client(reader) as other:
        text = await (await other.get("/issues")).text()
    assert [remedy in text for remedy in remedies] == [False, False, False]


async def test_retention_walk_sets_days(harness: ConsoleHarness, chromium_path: str) -> None:
    """By keyboard, on a telephone."""
    async with open_visit(harness, chromium_path, viewport={"width": 390, "height": 900}) as visit:
        page = visit.page
        await page.goto(harness.url + "/")
        await page.get_by_role("link", name="Retention").press("Enter")
        pbx_form = page.locator("form[action='/retention']")
        await pbx_form.get_by_label("Keep calls").select_option("days")
        await pbx_form.get_by_role("textbox", name="Days").fill("many")
        await page.get_by_role("button", name="Save office").press("Enter")
        await expect(page.get_by_role("alert").filter(has_text="is not a number of days")).to_be_visible()
        await page.screenshot(path=OUTPUT / "retention.png", full_page=True)
        await pbx_form.get_by_role("textbox", name="Days").fill("90")
        await page.get_by_role("button", name="Save office").press("Enter")
        await expect(page.get_by_role("status").filter(has_text="saved")).to_be_visible()
