"""The log of a destination in the API and on its pages: filters, pages, what was sent, sending again, days, access."""

import json
import re
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

import aiohttp
import pytest
from playwright.async_api import expect

from onhook.appdb.delivery_rows import AttemptState, DeliveryCommit, HttpExchange, NewAttempt, NewLoggedAttempt
from onhook.appdb.destination_spec import DestinationSpec
from onhook.cdr.access_scope import AccessScope
from onhook.cdr.number_masking import Mask
from onhook.lib.timestamps import to_microseconds
from tests.console.conftest import ConsoleHarness
from tests.console.test_pages import OUTPUT, open_visit
from tests.delivery.harness import WebhookReceiver
from tests.factories import SN, details

PATH = "/api/v1/destinations"
ZONE = ZoneInfo("Europe/Berlin")
"""Of the console."""

NUMBER = "7777777"
"""In each body that is logged."""

BODY = json.dumps({"sn": SN, "type": 30012, "msg": json.dumps({"call_id": "1777287876.1", "call_from": NUMBER})})
EXCHANGE = HttpExchange(
    method="POST", url="http://127.0.0.1:9/calls?key=…", request_headers={"X-Key": "…", "X-Signature": "abc="},
    response_headers={"Server": "gateway"},
)  # fmt: skip


@pytest.fixture
async def filled(harness: ConsoleHarness) -> ConsoleHarness:
    """Return a console with a destination that has four attempts: of two calls, one of them rejected twice."""
    spec = DestinationSpec(url="http://127.0.0.1:9/calls", allow_private=True)
    await harness.appdb.destinations.add("CRM", spec, None, after=0, now_us=1)
    now = harness.clock.now()
    states: tuple[AttemptState, ...] = ("accepted", "rejected", "rejected", "accepted")
    attempts = [
        logged_attempt(seq, now - timedelta(minutes=10 - seq), state, f"1777287876.{1 if seq == 1 else 2}")
        for seq, state in enumerate(states, 1)
    ]
    await add_attempts(harness, attempts)
    return harness


@pytest.fixture
async def browser(filled: ConsoleHarness) -> AsyncIterator[aiohttp.ClientSession]:
    """Yield the browser session of an administrator."""
    jar = aiohttp.CookieJar(unsafe=True)
    async with filled.client("", cookie_jar=jar, headers={"Sec-Fetch-Site": "same-origin"}) as session:
        async with session.post("/sign-in", data={"token": filled.admin_token}) as answer:
            assert answer.status == 200
        yield session


def logged_attempt(seq: int, attempted_at: datetime, state: AttemptState, call_id: str) -> NewLoggedAttempt:
    attempt = NewAttempt(
        attempted_at=to_microseconds(attempted_at), duration_ms=1_234, status=200 if state == "accepted" else 500,
        detail="HTTP 200 OK" if state == "accepted" else "HTTP 500", body=b'{"ok":true}',
    )  # fmt: skip
    return NewLoggedAttempt(
        notification_id=f"n{seq}", seq=seq, call=(SN, call_id), body=BODY.encode(), state=state, attempt=attempt,
        exchange=EXCHANGE,
    )  # fmt: skip


async def add_attempts(
    harness: ConsoleHarness, attempts: Sequence[NewLoggedAttempt], *, committed_at: datetime | None = None
) -> None:
    await harness.appdb.deliveries.commit(
        DeliveryCommit(
            destination_id=1, revision=1, cursors={}, finished_replays=(), new_deliveries=(), updates=(),
            attempts_succeeded=sum(attempt.state == "accepted" for attempt in attempts),
            attempts_failed=sum(attempt.state != "accepted" for attempt in attempts), failing_since=None, retry_after=0,
            retry_all_now=False, now_us=to_microseconds(committed_at or harness.clock.now()), logged_attempts=attempts,
        )
    )  # fmt: skip


async def read_json(client: aiohttp.ClientSession, path: str, status: int = 200, method: str = "GET") -> Any:
    async with client.request(method, path) as answer:
        assert answer.status == status, await answer.text()
        return await answer.json()


