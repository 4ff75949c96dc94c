"""Scheduled reports on their page and by the API: rights, forms, and links that end mails."""

import html
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qsl, quote

import aiohttp
import msgspec
import pytest

from onhook.appdb.mail_settings import MailSettings
from onhook.appdb.report_spec import ReportSpec
from onhook.console.report_mails.changes import parse_page_path
from onhook.console.report_mails.unsubscribing import make_token
from tests.console.conftest import ConsoleHarness
from tests.console.test_users import anonymous, browser, invite, signed_in

__all__ = ["browser"]

API = "/api/v1/report-schedules"
NEW = {"name": "Queues", "report": "queues", "query": "pbx=office", "frequency": "weekly", "zone": "Europe/Berlin"}
FORM = NEW | {"hour": "7", "weekday": "2", "day": "1", "to_user": "yes", "xlsx": "yes"}


@pytest.fixture
async def console_url(harness: ConsoleHarness) -> str:
    """Set the mail server, and return where links in mails begin."""
    settings = MailSettings(
        host="mail.example.com", sender="a@example.com", console_url="https://calls.example.com", mails_per_hour=1
    )
    await harness.appdb.mail_settings.put(settings)
    return settings.console_url


@asynccontextmanager
async def user_of(
    harness: ConsoleHarness, browser: aiohttp.ClientSession, name: str, **more: str
) -> AsyncIterator[aiohttp.ClientSession]:
    """Yield the browser of a user with an address."""
    async with signed_in(harness, await invite(browser, name, email=f"{name}@example.com", **more)) as session:
        yield session


async def post(client: aiohttp.ClientSession, path: str, form: dict[str, str]) -> str:
    async with client.post(path, data=form) as response:
        assert response.status == 200, await response.text()
        return html.unescape(await response.text())


async def test_report_schedules_page_adds_changes_pauses_tests_and_removes(
    harness: ConsoleHarness, browser: aiohttp.ClientSession
) -> None:
    async with user_of(harness, browser, "alice") as alice:
        page = await (await alice.get("/report-schedules/new?report=queues&filters=pbx%3Doffice")).text()
        assert '<option value="queues" selected>' in page
        assert "<option selected>office</option>" in page
        page = await post(alice, "/report-schedules", FORM)
        assert "Queues is scheduled." in page
        assert "weekly on Tuesday at 07:00, Europe/Berlin" in page
        assert "No mail server is set" in page
        (schedule,) = await harness.appdb.report_schedules.all()
        path = f"/report-schedules/{schedule.schedule_id}"
        page = await (await alice.get(path)).text()
        assert '<option value="2" selected>' in page
        assert "paused" in await post(alice, f"{path}/pause", {})
        assert "is sent again" in await post(alice, f"{path}/resume", {})
        assert "test is being sent" in await post(alice, f"{path}/test", {})
        assert "sent a moment ago" in await post(alice, f"{path}/test", {})
        assert "is changed" in await post(alice, path, FORM | {"hour": "8", "frequency": "monthly", "day": "31"})
        (schedule,) = await harness.appdb.report_schedules.all()
        assert (schedule.spec.recurrence.day, schedule.spec.recurrence.hour) == (31, 8)
        assert "No scheduled reports." in await post(alice, f"{path}/remove", {})
    actions = [entry.action for entry in await harness.appdb.audit.latest(9)]
    assert {"add scheduled report Queues", "remove scheduled report Queues"} <= set(actions)


async def test_report_schedules_form_has_filters_in_words(
    harness: ConsoleHarness, browser: aiohttp.ClientSession
) -> None:
    """Those of a page; PBX and type have fields of their own. What is saved is what was shown."""
    async with user_of(harness, browser, "alice") as alice:
        query = "pbx=office&type=inbound&did_number=4930&min_talk_duration=60"
        page = await (await alice.get(f"/report-schedules/new?report=calls&filters={quote(query)}")).text()
        assert ("<option selected>office</option>" in page, 'value="Inbound" selected' in page) == (True, True)
        assert "DID number: 4930, Talk, minimum: 1:00" in page
        (own_query,) = re.findall(r'name="query"[^>]* value="([^"]*)"', page)
        form = FORM | {"report": "calls", "pbx": "office", "type": "Inbound", "query": html.unescape(own_query)}
        await post(alice, "/report-schedules", form)
        (schedule,) = await harness.appdb.report_schedules.all()
        assert schedule.spec.filters == dict(parse_qsl(query)) | {"type": "Inbound"}
        page = await (await alice.get("/report-schedules")).text()
        (removal,) = re.findall(r'<details class="confirm">.*?</details>', page, re.DOTALL)
        assert f'action="/report-schedules/{schedule.schedule_id}/remove"' in removal
        page = await (await alice.get(f"/report-schedules/{schedule.schedule_id}")).text()
        assert "DID number: 4930, Talk, minimum: 1:00" in page


async def test_report_schedules_form_invalid_values_are_kept_and_explained(
    harness: ConsoleHarness, browser: aiohttp.ClientSession
) -> None:
    async with user_of(harness, browser, "alice") as alice:
        for changes, message in (
            ({"frequency": "hourly"}, "choose daily, weekly or monthly"),
            ({"hour": "24"}, "hour is 0 to 23"),
            ({"weekday": "x"}, "'x' is not a number"),
            ({"zone": "Berlin"}, "Berlin"),
            ({"query": "until=now"}, "there is no filter 'until'"),
            ({"query": "type=inbound&type=outbound"}, "repeated"),
            ({"report": "weather"}, "there is no report 'weather'"),
            ({"to_user": ""}, "has no recipient"),
            ({"addresses": "boss"}, "is not an e-mail address"),
            ({"addresses": "boss@example.com"}, "may not have reports sent to other addresses"),
        ):
            page = await post(alice, "/report-schedules", FORM | {"name": "kept name"} | changes)
            assert message.lower() in page.lower()
            assert 'value="kept name"' in page
    assert await harness.appdb.report_schedules.all() == []


