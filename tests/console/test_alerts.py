"""The page of alerts: what a user chooses, and for whom it is."""

import html

import aiohttp

from onhook.appdb.destination_spec import DestinationSpec
from onhook.lib.quiet_hours import QuietHours
from tests.console.conftest import ConsoleHarness
from tests.console.test_users import browser, invite, signed_in

__all__ = ["browser"]

PATH = "/account/alerts"


async def read(client: aiohttp.ClientSession, form: dict[str, str] | None = None) -> str:
    request = client.get(PATH) if form is None else client.post(PATH, data=form)
    async with request as response:
        assert response.status == 200
        return html.unescape(await response.text())


async def test_alerts_page_sets_kinds_of_each_way_and_quiet_hours(
    harness: ConsoleHarness, browser: aiohttp.ClientSession
) -> None:
    for name, is_chosen in (("pager", True), ("all issues", False)):
        spec = DestinationSpec(url="https://chat.example.com/", notifies_of="issues", chosen_by_users=is_chosen)
        await harness.appdb.destinations.add(name, spec, None, after=0, now_us=1)
    async with signed_in(harness, await invite(browser, "alice", email="alice@example.com")) as alice:
        page = await read(alice)
        assert "No mail server is set" in page
        assert "pager" in page
        assert "all issues" not in page
        hours = {"quiet_begin": "22", "quiet_end": "7", "zone": "Europe/Rome"}
        form = {"mail:destination": "yes", "mail:weather": "yes", "1:alarm_silence": "yes", "2:check": "yes", **hours}
        page = await read(alice, form)
        assert "Alerts saved." in page
        assert page.count('value="yes" checked') == 2
        assert '<option value="22" selected>' in page
        chosen = {channel.destination_id: channel.kinds for channel in await harness.appdb.alert_channels.all()}
        assert chosen == {None: ("destination",), 1: ("alarm_silence",)}
        stored_hours = await harness.appdb.alert_channels.all_quiet_hours()
        assert stored_hours == {"alice": QuietHours(begin=22, end=7, zone="Europe/Rome")}
        for changes, message in (({"zone": "Rome"}, "no time zone 'Rome'"), ({"quiet_end": "x"}, "'x' is not an hour")):
            page = await read(alice, form | changes)
            assert message in page
            assert 'name="mail:destination" value="yes" checked' in page
        assert len(await harness.appdb.alert_channels.all()) == 2
        assert (await harness.appdb.audit.latest(1))[0].action.startswith("add alerts of alice")


async def test_alerts_are_for_users_without_a_limit(harness: ConsoleHarness, browser: aiohttp.ClientSession) -> None:
    assert "signed in with a token" in await read(browser)
    assert (await browser.post(PATH, data={"mail:check": "yes"})).status == 403
    async with signed_in(harness, await invite(browser, "bob", numbers="1001")) as bob:
        assert (await bob.get(PATH)).status == 403
        assert (await bob.post(PATH, data={"mail:check": "yes"})).status == 403
        assert PATH not in await (await bob.get("/account")).text()
    assert await harness.appdb.alert_channels.all() == []
