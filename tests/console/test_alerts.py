"""The page of alerts: what a user chooses, and for whom it is."""

import html
import re
from typing import Any

import aiohttp
import msgspec
import pytest

from onhook.appdb.alert_channels import ALERT_KINDS
from onhook.appdb.destination_spec import DestinationSpec
from onhook.appdb.destinations import Destination
from onhook.appdb.mail_settings import MailSettings
from onhook.cdr.access_scope import AccessScope
from onhook.console.alert_changes import send_test
from onhook.lib.errors import UsageError
from onhook.lib.quiet_hours import QuietHours
from tests.console.conftest import ConsoleHarness
from tests.console.test_users import browser, invite, signed_in
from tests.ops.mail_world import MovedClock

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


def of_api(client: aiohttp.ClientSession, method: str, path: str = "", **body: Any) -> Any:
    return client.request(method, f"/api/v1/alerts{path}", json=body or None)


@pytest.fixture
async def pager(harness: ConsoleHarness) -> Destination:
    """Return a destination that users choose."""
    spec = DestinationSpec(url="https://chat.example.com/", notifies_of="issues", chosen_by_users=True)
    destination, _secret = await harness.appdb.destinations.add("pager", spec, None, after=0, now_us=1)
    return destination


async def test_alerts_api_has_the_powers_of_the_page_for_users_and_administrators(
    harness: ConsoleHarness, browser: aiohttp.ClientSession, client: aiohttp.ClientSession, pager: Destination
) -> None:
    assert pager.destination_id == 1
    async with signed_in(harness, await invite(browser, "alice", email="alice@example.com")) as alice:
        async with of_api(alice, "POST", destination="pager", kinds=["alarm_silence", "check"]) as answer:
            added = await answer.json()
            expected = {"user": "alice", "destination": "pager", "kinds": ["check", "alarm_silence"], "pending": 0}
            assert (answer.status, added) == (201, {"channel_id": added["channel_id"], **expected})
        assert (await of_api(alice, "POST", user="bob")).status == 403
        await invite(browser, "bob")
        async with of_api(client, "POST", user="bob") as answer:
            mail = await answer.json()
            assert (answer.status, mail["destination"], mail["kinds"]) == (201, "", list(ALERT_KINDS))
        assert len((await (await of_api(client, "GET")).json())["data"]) == 2
        assert (await (await of_api(alice, "GET")).json())["data"] == [added]
        for method, path, body in (("PUT", "", {"kinds": ["check"]}), ("DELETE", "", {}), ("POST", "/test", {})):
            assert (await of_api(alice, method, f"/{mail['channel_id']}{path}", **body)).status == 404
        async with of_api(alice, "PUT", f"/{added['channel_id']}", kinds=["destination"]) as answer:
            assert (await answer.json())["kinds"] == ["destination"]
        page = await read(alice)
        assert 'name="1:destination" value="yes" checked' in page
        hours = {"begin": 22, "end": 7, "zone": "Europe/Rome"}
        async with of_api(alice, "PUT", "/quiet-hours", **hours) as answer:
            assert await answer.json() == {"user": "alice", **hours}
        async with client.get("/api/v1/alerts/quiet-hours?user=alice") as answer:
            assert await answer.json() == {"user": "alice", **hours}
        assert (await alice.get("/api/v1/alerts/quiet-hours?user=bob")).status == 403
        assert (await client.get("/api/v1/alerts/quiet-hours")).status == 403
        assert (await of_api(alice, "DELETE", f"/{added['channel_id']}")).status == 204
        assert (await of_api(alice, "DELETE", f"/{added['channel_id']}")).status == 404
    assert [channel.user_name for channel in await harness.appdb.alert_channels.all()] == ["bob"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"user": "alice", "destination": "pager"}, (400, "has this channel already")),
        ({"user": "alice", "destination": "crm"}, (400, "no destination that users choose")),
        ({"user": "alice", "destination": "none"}, (404, "none")),
        ({"user": "alice", "kinds": ["weather"]}, (400, "no kind of issues 'weather'")),
        ({"user": "alice", "kinds": []}, (400, "kinds")),
        ({"user": "limited"}, (400, "is limited, and sees no issues")),
        ({"user": "carol"}, (404, "carol")),
        ({}, (403, "a token has no alerts")),
    ],
)
async def test_alerts_api_channel_that_cannot_be_is_rejected(
    harness: ConsoleHarness,
    client: aiohttp.ClientSession,
    pager: Destination,
    body: dict[str, Any],
    expected: tuple[int, str],
) -> None:
    await harness.appdb.users.add("alice", "reader", None, now_us=1)
    await harness.appdb.users.add("limited", "reader", AccessScope(numbers=("1001",)), now_us=1)
    await harness.appdb.destinations.add("crm", DestinationSpec(url="https://a.example/"), None, after=0, now_us=1)
    await harness.appdb.alert_channels.add("alice", pager.destination_id, ["check"])
    async with of_api(client, "POST", **body) if body else client.post("/api/v1/alerts", json={}) as answer:
        problem = await answer.text()
        assert (answer.status, expected[1] in problem) == (expected[0], True), problem
    assert len(await harness.appdb.alert_channels.all()) == 1


