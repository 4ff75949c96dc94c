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


async def test_what_ends_is_told(harness: DeliveryHarness, receiver: WebhookReceiver) -> None:
    """Each leg as one signed event under the PBX's own serial number, and the cursor follows."""
    harness.add_destination("crm", receiver.url)
    harness.start()
    said = await harness.put_calls(*make_calls(40))
    await wait_until(lambda: len(receiver.accepted) == 40 and harness.cursor("crm") == 40)
    assert sorted(receiver.accepted_call_ids()) == sorted(said)
    body, headers = receiver.bodies[0], receiver.headers[0]
    expected = base64.b64encode(hmac.digest(SECRET.encode(), body, hashlib.sha256)).decode()
    assert headers["X-Signature"] == expected
    assert headers["Content-Type"] == "application/json"
    assert json.loads(body)["type"] == 30012
    one = harness.appdb.destinations.get("crm")
    assert (one.attempts_succeeded, one.attempts_failed, harness.rows("crm")) == (40, 0, [])


async def test_only_what_was_asked_for_is_told(harness: DeliveryHarness, receiver: WebhookReceiver) -> None:
    """By the one set of filters; the cursor passes the rest too."""
    harness.add_destination("crm", receiver.url, filter=RecordFilter(status="BUSY"))
    harness.start()
    wanted = await harness.put_calls(*make_calls(3, status="BUSY"), *make_calls(3))
    await wait_until(lambda: harness.cursor("crm") == 6)
    assert receiver.accepted_call_ids() == wanted[:3]


async def test_a_subscription_for_the_past_begins_there(harness: DeliveryHarness, receiver: WebhookReceiver) -> None:
    """With the first record that its `since` means; one for now begins behind the number that it was given."""
    said = await harness.put_calls(*make_calls(5), call(record(STARTED_AT.replace(year=2027))))
    harness.add_destination("past", receiver.url, after=None, filter=RecordFilter(since=STARTED_AT.replace(year=2027)))
    harness.start()
    await wait_until(lambda: harness.cursor("past") == 6)
    assert receiver.accepted_call_ids() == said[5:]


@pytest.mark.usefixtures("short_delays")
async def test_one_that_fails_waits_alone(harness: DeliveryHarness, receiver: WebhookReceiver) -> None:
    """Others go on; what follows it in its own call waits behind it, and all arrive in the order of the call."""
    refusals = {"first": 3}

    async def reply(_: web.Request, body: bytes) -> int:
        if "6400" in json.loads(json.loads(body)["msg"])["call_to"] and refusals["first"]:
            refusals["first"] -= 1
            return 500
        return 200

    receiver.reply = reply
    harness.add_destination("crm", receiver.url)
    first = record(call_to="6400")
    second = record(STARTED_AT + timedelta(seconds=1), call_id=first.call_id, call_to="4005")
    third = record(STARTED_AT + timedelta(seconds=2), call_id=first.call_id, call_to="4006")
    harness.start()
    others = await harness.put_calls(call(first, second, third), *make_calls(20))
    await wait_until(lambda: len(receiver.accepted) == 23 and not harness.rows("crm", "retrying"))
    of_call = [one["call_to"] for one in receiver.accepted if one["call_id"] == first.call_id]
    assert of_call == ["6400", "4005", "4006"]
    assert set(receiver.accepted_call_ids()) == set(others)
    attempts = harness.appdb.deliveries.attempts(harness.rows("crm", "delivered")[0].delivery_id)
    assert [attempt.status for attempt in attempts] == [500, 500, 500, 200]
    assert attempts[0].body == "so it is"
    assert attempts[0].detail == "answered 500 Internal Server Error"