async def read_page(browser: aiohttp.ClientSession, path: str, status: int = 200) -> str:
    async with browser.get(path) as answer:
        assert answer.status == status
        return await answer.text()


async def test_log_lists_attempts_by_filter_and_page(filled: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    first = await read_json(client, f"{PATH}/CRM/log?limit=3")
    assert [attempt["seq"] for attempt in first["data"]] == [4, 3, 2]
    second = await read_json(client, f"{PATH}/CRM/log?limit=3&cursor={first['next']}")
    assert ([attempt["seq"] for attempt in second["data"]], second["next"]) == ([1], None)
    middle = (filled.clock.now() - timedelta(minutes=7, seconds=30)).strftime("%Y-%m-%dT%H:%M:%SZ")
    for query, seqs in (
        ("state=failed", [3, 2]),
        ("state=accepted&call_id=1777287876.2", [4]),
        (f"sn={SN}&call_id=1777287876.1", [1]),
        (f"since={middle}", [4, 3]),
        (f"until={middle}&state=rejected", [2]),
        ("since=tomorrow", None),
        ("state=happy", None),
        ("cursor=x", None),
    ):
        page = await read_json(client, f"{PATH}/CRM/log?{query}", 200 if seqs is not None else 400)
        assert seqs is None or [attempt["seq"] for attempt in page["data"]] == seqs, query
    await read_json(client, f"{PATH}/BI/log", 404)


async def test_log_attempt_has_headers_and_bodies(filled: ConsoleHarness, client: aiohttp.ClientSession) -> None:  # noqa: ARG001 - filled first
    (attempt,) = (await read_json(client, f"{PATH}/CRM/log?call_id=1777287876.1"))["data"]
    view = await read_json(client, f"{PATH}/CRM/log/{attempt['attempt_id']}")
    assert (view["attempt"], view["notification"], view["response"]) == (attempt, BODY, '{"ok":true}')
    assert view["exchange"]["request_headers"] == {"X-Key": "…", "X-Signature": "abc="}
    assert (attempt["duration_ms"], attempt["status"], attempt["state"]) == (1_234, 200, "accepted")
    await read_json(client, f"{PATH}/CRM/log/999", 404)


async def test_log_attempt_is_sent_again(filled: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """A second request while it is pending is the same delivery."""
    (attempt,) = (await read_json(client, f"{PATH}/CRM/log?call_id=1777287876.1"))["data"]
    path = f"{PATH}/CRM/log/{attempt['attempt_id']}/resend"
    delivery = await read_json(client, path, method="POST")
    assert (delivery["state"], delivery["notification_id"], delivery["call_id"]) == ("retrying", "n1", "1777287876.1")
    assert (await read_json(client, path, method="POST"))["delivery_id"] == delivery["delivery_id"]
    assert await filled.appdb.deliveries.body(delivery["delivery_id"]) == BODY.encode()
    await read_json(client, f"{PATH}/CRM/log/999/resend", 404, "POST")


async def test_days_begin_in_the_readers_zone(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """An attempt just before midnight and one just after it belong to two days; older ones to none."""
    await harness.appdb.destinations.add("CRM", DestinationSpec(url="http://a.example/"), None, after=0, now_us=1)
    now = harness.clock.now()
    midnight = now.astimezone(ZONE).replace(hour=0, minute=0, second=0, microsecond=0)
    for committed_at, state in (
        (midnight - timedelta(minutes=1), "rejected"),
        (midnight + timedelta(seconds=1), "accepted"),
        (midnight - timedelta(days=6, minutes=1), "accepted"),
        (midnight - timedelta(days=6) + timedelta(minutes=1), "accepted"),
    ):
        await add_attempts(harness, [logged_attempt(1, now, state, "1.1")], committed_at=committed_at)  # type: ignore[arg-type] # a state
    days = (await read_json(client, f"{PATH}/CRM/days"))["data"]
    assert [(day["accepted"], day["failed"]) for day in days] == [(1, 0), *[(0, 0)] * 4, (0, 1), (1, 0)]
    assert days[-1]["day"] == midnight.date().isoformat()
    tokyo = (await read_json(client, f"{PATH}/CRM/days?zone=Asia/Tokyo"))["data"]
    assert sum(day["accepted"] + day["failed"] for day in tokyo) >= 2


async def test_log_pages_show_filter_and_send_again(filled: ConsoleHarness, browser: aiohttp.ClientSession) -> None:
    """The page of the destination has the latest attempts, the days, and a sample event as the test."""
    page = await read_page(browser, "/destinations/1")
    assert "Send sample event" in page
    assert page.count('href="/destinations/1/log/') == 4
    assert "Success rate" in page
    assert "50 %" in page
    page = await read_page(browser, "/destinations/1/log?state=failed")
    links = re.findall(r'"(/destinations/1/log/\d+)"', page)
    assert len(links) == 2
    assert "1\u202f234 ms" in page
    page = await read_page(browser, links[0])
    for text in ("X-Signature", "abc=", "Server", "gateway", "The event in <code>msg</code>", "HTTP 500"):
        assert text in page
    assert re.search(r"&#34;call_from&#34;: &#34;7777777&#34;", page)
    async with browser.post(f"{links[0]}/resend") as answer:
        assert "The notification is sent again: delivery 1." in await answer.text()
    (delivery,) = await filled.appdb.deliveries.page(1, None, 9)
    assert delivery.state == "retrying"
    assert "No attempt matches" in await read_page(browser, "/destinations/1/log?call_id=nothing")


async def test_call_page_has_the_attempts_of_the_call(filled: ConsoleHarness, browser: aiohttp.ClientSession) -> None:
    await filled.ingest_details([details(call_id="1777287876.2")])
    page = await read_page(browser, f"/calls/{SN}/1777287876.2")
    assert "Sent to destinations" in page
    assert len(re.findall(r'href="/destinations/1/log/\d+"', page)) == 3


async def test_log_page_invalid_time_is_marked_in_its_form(browser: aiohttp.ClientSession) -> None:
    page = await read_page(browser, "/destinations/1/log?since=soon&state=failed", 400)
    assert re.search(r'name="since" aria-invalid="true"[^>]* value="soon"', page)
    assert '<option value="failed" selected>' in page


async def test_log_page_has_older_attempts_behind_a_link(
    harness: ConsoleHarness, filled: ConsoleHarness, browser: aiohttp.ClientSession
) -> None:
    before = harness.clock.now() - timedelta(hours=1)
    await add_attempts(filled, [logged_attempt(seq, before, "accepted", f"2.{seq}") for seq in range(60)])
    page = await read_page(browser, "/destinations/1/log?state=accepted")
    (older_url,) = re.findall(r'<a href="([^"]+)" rel="next"', page)
    older_page = await read_page(browser, older_url.replace("&amp;", "&"))
    attempt_links = [re.findall(r'"/destinations/1/log/(\d+)"', text) for text in (page, older_page)]
    assert [len(links) for links in attempt_links] == [50, 12]
    assert not set(attempt_links[0]) & set(attempt_links[1])


@pytest.mark.parametrize(
    ("scope", "mask"),
    [(AccessScope(sns=(SN,)), "none"), (AccessScope(numbers=("1001",)), "none"), (AccessScope(), "last3")],
)
async def test_log_is_closed_to_limited_readers(
    filled: ConsoleHarness, client: aiohttp.ClientSession, scope: AccessScope, mask: Mask
) -> None:
    """It has all PBXs and all numbers: neither a page nor a route shows a part of it."""
    (attempt, *_older_attempts) = (await read_json(client, f"{PATH}/CRM/log"))["data"]
    number = attempt["attempt_id"]
    limited = AccessScope(sns=scope.sns, numbers=scope.numbers, mask=mask)
    token = await filled.appdb.tokens.add("limited", "reader", now_us=filled.clock.microseconds(), scope=limited)
    await filled.ingest_details([details(call_id="1777287876.1", call_from="1001", call_to="1002")])
    async with filled.client(token) as reader:
        for path in (
            *(f"{PATH}/CRM/log", f"{PATH}/CRM/log/{number}", f"{PATH}/CRM/days", f"{PATH}/CRM/preview"),
            *("/destinations/1", "/destinations/1/log", f"/destinations/1/log/{number}"),
        ):
            async with reader.get(path) as answer:
                assert answer.status == 403, path
                assert NUMBER not in await answer.text()
        for path in (f"{PATH}/CRM/log/{number}/resend", f"/destinations/1/log/{number}/resend"):
            async with reader.post(path) as answer:
                assert answer.status == 403, path
        async with reader.get(f"/calls/{SN}/1777287876.1") as answer:
            assert (answer.status, "destinations" in await answer.text()) == (200, False)
    assert await filled.appdb.deliveries.page(1, None, 9) == []


async def test_log_reader_without_limits_reads_and_sends_nothing(
    filled: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    (attempt, *_older_attempts) = (await read_json(client, f"{PATH}/CRM/log"))["data"]
    token = await filled.appdb.tokens.add("reader", "reader", now_us=filled.clock.microseconds())
    async with filled.client(token) as reader:
        await read_json(reader, f"{PATH}/CRM/log/{attempt['attempt_id']}")
        await read_json(reader, f"{PATH}/CRM/log/{attempt['attempt_id']}/resend", 403, "POST")


async def test_log_has_tests_of_the_console(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """A destination without a log of its own has none of them."""
    async with WebhookReceiver().listen() as receiver:
        spec = DestinationSpec(url=receiver.url, allow_private=True)
        await harness.appdb.destinations.add("CRM", spec, None, after=0, now_us=1)
        await read_json(client, f"{PATH}/CRM/test?sample=true", method="POST")
        (attempt,) = (await read_json(client, f"{PATH}/CRM/log"))["data"]
        assert (attempt["is_test"], attempt["state"], attempt["call_id"]) == (True, "accepted", "")
        await harness.appdb.destinations.change("CRM", {"log_days": 0})
        await read_json(client, f"{PATH}/CRM/test", method="POST")
        assert len((await read_json(client, f"{PATH}/CRM/log"))["data"]) == 1
        problem = await read_json(client, f"{PATH}/CRM/log/{attempt['attempt_id']}/resend", 400, "POST")
        assert "a test is not sent again" in problem["detail"]


async def test_destination_form_sets_the_days_of_its_log(
    filled: ConsoleHarness, browser: aiohttp.ClientSession
) -> None:
    form = {"name": "BI", "url": "https://93.184.216.34/", "log_days": "7"}
    async with browser.post("/destinations", data=form) as answer:
        assert answer.status == 200
    assert (await filled.appdb.destinations.get("BI")).log_days == 7
    assert "kept for 7 days" in await read_page(browser, "/destinations/2")
    assert "kept for 30 days" in await read_page(browser, "/destinations/1")
    async with browser.post("/destinations", data=form | {"name": "C", "log_days": "999"}) as answer:
        assert 'value="999"' in await answer.text()


@pytest.mark.parametrize(
    ("payload_format", "expected_text"),
    [
        ("", '"msg":"{'),
        ("p-2023", '"msg":"{'),
        ("p-2025", '"msg":"{'),
        ("p-2026", "did_name"),
        ("doc", '"msg"'),
        ("object", '"msg":{'),
        ("flat", '"event_type":30012'),
    ],
)
async def test_preview_has_a_call_in_each_payload_format(
    filled: ConsoleHarness, client: aiohttp.ClientSession, payload_format: str, expected_text: str
) -> None:
    await filled.ingest_details([details(call_id="1777287876.1")])
    query = f"?payload_format={payload_format}" if payload_format else ""
    preview = await read_json(client, f"{PATH}/CRM/preview{query}")
    assert preview["payload_format"] == payload_format or "p-2026"
    assert expected_text in preview["text"]


async def test_preview_payload_format_is_chosen_on_the_page(
    filled: ConsoleHarness, browser: aiohttp.ClientSession, client: aiohttp.ClientSession
) -> None:
    """Of another kind it is an error."""
    await filled.ingest_details([details(call_id="1777287876.1")])
    page = await read_page(browser, "/destinations/1?preview=&payload_format=flat")
    assert "event_type" in page
    assert (
        len(re.findall(r'href="/destinations/1\?preview=1777287876.1&amp;payload_format=[a-z0-9-]+#preview"', page))
        == 6
    )
    assert "<option selected>flat</option>" in page
    spec = DestinationSpec(kind="syslog", url="syslog://127.0.0.1:9", allow_private=True)
    await filled.appdb.destinations.add("logs", spec, None, after=0, now_us=1)
    problem = await read_json(client, f"{PATH}/logs/preview?payload_format=flat", 400)
    assert "has no payload format" in problem["detail"]
    assert (await read_json(client, f"{PATH}/logs/preview"))["payload_format"] == ""


@pytest.mark.slow
async def test_log_walk_in_a_browser(filled: ConsoleHarness, chromium_path: str) -> None:
    """From the list of destinations to a failed attempt, which is sent again; and a call in another format."""
    await filled.ingest_details([details(call_id="1777287876.1")])
    async with open_visit(filled, chromium_path, viewport={"width": 1280, "height": 900}) as visit:
        page = visit.page
        await page.goto(f"{filled.url}/destinations")
        await page.get_by_role("link", name="CRM", exact=True).click()
        await expect(page.locator('[data-chart][data-rendered="yes"]')).to_be_visible()
        await page.screenshot(path=OUTPUT / "destination.png", full_page=True)
        await page.get_by_role("link", name="All attempts, with filters").click()
        await page.locator("select[name=state]").select_option("failed")
        await page.get_by_role("button", name="Show").click()
        await expect(page.locator("tbody tr")).to_have_count(2)
        await page.screenshot(path=OUTPUT / "destination-log.png", full_page=True)
        await page.locator("tbody tr a").first.click()
        await expect(page.get_by_text("X-Signature")).to_be_visible()
        await page.screenshot(path=OUTPUT / "logged-attempt.png", full_page=True)
        await page.get_by_role("button", name="Send again").click()
        await expect(page.get_by_role("status").filter(has_text="is sent again")).to_be_visible()
        await page.goto(f"{filled.url}/destinations/1")
        await page.get_by_role("button", name="Show its notification").click()
        await page.get_by_role("link", name="flat", exact=True).click()
        await expect(page.locator("section[aria-labelledby=preview] pre")).to_contain_text("event_type")


@pytest.mark.slow
async def test_log_period_is_chosen_by_keyboard(filled: ConsoleHarness, chromium_path: str) -> None:
    """Two days without attempts in the calendar, then the last days; the chart of the destination can be saved."""
    async with open_visit(filled, chromium_path) as visit:
        page = visit.page
        await page.goto(f"{filled.url}/destinations/1")
        await expect(page.get_by_role("button", name="Save the chart as SVG")).to_be_visible()
        await page.goto(f"{filled.url}/destinations/1/log")
        rows = page.locator("table tbody tr")
        await expect(rows).to_have_count(4)
        period = page.locator("details[data-date-range] summary")
        await period.focus()
        await page.keyboard.press("Enter")
        await page.locator("[data-calendar] [data-day][tabindex='0']").focus()
        for key in ("ArrowUp", "Enter", "ArrowRight", "Enter"):
            await page.keyboard.press(key)
        await expect(page.locator("[data-apply]")).to_be_focused()
        await page.keyboard.press("Enter")
        await expect(page.get_by_text("No attempt matches.")).to_be_visible()
        assert {"since", "until"} <= parse_qs(urlsplit(page.url).query).keys()
        await period.focus()
        await page.keyboard.press("Enter")
        await page.get_by_role("link", name="7 days").focus()
        await page.keyboard.press("Enter")
        await expect(rows).to_have_count(4)
        await expect(period).to_contain_text("7 days")