async def test_report_schedules_belong_to_their_users_and_administrators(
    harness: ConsoleHarness, browser: aiohttp.ClientSession, console_url: str
) -> None:
    assert console_url
    async with (
        user_of(harness, browser, "alice") as alice,
        user_of(harness, browser, "bob", may_mail="yes") as bob,
        harness.client() as administrator,
    ):
        added = await (await alice.post(API, json=NEW)).json()
        assert (added["user"], added["state"], added["zone"]) == ("alice", "active", "Europe/Berlin")
        path = f"{API}/{added['schedule_id']}"
        assert (await bob.get(path)).status == 404
        for action in ("pause", "resume", "test"):
            assert (await bob.post(f"{path}/{action}")).status == 404
            assert (await bob.post(f"/report-schedules/{added['schedule_id']}/{action}")).status == 404
        assert (await bob.put(path, json=NEW)).status == 404
        assert (await bob.delete(path)).status == 404
        assert (await (await bob.get(API)).json())["data"] == []
        assert "Queues" not in await (await bob.get("/report-schedules")).text()
        # Other addresses: by the permission, checked for the user whose report it is.
        outside = NEW | {"addresses": ["boss@example.com"]}
        assert (await alice.put(path, json=outside)).status == 400
        assert (await administrator.put(path, json=outside)).status == 400
        assert (await bob.post(API, json=outside)).status == 201
        assert (await bob.post(API, json=outside | {"user": "alice"})).status == 403
        assert (await administrator.post(API, json=outside | {"user": "bob"})).status == 201
        assert (await administrator.post(API, json=NEW)).status == 403, "a token is no user"
        schedules = (await (await administrator.get(API)).json())["data"]
        assert sorted(schedule["user"] for schedule in schedules) == ["alice", "bob", "bob"]
        assert (await administrator.post(f"{path}/pause")).status == 200
        assert (await alice.put(path, json=NEW | {"hour": 9})).status == 200
        assert (await (await alice.get(path)).json())["state"] == "paused"
        assert (await alice.delete(path)).status == 204
    settings = await harness.appdb.mail_settings.require()
    await harness.appdb.mail_settings.put(msgspec.structs.replace(settings, console_url=""))
    async with harness.client() as administrator:
        answer = await administrator.post(API, json=outside | {"user": "bob"})
        assert (answer.status, "the address of the console is not set" in await answer.text()) == (400, True)


async def test_unsubscribe_link_ends_the_mails_of_its_own_address_by_a_request_of_a_mail_program(
    harness: ConsoleHarness,
) -> None:
    await harness.appdb.users.add("alice", "administrator", None, now_us=1)
    addresses = ["Boss@example.com", "other@example.com"]
    spec = ReportSpec(report="queues", addresses=addresses)
    schedule = await harness.appdb.report_schedules.add("alice", "Queues", spec, now_us=1)
    number = schedule.schedule_id
    tokens = [await make_token(harness.appdb, number, address) for address in addresses]
    async with anonymous(harness) as visitor:
        page = html.unescape(await (await visitor.get(f"/unsubscribe?token={tokens[0]}")).text())
        assert "Mails of the report “Queues” are sent to Boss@example.com." in page
        assert "other@example.com" not in page
        assert await harness.appdb.report_schedules.list_optouts(number) == frozenset(), "programs open links"
        # RFC 8058: from another site, with one of these bodies.
        headers = {"Sec-Fetch-Site": "cross-site"}
        form = {"List-Unsubscribe": "One-Click"}
        assert (await visitor.post(f"/unsubscribe?token={tokens[0]}", data=form, headers=headers)).status == 200
        assert await harness.appdb.report_schedules.list_optouts(number) == {"boss@example.com"}
        with aiohttp.MultipartWriter("form-data") as multipart:
            multipart.append("One-Click").set_content_disposition("form-data", name="List-Unsubscribe")
        assert (await visitor.post(f"/unsubscribe?token={tokens[1]}", data=multipart)).status == 200
        assert len(await harness.appdb.report_schedules.list_optouts(number)) == 2
        assert "gets no further mails" in await (await visitor.get(f"/unsubscribe?token={tokens[0]}")).text()
        changed = tokens[0][:-1] + ("A" if tokens[0][-1] != "A" else "B")
        for token in ("", "x", f"{number}.", changed, re.sub(r"^\d+", "7", tokens[0]), "9" * 30 + ".x"):
            assert (await visitor.post(f"/unsubscribe?token={token}")).status == 404
    assert (await harness.appdb.report_schedules.get(number)).spec.addresses == addresses


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/calls?status=busy&since=30d&columns=wait", ("calls", "status=busy")),
        ("/reports?report=agents&group_by=site&until=now", ("agents", "group_by=site")),
        ("/reports?status=busy", ("volume", "")),
        ("/missed?pbx=A%26B", ("missed-digest", "pbx=A%26B")),
    ],
)
def test_parse_page_path_keeps_filters_without_a_period(path: str, expected: tuple[str, str]) -> None:
    assert parse_page_path(path) == expected