async def test_alerts_test_goes_the_way_of_an_alert(
    harness: ConsoleHarness, browser: aiohttp.ClientSession, pager: Destination
) -> None:
    """By API and page; mails one a minute, and by no destination that is paused."""
    channels = harness.appdb.alert_channels
    async with signed_in(harness, await invite(browser, "alice", email="alice@example.com")) as alice:
        by_mail = await channels.add("alice", None, ["check"])
        by_pager = await channels.add("alice", pager.destination_id, ["check"])
        async with of_api(alice, "POST", f"/{by_mail.channel_id}/test") as answer:
            assert (answer.status, "no mail server" in (await answer.text()).lower()) == (404, True)
        settings = MailSettings(host="mail.example.com", sender="a@example.com")
        await harness.appdb.mail_settings.put(settings)
        async with of_api(alice, "POST", f"/{by_mail.channel_id}/test") as answer:
            assert (answer.status, await answer.json()) == (202, {"channel_id": by_mail.channel_id})
        assert [(mail.recipient, mail.subject) for mail in await harness.appdb.mails.latest(9)] == [
            ("alice@example.com", "Test of alerts")
        ]
        page = await read(alice)
        assert page.count("/test") == 2
        async with alice.post(f"{PATH}/{by_pager.channel_id}/test") as answer:
            assert "A test is sent within seconds." in await answer.text()
        (delivery,) = await harness.appdb.deliveries.newest(pager.destination_id, "retrying", 9)
        issue = msgspec.json.decode(await harness.appdb.deliveries.body(delivery.delivery_id))["issue"]
        assert (issue["kind"], issue["detail"]) == ("alert_test", "This is a test of the alerts of alice.")
        await harness.appdb.destinations.set_state("pager", "paused")
        async with of_api(alice, "POST", f"/{by_pager.channel_id}/test") as answer:
            assert (answer.status, "pager is paused" in await answer.text()) == (400, True)


async def test_alerts_page_test_that_cannot_be_sent_is_an_error_on_the_page(
    harness: ConsoleHarness, browser: aiohttp.ClientSession, pager: Destination
) -> None:
    channels = harness.appdb.alert_channels
    async with signed_in(harness, await invite(browser, "alice", email="alice@example.com")) as alice:
        by_mail = await channels.add("alice", None, ["check"])
        by_pager = await channels.add("alice", pager.destination_id, ["check"])
        await harness.appdb.destinations.set_state("pager", "paused")
        for channel_id, reason in (
            (by_mail.channel_id, "No mail server is set"),
            (by_pager.channel_id, "pager is paused"),
            (by_pager.channel_id + 1, "There is no alert channel"),
        ):
            async with alice.post(f"{PATH}/{channel_id}/test") as answer:
                page = html.unescape(await answer.text())
                assert (answer.status, answer.url.path) == (200, PATH)
            (error,) = re.findall('<p class="error" role="alert"[^>]*>(.*?)</p>', page, re.DOTALL)
            assert reason.lower() in error.lower()
            assert 'class="success"' not in page


async def test_alerts_test_by_mail_is_one_a_minute(harness: ConsoleHarness) -> None:
    await harness.appdb.users.add("alice", "reader", None, now_us=1, email="alice@example.com")
    await harness.appdb.mail_settings.put(MailSettings(host="mail.example.com", sender="a@example.com"))
    channel, clock = await harness.appdb.alert_channels.add("alice", None, ["check"]), MovedClock()
    await send_test(harness.appdb, clock, channel)
    with pytest.raises(UsageError, match="a moment ago"):
        await send_test(harness.appdb, clock, channel)
    clock.move(60)
    await send_test(harness.appdb, clock, channel)
    assert len(await harness.appdb.mails.latest(9)) == 2