@pytest.mark.usefixtures("short_delays")
async def test_what_never_goes_through_is_parked(harness: DeliveryHarness, receiver: WebhookReceiver) -> None:
    """After all attempts of its plan; the rest of its call follows, and a person may retry it."""
    is_mended = False

    async def reply(_: web.Request, body: bytes) -> int:
        return 500 if b"6400" in body and not is_mended else 200

    receiver.reply = reply
    harness.add_destination("crm", receiver.url, retry_policy="original", max_attempts=2)
    first = record(call_to="6400")
    harness.start()
    await harness.put_calls(call(first, record(call_id=first.call_id, call_to="4005")))
    await wait_until(lambda: len(receiver.accepted) == 1 and len(harness.rows("crm", "failed")) == 1)
    assert receiver.accepted[0]["call_to"] == "4005"
    (failed,) = harness.rows("crm", "failed")
    assert len(harness.appdb.deliveries.attempts(failed.delivery_id)) == 2
    is_mended = True
    harness.appdb.deliveries.retry(failed.delivery_id, now_us=SystemClock().microseconds())
    await wait_until(lambda: len(receiver.accepted) == 2)


@pytest.mark.usefixtures("short_delays")
async def test_an_application_that_is_down_costs_no_rows(
    harness: DeliveryHarness, receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After some failures it is asked one event at a time, what is owed stays where it is, and all of it arrives."""
    monkeypatch.setattr(retry_policy, "DAYS_DELAYS_SECONDS", (0.1,) * 1_000)
    is_up = False

    async def reply(_: web.Request, __: bytes) -> int:
        return 200 if is_up else 503

    receiver.reply = reply
    harness.add_destination("crm", receiver.url)
    harness.start()
    said = await harness.put_calls(*make_calls(900))
    await wait_until(lambda: len(receiver.payloads) > endpoint_health.DOWN_AFTER_FAILURES + 15)
    assert 0 < len(harness.rows("crm")) < endpoint_health.DOWN_AFTER_FAILURES + 8
    assert (harness.cursor("crm") or 0) < 100
    assert harness.appdb.destinations.get("crm").failing_since is not None
    is_up = True
    await wait_until(lambda: len(set(receiver.accepted_call_ids())) == 900 and harness.cursor("crm") == 900)
    await wait_until(lambda: not harness.rows("crm", "retrying"))
    assert set(receiver.accepted_call_ids()) == set(said)
    assert harness.appdb.destinations.get("crm").failing_since is None


@pytest.mark.parametrize("header", ["1", "Fri, 01 Jan 2038 00:00:00 GMT"])
async def test_busy_is_no_failure(harness: DeliveryHarness, receiver: WebhookReceiver, header: str) -> None:
    """After 429 nobody knocks before the time that was asked for, and no event is held to have failed."""

    async def reply(_: web.Request, __: bytes) -> web.Response:
        return web.Response(status=429, headers={"Retry-After": header})

    receiver.reply = reply
    harness.add_destination("crm", receiver.url)
    harness.start()
    await harness.put_calls(*make_calls(1))
    await wait_until(lambda: len(receiver.payloads) == 1)
    await asyncio.sleep(0.5)
    assert len(receiver.payloads) == 1
    assert harness.rows("crm") == []
    receiver.reply = None
    if header == "1":
        await wait_until(lambda: len(receiver.accepted) == 1)


@pytest.mark.usefixtures("short_delays")
async def test_who_is_always_busy_with_one_event_gets_the_others(
    harness: DeliveryHarness, receiver: WebhookReceiver
) -> None:
    """After some times it is a failure, and the event waits in a row."""

    async def reply(_: web.Request, body: bytes) -> web.StreamResponse | int:
        return web.Response(status=429, headers={"Retry-After": "0"}) if b"6400" in body else 200

    receiver.reply = reply
    harness.add_destination("crm", receiver.url, retry_policy="original", max_attempts=1)
    harness.start()
    await harness.put_calls(*make_calls(1, call_to="6400"), *make_calls(3))
    await wait_until(lambda: len(receiver.accepted) == 3 and len(harness.rows("crm", "failed")) == 1)


async def test_a_wait_that_was_asked_for_outlives_a_restart(
    harness: DeliveryHarness, receiver: WebhookReceiver
) -> None:
    """Nobody knocks before; a person who says `now` means it."""

    async def reply(_: web.Request, __: bytes) -> web.Response:
        return web.Response(status=429, headers={"Retry-After": "3600"})

    receiver.reply = reply
    harness.add_destination("crm", receiver.url)
    harness.start()
    await harness.put_calls(*make_calls(1))
    await wait_until(lambda: harness.appdb.destinations.get("crm").retry_after is not None)
    await harness.stop()
    receiver.reply = None
    harness.start()
    harness.appdb.destinations.change("crm", {"headers": {"X-Key": "1"}})
    await asyncio.sleep(0.6)
    assert len(receiver.payloads) == 1
    harness.appdb.deliveries.retry_all(1, now_us=SystemClock().microseconds())
    await wait_until(lambda: len(receiver.accepted) == 1)


@pytest.mark.usefixtures("short_delays")
async def test_nobody_fails_while_nothing_is_owed(harness: DeliveryHarness, receiver: WebhookReceiver) -> None:
    """What was parked long ago does not count towards the days after which an application is given up."""

    async def reply(_: web.Request, __: bytes) -> int:
        return 500

    receiver.reply = reply
    harness.add_destination("crm", receiver.url, retry_policy="original", max_attempts=1)
    harness.start()
    await harness.put_calls(*make_calls(1))
    await wait_until(lambda: len(harness.rows("crm", "failed")) == 1)
    await wait_until(lambda: harness.appdb.destinations.get("crm").failing_since is None)


@pytest.mark.usefixtures("short_delays")
async def test_what_failed_ahead_of_a_slow_one_is_one_row_after_a_restart(
    harness: DeliveryHarness, receiver: WebhookReceiver
) -> None:
    """The cursor stands behind both; the one that failed is neither sent nor owed twice."""
    is_slow = True

    async def reply(_: web.Request, body: bytes) -> int:
        if b"6200" in body and is_slow:
            await asyncio.sleep(60)
        return 500 if b"6400" in body else 200

    receiver.reply = reply
    harness.add_destination("crm", receiver.url, retry_policy="original", max_attempts=1, timeout_seconds=60.0)
    harness.start()
    await harness.put_calls(call(record(call_to="6200")), call(record(call_to="6400")))
    await wait_until(lambda: len(harness.rows("crm", "failed")) == 1)
    await harness.stop()
    assert harness.cursor("crm") == 0
    is_slow = False
    harness.start()
    await wait_until(lambda: harness.cursor("crm") == 2)
    assert len(harness.rows("crm")) == 1
    assert [payload["call_to"] for payload in receiver.payloads].count("6400") == 1


async def test_gone_is_gone(
    harness: DeliveryHarness, receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """410 disables a subscription, and says so; what was owed is owed still when a person lets it go on."""

    async def reply(_: web.Request, __: bytes) -> int:
        return 410

    receiver.reply = reply
    harness.add_destination("crm", receiver.url)
    harness.start()
    await harness.put_calls(*make_calls(3))
    await wait_until(lambda: harness.appdb.destinations.get("crm").state == "disabled")
    assert "answered 410 Gone" in harness.appdb.destinations.get("crm").reason
    monkeypatch.setattr(dispatcher, "ISSUE_CHECK_SECONDS", 0.1)
    await wait_until(lambda: harness.issues == [("disabled", True)])
    receiver.reply = None
    harness.appdb.destinations.set_state("crm", "active")
    await wait_until(lambda: len(receiver.accepted) == 3)
    await wait_until(lambda: harness.issues == [("disabled", True), ("disabled", False)])


@pytest.mark.usefixtures("short_delays")
async def test_who_took_nothing_for_days_is_given_up(
    harness: DeliveryHarness, receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the reason, and with all that is owed kept."""

    async def reply(_: web.Request, __: bytes) -> int:
        return 503

    monkeypatch.setattr("onhook.delivery.worker.DISABLE_AFTER_SECONDS", 0.3)
    receiver.reply = reply
    harness.add_destination("crm", receiver.url)
    harness.start()
    await harness.put_calls(*make_calls(40))
    await wait_until(lambda: harness.appdb.destinations.get("crm").state == "disabled")
    assert "accepted nothing for" in harness.appdb.destinations.get("crm").reason
    assert (harness.cursor("crm") or 0) < 40


async def test_what_people_do_counts_at_once(harness: DeliveryHarness, receiver: WebhookReceiver) -> None:
    """A pause, another URL, and going on: nothing is lost and nothing is sent while it is paused."""
    async with WebhookReceiver().listen() as other:
        harness.add_destination("crm", receiver.url)
        harness.start()
        await harness.put_calls(*make_calls(2))
        await wait_until(lambda: harness.cursor("crm") == 2)
        harness.appdb.destinations.set_state("crm", "paused")
        await asyncio.sleep(0.5)
        await harness.put_calls(*make_calls(2))
        await asyncio.sleep(0.3)
        assert len(receiver.accepted) == 2
        harness.appdb.destinations.change("crm", {"url": other.url})
        harness.appdb.destinations.set_state("crm", "active")
        await wait_until(lambda: len(other.accepted) == 2)
    assert len(receiver.accepted) == 2


async def test_a_replay_sends_again_what_it_names(harness: DeliveryHarness, receiver: WebhookReceiver) -> None:
    """And nothing else; the same event has the same id, and the live stream goes on beside it."""
    harness.add_destination("crm", receiver.url, with_standard_webhooks=False)
    harness.start()
    said = await harness.put_calls(*make_calls(4), *make_calls(2, status="BUSY"))
    await wait_until(lambda: harness.cursor("crm") == 6)
    harness.appdb.destinations.replay("crm", RecordFilter(status="BUSY"), after=1, until=6, now_us=1)
    live = await harness.put_calls(*make_calls(1))
    await wait_until(lambda: len(receiver.accepted) == 9)
    number = harness.appdb.destinations.get("crm").destination_id
    await wait_until(lambda: len(harness.appdb.destinations.streams(number)) == 1)
    assert receiver.accepted_counts() == {one: 2 if one in said[4:] else 1 for one in (*said, *live)}


async def test_a_call_can_be_told_as_one(harness: DeliveryHarness, receiver: WebhookReceiver) -> None:
    """When all of its legs are there: who answered, and talk counted once."""
    queue = record(call_to="Queue Team<6400>", call_duration=85, talk_duration=74, type="Inbound")
    agent = record(call_id=queue.call_id, call_to="Bob<1002>", call_duration=85, talk_duration=74, type="Inbound")
    harness.add_destination("crm", receiver.url, notifies_of="calls")
    harness.start()
    await harness.put_calls(call(queue, agent), *make_calls(2))
    await wait_until(lambda: len(receiver.accepted) == 3)
    assert receiver.accepted_counts()[queue.call_id] == 1
    (told,) = [one for one in receiver.accepted if one["call_id"] == queue.call_id]
    assert (told["call_to"], told["talk_duration"], told["status"]) == ("Bob<1002>", 74, "ANSWERED")


@pytest.mark.usefixtures("short_delays")
async def test_a_restart_forgets_nothing(harness: DeliveryHarness, receiver: WebhookReceiver) -> None:
    """What waits in rows, what is behind the cursor and what is parked is there for the next dispatcher."""
    is_up = False

    async def reply(_: web.Request, __: bytes) -> int:
        return 200 if is_up else 503

    receiver.reply = reply
    harness.add_destination("crm", receiver.url)
    for _ in range(3):
        harness.start()
        await harness.put_calls(*make_calls(30))
        await wait_until(lambda: len(receiver.payloads) > 12)
        await harness.stop()
    is_up = True
    harness.start()
    await wait_until(lambda: len(set(receiver.accepted_call_ids())) == 90 and not harness.rows("crm", "retrying"))
    await wait_until(lambda: harness.cursor("crm") == 90)


@pytest.mark.usefixtures("short_delays")
async def test_one_that_refuses_much_is_still_told_the_rest(
    harness: DeliveryHarness, receiver: WebhookReceiver
) -> None:
    """Whoever answers is there: what it refuses becomes rows; neither many of them nor a restart hold up the others."""

    async def reply(_: web.Request, body: bytes) -> int:
        return 400 if b"6400" in body else 200

    receiver.reply = reply
    harness.add_destination("crm", receiver.url)
    harness.start()
    await harness.put_calls(*make_calls(60, call_to="6400"), *make_calls(5))
    await wait_until(lambda: len(receiver.accepted) == 5)
    await harness.stop()
    harness.start()
    await harness.put_calls(*make_calls(60, call_to="6400"), *make_calls(5))
    await wait_until(lambda: len(receiver.accepted) == 10)


async def test_what_is_read_late_is_told(
    harness: DeliveryHarness, receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the lane is ahead of its cursor, and was asked for the same number in vain a moment before."""
    monkeypatch.setattr(worker, "IDLE_COMMIT_SECONDS", 0.1)
    harness.add_destination("crm", receiver.url)
    harness.start()
    await harness.put_calls(*make_calls(3))
    harness.position += 1
    late = harness.position
    await harness.put_calls(*make_calls(3))
    await wait_until(lambda: harness.cursor("crm") == 7)
    destinations = harness.appdb.destinations
    for is_there in (False, True):
        destinations.hold_replays([(late, late)], now_us=1)
        if is_there:
            leg = record(seq=late)
            one = msgspec.structs.replace(call(leg), legs=(leg,))
            await harness.store.put(
                StoreBatch(calls=[one], quarantined=(), reparsed_seqs=[late], position=harness.position)
            )
        destinations.release_replays([late])
        await wait_until(lambda: len(destinations.streams(1)) == 1)
    await wait_until(lambda: len(receiver.accepted) == 7)


async def test_news_do_not_wait_for_a_replay(harness: DeliveryHarness, receiver: WebhookReceiver) -> None:
    """They are sent before the rest of it."""
    await harness.put_calls(*make_calls(1_500))
    harness.add_destination("crm", receiver.url, after=1_500)
    harness.start()
    harness.appdb.destinations.replay("crm", RecordFilter(), after=0, until=1_500, now_us=1)
    await wait_until(lambda: len(receiver.accepted) > 20)
    (news,) = await harness.put_calls(*make_calls(1))
    await wait_until(lambda: news in receiver.accepted_call_ids())
    assert len(receiver.accepted) < 1_400
    await wait_until(lambda: len(receiver.accepted) == 1_501)


async def test_alarms_are_told_too(harness: DeliveryHarness, receiver: WebhookReceiver) -> None:
    """As events of their own kind, in order, beside no calls at all."""
    harness.appdb.add_pbx(name="office", sn="PBX1", secret=SECRET, now_us=1)
    harness.add_destination("pager", receiver.url, notifies_of="alarms")
    harness.start()
    await harness.put_calls(*make_calls(2))
    harness.appdb.alarms.raise_alarm(
        "PBX1", "silence", "nothing came", hint="look", now_us=SystemClock().microseconds()
    )
    harness.appdb.alarms.end("PBX1", "silence", now_us=SystemClock().microseconds())
    await wait_until(lambda: len(receiver.accepted) == 2)
    assert [one["alarm"]["ended_at"] is None for one in receiver.accepted] == [True, False]
    assert receiver.accepted[0]["type"] == "alarm"


async def test_it_stops_when_the_news_has_ended(harness: DeliveryHarness, receiver: WebhookReceiver) -> None:
    """A house that closes tells nobody anything any more, and waiting for news then ends at once."""
    harness.add_destination("crm", receiver.url)
    harness.start()
    await harness.put_calls(*make_calls(2))
    await wait_until(lambda: harness.cursor("crm") == 2)
    harness.position_notifier.close()
    await asyncio.sleep(0.05)
    await harness.stop()


def test_the_plan_of_three_days_ends_in_time() -> None:
    """Nine waits, longer each time, in all some three days: before an application is given up."""
    waits = [retry_policy.retry_delay_seconds("days", 1, attempts, 0.5) for attempts in range(1, 11)]
    assert waits == [5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400, None]
    assert sum(wait or 0 for wait in waits) * (1 + retry_policy.JITTER) < retry_policy.DISABLE_AFTER_SECONDS
