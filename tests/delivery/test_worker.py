"""One subscription being served, by real sockets to real applications."""

import asyncio
import base64
import hashlib
import hmac
import json
from datetime import timedelta

import msgspec
import pytest
from aiohttp import web

from onhook.cdr.record_filter import RecordFilter
from onhook.delivery import dispatcher, endpoint_health, retry_policy, worker
from onhook.lib.clock import SystemClock
from onhook.store.contract import StoreBatch
from tests.delivery.harness import SECRET, DeliveryHarness, WebhookReceiver, make_calls, wait_until
from tests.factories import STARTED_AT, call, record


async def test_what_ends_is_told(house: DeliveryHarness, application: WebhookReceiver) -> None:
    """Each leg as one signed event under the PBX's own serial number, and the cursor follows."""
    house.add_destination("crm", application.url)
    house.start()
    said = await house.put_calls(*make_calls(40))
    await wait_until(lambda: len(application.accepted) == 40 and house.cursor("crm") == 40)
    assert sorted(application.accepted_call_ids()) == sorted(said)
    body, headers = application.bodies[0], application.headers[0]
    expected = base64.b64encode(hmac.digest(SECRET.encode(), body, hashlib.sha256)).decode()
    assert headers["X-Signature"] == expected
    assert headers["Content-Type"] == "application/json"
    assert json.loads(body)["type"] == 30012
    one = house.appdb.destinations.get("crm")
    assert (one.attempts_succeeded, one.attempts_failed, house.rows("crm")) == (40, 0, [])


async def test_only_what_was_asked_for_is_told(house: DeliveryHarness, application: WebhookReceiver) -> None:
    """By the one set of filters; the cursor passes the rest too."""
    house.add_destination("crm", application.url, filter=RecordFilter(status="BUSY"))
    house.start()
    wanted = await house.put_calls(*make_calls(3, status="BUSY"), *make_calls(3))
    await wait_until(lambda: house.cursor("crm") == 6)
    assert application.accepted_call_ids() == wanted[:3]


async def test_a_subscription_for_the_past_begins_there(house: DeliveryHarness, application: WebhookReceiver) -> None:
    """With the first record that its `since` means; one for now begins behind the number that it was given."""
    said = await house.put_calls(*make_calls(5), call(record(STARTED_AT.replace(year=2027))))
    house.add_destination("past", application.url, after=None, filter=RecordFilter(since=STARTED_AT.replace(year=2027)))
    house.start()
    await wait_until(lambda: house.cursor("past") == 6)
    assert application.accepted_call_ids() == said[5:]


@pytest.mark.usefixtures("impatient")
async def test_one_that_fails_waits_alone(house: DeliveryHarness, application: WebhookReceiver) -> None:
    """Others go on; what follows it in its own call waits behind it, and all arrive in the order of the call."""
    refusals = {"first": 3}

    async def reply(_: web.Request, body: bytes) -> int:
        if "6400" in json.loads(json.loads(body)["msg"])["call_to"] and refusals["first"]:
            refusals["first"] -= 1
            return 500
        return 200

    application.reply = reply
    house.add_destination("crm", application.url)
    first = record(call_to="6400")
    second = record(STARTED_AT + timedelta(seconds=1), call_id=first.call_id, call_to="4005")
    third = record(STARTED_AT + timedelta(seconds=2), call_id=first.call_id, call_to="4006")
    house.start()
    others = await house.put_calls(call(first, second, third), *make_calls(20))
    await wait_until(lambda: len(application.accepted) == 23 and not house.rows("crm", "retrying"))
    of_call = [one["call_to"] for one in application.accepted if one["call_id"] == first.call_id]
    assert of_call == ["6400", "4005", "4006"]
    assert set(application.accepted_call_ids()) == set(others)
    attempts = house.appdb.deliveries.attempts(house.rows("crm", "delivered")[0].delivery_id)
    assert [one.status for one in attempts] == [500, 500, 500, 200]
    assert attempts[0].body == "so it is"
    assert attempts[0].detail == "answered 500 Internal Server Error"


@pytest.mark.usefixtures("impatient")
async def test_what_never_goes_through_is_parked(house: DeliveryHarness, application: WebhookReceiver) -> None:
    """After all attempts of its plan; the rest of its call follows, and a person may retry it."""
    is_mended = False

    async def reply(_: web.Request, body: bytes) -> int:
        return 500 if b"6400" in body and not is_mended else 200

    application.reply = reply
    house.add_destination("crm", application.url, retry_policy="original", max_attempts=2)
    first = record(call_to="6400")
    house.start()
    await house.put_calls(call(first, record(call_id=first.call_id, call_to="4005")))
    await wait_until(lambda: len(application.accepted) == 1 and len(house.rows("crm", "failed")) == 1)
    assert application.accepted[0]["call_to"] == "4005"
    (failed,) = house.rows("crm", "failed")
    assert len(house.appdb.deliveries.attempts(failed.delivery_id)) == 2
    is_mended = True
    house.appdb.deliveries.retry(failed.delivery_id, now_us=SystemClock().microseconds())
    await wait_until(lambda: len(application.accepted) == 2)


@pytest.mark.usefixtures("impatient")
async def test_an_application_that_is_down_costs_no_rows(
    house: DeliveryHarness, application: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After some failures it is asked one event at a time, what is owed stays where it is, and all of it arrives."""
    monkeypatch.setattr(retry_policy, "DAYS_DELAYS_SECONDS", (0.1,) * 1_000)
    is_up = False

    async def reply(_: web.Request, __: bytes) -> int:
        return 200 if is_up else 503

    application.reply = reply
    house.add_destination("crm", application.url)
    house.start()
    said = await house.put_calls(*make_calls(900))
    await wait_until(lambda: len(application.payloads) > endpoint_health.DOWN_AFTER_FAILURES + 15)
    assert 0 < len(house.rows("crm")) < endpoint_health.DOWN_AFTER_FAILURES + 8
    assert (house.cursor("crm") or 0) < 100
    assert house.appdb.destinations.get("crm").failing_since is not None
    is_up = True
    await wait_until(lambda: len(set(application.accepted_call_ids())) == 900 and house.cursor("crm") == 900)
    await wait_until(lambda: not house.rows("crm", "retrying"))
    assert set(application.accepted_call_ids()) == set(said)
    assert house.appdb.destinations.get("crm").failing_since is None


@pytest.mark.parametrize("header", ["1", "Fri, 01 Jan 2038 00:00:00 GMT"])
async def test_busy_is_no_failure(house: DeliveryHarness, application: WebhookReceiver, header: str) -> None:
    """After 429 nobody knocks before the time that was asked for, and no event is held to have failed."""

    async def reply(_: web.Request, __: bytes) -> web.Response:
        return web.Response(status=429, headers={"Retry-After": header})

    application.reply = reply
    house.add_destination("crm", application.url)
    house.start()
    await house.put_calls(*make_calls(1))
    await wait_until(lambda: len(application.payloads) == 1)
    await asyncio.sleep(0.5)
    assert len(application.payloads) == 1
    assert house.rows("crm") == []
    application.reply = None
    if header == "1":
        await wait_until(lambda: len(application.accepted) == 1)


@pytest.mark.usefixtures("impatient")
async def test_who_is_always_busy_with_one_event_gets_the_others(
    house: DeliveryHarness, application: WebhookReceiver
) -> None:
    """After some times it is a failure, and the event waits in a row."""

    async def reply(_: web.Request, body: bytes) -> web.StreamResponse | int:
        return web.Response(status=429, headers={"Retry-After": "0"}) if b"6400" in body else 200

    application.reply = reply
    house.add_destination("crm", application.url, retry_policy="original", max_attempts=1)
    house.start()
    await house.put_calls(*make_calls(1, call_to="6400"), *make_calls(3))
    await wait_until(lambda: len(application.accepted) == 3 and len(house.rows("crm", "failed")) == 1)


async def test_a_wait_that_was_asked_for_outlives_a_restart(
    house: DeliveryHarness, application: WebhookReceiver
) -> None:
    """Nobody knocks before; a person who says `now` means it."""

    async def reply(_: web.Request, __: bytes) -> web.Response:
        return web.Response(status=429, headers={"Retry-After": "3600"})

    application.reply = reply
    house.add_destination("crm", application.url)
    house.start()
    await house.put_calls(*make_calls(1))
    await wait_until(lambda: house.appdb.destinations.get("crm").retry_after is not None)
    await house.stop()
    application.reply = None
    house.start()
    house.appdb.destinations.change("crm", {"headers": {"X-Key": "1"}})
    await asyncio.sleep(0.6)
    assert len(application.payloads) == 1
    house.appdb.deliveries.retry_all(1, now_us=SystemClock().microseconds())
    await wait_until(lambda: len(application.accepted) == 1)


@pytest.mark.usefixtures("impatient")
async def test_nobody_fails_while_nothing_is_owed(house: DeliveryHarness, application: WebhookReceiver) -> None:
    """What was parked long ago does not count towards the days after which an application is given up."""

    async def reply(_: web.Request, __: bytes) -> int:
        return 500

    application.reply = reply
    house.add_destination("crm", application.url, retry_policy="original", max_attempts=1)
    house.start()
    await house.put_calls(*make_calls(1))
    await wait_until(lambda: len(house.rows("crm", "failed")) == 1)
    await wait_until(lambda: house.appdb.destinations.get("crm").failing_since is None)


@pytest.mark.usefixtures("impatient")
async def test_what_failed_ahead_of_a_slow_one_is_one_row_after_a_restart(
    house: DeliveryHarness, application: WebhookReceiver
) -> None:
    """The cursor stands behind both; the one that failed is neither sent nor owed twice."""
    is_slow = True

    async def reply(_: web.Request, body: bytes) -> int:
        if b"6200" in body and is_slow:
            await asyncio.sleep(60)
        return 500 if b"6400" in body else 200

    application.reply = reply
    house.add_destination("crm", application.url, retry_policy="original", max_attempts=1, timeout_seconds=60.0)
    house.start()
    await house.put_calls(call(record(call_to="6200")), call(record(call_to="6400")))
    await wait_until(lambda: len(house.rows("crm", "failed")) == 1)
    await house.stop()
    assert house.cursor("crm") == 0
    is_slow = False
    house.start()
    await wait_until(lambda: house.cursor("crm") == 2)
    assert len(house.rows("crm")) == 1
    assert [one["call_to"] for one in application.payloads].count("6400") == 1


async def test_gone_is_gone(
    house: DeliveryHarness, application: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """410 disables a subscription, and says so; what was owed is owed still when a person lets it go on."""

    async def reply(_: web.Request, __: bytes) -> int:
        return 410

    application.reply = reply
    house.add_destination("crm", application.url)
    house.start()
    await house.put_calls(*make_calls(3))
    await wait_until(lambda: house.appdb.destinations.get("crm").state == "disabled")
    assert "answered 410 Gone" in house.appdb.destinations.get("crm").reason
    monkeypatch.setattr(dispatcher, "ISSUE_CHECK_SECONDS", 0.1)
    await wait_until(lambda: house.issues == [("disabled", True)])
    application.reply = None
    house.appdb.destinations.set_state("crm", "active")
    await wait_until(lambda: len(application.accepted) == 3)
    await wait_until(lambda: house.issues == [("disabled", True), ("disabled", False)])


@pytest.mark.usefixtures("impatient")
async def test_who_took_nothing_for_days_is_given_up(
    house: DeliveryHarness, application: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the reason, and with all that is owed kept."""

    async def reply(_: web.Request, __: bytes) -> int:
        return 503

    monkeypatch.setattr("onhook.delivery.worker.DISABLE_AFTER_SECONDS", 0.3)
    application.reply = reply
    house.add_destination("crm", application.url)
    house.start()
    await house.put_calls(*make_calls(40))
    await wait_until(lambda: house.appdb.destinations.get("crm").state == "disabled")
    assert "accepted nothing for" in house.appdb.destinations.get("crm").reason
    assert (house.cursor("crm") or 0) < 40


async def test_what_people_do_counts_at_once(house: DeliveryHarness, application: WebhookReceiver) -> None:
    """A pause, another URL, and going on: nothing is lost and nothing is sent while it is paused."""
    async with WebhookReceiver().listen() as other:
        house.add_destination("crm", application.url)
        house.start()
        await house.put_calls(*make_calls(2))
        await wait_until(lambda: house.cursor("crm") == 2)
        house.appdb.destinations.set_state("crm", "paused")
        await asyncio.sleep(0.5)
        await house.put_calls(*make_calls(2))
        await asyncio.sleep(0.3)
        assert len(application.accepted) == 2
        house.appdb.destinations.change("crm", {"url": other.url})
        house.appdb.destinations.set_state("crm", "active")
        await wait_until(lambda: len(other.accepted) == 2)
    assert len(application.accepted) == 2


async def test_a_replay_sends_again_what_it_names(house: DeliveryHarness, application: WebhookReceiver) -> None:
    """And nothing else; the same event has the same id, and the live stream goes on beside it."""
    house.add_destination("crm", application.url, with_standard_webhooks=False)
    house.start()
    said = await house.put_calls(*make_calls(4), *make_calls(2, status="BUSY"))
    await wait_until(lambda: house.cursor("crm") == 6)
    house.appdb.destinations.replay("crm", RecordFilter(status="BUSY"), after=1, until=6, now_us=1)
    live = await house.put_calls(*make_calls(1))
    await wait_until(lambda: len(application.accepted) == 9)
    number = house.appdb.destinations.get("crm").destination_id
    await wait_until(lambda: len(house.appdb.destinations.streams(number)) == 1)
    assert application.accepted_counts() == {one: 2 if one in said[4:] else 1 for one in (*said, *live)}


async def test_a_call_can_be_told_as_one(house: DeliveryHarness, application: WebhookReceiver) -> None:
    """When all of its legs are there: who answered, and talk counted once."""
    queue = record(call_to="Queue Team<6400>", call_duration=85, talk_duration=74, type="Inbound")
    agent = record(call_id=queue.call_id, call_to="Bob<1002>", call_duration=85, talk_duration=74, type="Inbound")
    house.add_destination("crm", application.url, notifies_of="calls")
    house.start()
    await house.put_calls(call(queue, agent), *make_calls(2))
    await wait_until(lambda: len(application.accepted) == 3)
    assert application.accepted_counts()[queue.call_id] == 1
    (told,) = [one for one in application.accepted if one["call_id"] == queue.call_id]
    assert (told["call_to"], told["talk_duration"], told["status"]) == ("Bob<1002>", 74, "ANSWERED")


@pytest.mark.usefixtures("impatient")
async def test_a_restart_forgets_nothing(house: DeliveryHarness, application: WebhookReceiver) -> None:
    """What waits in rows, what is behind the cursor and what is parked is there for the next dispatcher."""
    is_up = False

    async def reply(_: web.Request, __: bytes) -> int:
        return 200 if is_up else 503

    application.reply = reply
    house.add_destination("crm", application.url)
    for _ in range(3):
        house.start()
        await house.put_calls(*make_calls(30))
        await wait_until(lambda: len(application.payloads) > 12)
        await house.stop()
    is_up = True
    house.start()
    await wait_until(lambda: len(set(application.accepted_call_ids())) == 90 and not house.rows("crm", "retrying"))
    await wait_until(lambda: house.cursor("crm") == 90)


@pytest.mark.usefixtures("impatient")
async def test_one_that_refuses_much_is_still_told_the_rest(
    house: DeliveryHarness, application: WebhookReceiver
) -> None:
    """Whoever answers is there: what it refuses becomes rows; neither many of them nor a restart hold up the others."""

    async def reply(_: web.Request, body: bytes) -> int:
        return 400 if b"6400" in body else 200

    application.reply = reply
    house.add_destination("crm", application.url)
    house.start()
    await house.put_calls(*make_calls(60, call_to="6400"), *make_calls(5))
    await wait_until(lambda: len(application.accepted) == 5)
    await house.stop()
    house.start()
    await house.put_calls(*make_calls(60, call_to="6400"), *make_calls(5))
    await wait_until(lambda: len(application.accepted) == 10)


async def test_what_is_read_late_is_told(
    house: DeliveryHarness, application: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the lane is ahead of its cursor, and was asked for the same number in vain a moment before."""
    monkeypatch.setattr(worker, "IDLE_COMMIT_SECONDS", 0.1)
    house.add_destination("crm", application.url)
    house.start()
    await house.put_calls(*make_calls(3))
    house.position += 1
    late = house.position
    await house.put_calls(*make_calls(3))
    await wait_until(lambda: house.cursor("crm") == 7)
    destinations = house.appdb.destinations
    for is_there in (False, True):
        destinations.hold_replays([(late, late)], now_us=1)
        if is_there:
            leg = record(seq=late)
            one = msgspec.structs.replace(call(leg), legs=(leg,))
            await house.store.put(
                StoreBatch(calls=[one], quarantined=(), reparsed_seqs=[late], position=house.position)
            )
        destinations.release_replays([late])
        await wait_until(lambda: len(destinations.streams(1)) == 1)
    await wait_until(lambda: len(application.accepted) == 7)


async def test_news_do_not_wait_for_a_replay(house: DeliveryHarness, application: WebhookReceiver) -> None:
    """They are sent before the rest of it."""
    await house.put_calls(*make_calls(1_500))
    house.add_destination("crm", application.url, after=1_500)
    house.start()
    house.appdb.destinations.replay("crm", RecordFilter(), after=0, until=1_500, now_us=1)
    await wait_until(lambda: len(application.accepted) > 20)
    (news,) = await house.put_calls(*make_calls(1))
    await wait_until(lambda: news in application.accepted_call_ids())
    assert len(application.accepted) < 1_400
    await wait_until(lambda: len(application.accepted) == 1_501)


async def test_alarms_are_told_too(house: DeliveryHarness, application: WebhookReceiver) -> None:
    """As events of their own kind, in order, beside no calls at all."""
    house.appdb.add_pbx(name="office", sn="PBX1", secret=SECRET, now_us=1)
    house.add_destination("pager", application.url, notifies_of="alarms")
    house.start()
    await house.put_calls(*make_calls(2))
    house.appdb.alarms.raise_alarm("PBX1", "silence", "nothing came", hint="look", now_us=SystemClock().microseconds())
    house.appdb.alarms.end("PBX1", "silence", now_us=SystemClock().microseconds())
    await wait_until(lambda: len(application.accepted) == 2)
    assert [one["alarm"]["ended_at"] is None for one in application.accepted] == [True, False]
    assert application.accepted[0]["type"] == "alarm"


async def test_it_stops_when_the_news_has_ended(house: DeliveryHarness, application: WebhookReceiver) -> None:
    """A house that closes tells nobody anything any more, and waiting for news then ends at once."""
    house.add_destination("crm", application.url)
    house.start()
    await house.put_calls(*make_calls(2))
    await wait_until(lambda: house.cursor("crm") == 2)
    house.position_notifier.close()
    await asyncio.sleep(0.05)
    await house.stop()


def test_the_plan_of_three_days_ends_in_time() -> None:
    """Nine waits, longer each time, in all some three days: before an application is given up."""
    waits = [retry_policy.retry_delay_seconds("days", 1, attempts, 0.5) for attempts in range(1, 11)]
    assert waits == [5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400, None]
    assert sum(wait or 0 for wait in waits) * (1 + retry_policy.JITTER) < retry_policy.DISABLE_AFTER_SECONDS
