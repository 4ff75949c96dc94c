"""A destination being served, over real sockets to real receivers."""

import asyncio
import base64
import hashlib
import hmac
import json
from datetime import timedelta

import msgspec
import pytest
from aiohttp import web

from onhook.appdb.deliveries import Deliveries
from onhook.appdb.delivery_rows import DeliveryCommit
from onhook.cdr.identity import CallKey
from onhook.cdr.record_filter import RecordFilter
from onhook.delivery import commit_batch, dispatcher, endpoint_health, retry_policy, worker_supervisor
from onhook.lib.clock import SystemClock
from onhook.lib.errors import Unavailable
from onhook.store.contract import StoreBatch
from tests.delivery.harness import (
    SECRET,
    DeliveryHarness,
    DispatcherCycles,
    WebhookReceiver,
    WorkerCycles,
    make_calls,
)
from tests.factories import STARTED_AT, call, record
from tests.waiting import polls, wait_until


async def test_worker_sends_every_ended_call(harness: DeliveryHarness, receiver: WebhookReceiver) -> None:
    """Each leg as one signed event with the PBX's own serial number, and the cursor follows."""
    await harness.add_destination("crm", receiver.url)
    harness.start()
    call_ids = await harness.put_calls(*make_calls(40))
    await wait_until(len(receiver.accepted) == 40 and await harness.cursor("crm") == 40 async for _ in polls())
    assert sorted(receiver.accepted_call_ids()) == sorted(call_ids)
    body, headers = receiver.bodies[0], receiver.headers[0]
    expected = base64.b64encode(hmac.digest(SECRET.encode(), body, hashlib.sha256)).decode()
    assert headers["X-Signature"] == expected
    assert headers["Content-Type"] == "application/json"
    assert json.loads(body)["type"] == 30012
    destination = await harness.appdb.destinations.get("crm")
    assert (destination.attempts_succeeded, destination.attempts_failed, await harness.rows("crm")) == (40, 0, [])


async def test_worker_sends_matching_calls_only(harness: DeliveryHarness, receiver: WebhookReceiver) -> None:
    """The cursor passes the others too."""
    await harness.add_destination("crm", receiver.url, filter=RecordFilter(status="BUSY"))
    harness.start()
    wanted = await harness.put_calls(*make_calls(3, status="BUSY"), *make_calls(3))
    await wait_until(await harness.cursor("crm") == 6 async for _ in polls())
    assert receiver.accepted_call_ids() == wanted[:3]


async def test_worker_many_records_that_do_not_match_are_passed_without_waiting(
    harness: DeliveryHarness, receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where they take several turns to read."""
    monkeypatch.setattr("onhook.delivery.record_reader.BATCH_RECORDS", 2)
    await harness.add_destination("crm", receiver.url, filter=RecordFilter(status="BUSY"))
    call_ids = await harness.put_calls(*make_calls(30), *make_calls(1, status="BUSY"))
    harness.start()
    await wait_until(await harness.cursor("crm") == 31 async for _ in polls())
    assert receiver.accepted_call_ids() == call_ids[30:]


async def test_worker_destination_with_a_start_time_begins_there(
    harness: DeliveryHarness, receiver: WebhookReceiver
) -> None:
    """With the first record of its `since`; one without begins after the given number."""
    call_ids = await harness.put_calls(*make_calls(5), call(record(STARTED_AT.replace(year=2027))))
    await harness.add_destination(
        "past", receiver.url, after=None, filter=RecordFilter(since=STARTED_AT.replace(year=2027))
    )
    harness.start()
    await wait_until(await harness.cursor("past") == 6 async for _ in polls())
    assert receiver.accepted_call_ids() == call_ids[5:]


@pytest.mark.usefixtures("short_delays")
async def test_worker_failed_event_delays_its_own_call_only(
    harness: DeliveryHarness, receiver: WebhookReceiver
) -> None:
    """Later events of its call wait behind it, and arrive in the order of the call."""
    refusals = {"first": 3}

    async def reply(_: web.Request, body: bytes) -> int:
        if "6400" in json.loads(json.loads(body)["msg"])["call_to"] and refusals["first"]:
            refusals["first"] -= 1
            return 500
        return 200

    receiver.reply = reply
    await harness.add_destination("crm", receiver.url)
    first = record(call_to="6400")
    second = record(STARTED_AT + timedelta(seconds=1), call_id=first.call_id, call_to="4005")
    third = record(STARTED_AT + timedelta(seconds=2), call_id=first.call_id, call_to="4006")
    harness.start()
    call_ids = await harness.put_calls(call(first, second, third), *make_calls(20))
    await wait_until(len(receiver.accepted) == 23 and not await harness.rows("crm", "retrying") async for _ in polls())
    of_call = [event["call_to"] for event in receiver.accepted if event["call_id"] == first.call_id]
    assert of_call == ["6400", "4005", "4006"]
    assert set(receiver.accepted_call_ids()) == set(call_ids)
    attempts = await harness.appdb.deliveries.attempts((await harness.rows("crm", "delivered"))[0].delivery_id)
    assert [attempt.status for attempt in attempts] == [500, 500, 500, 200]
    assert attempts[0].body == "so it is"
    assert attempts[0].detail == "HTTP 500 Internal Server Error"


@pytest.mark.usefixtures("short_delays")
async def test_worker_event_fails_after_all_attempts(harness: DeliveryHarness, receiver: WebhookReceiver) -> None:
    """The rest of its call follows, and an operator may retry it."""
    is_mended = False

    async def reply(_: web.Request, body: bytes) -> int:
        return 500 if b"6400" in body and not is_mended else 200

    receiver.reply = reply
    await harness.add_destination("crm", receiver.url, retry_policy="original", max_attempts=2)
    first = record(call_to="6400")
    harness.start()
    await harness.put_calls(call(first, record(call_id=first.call_id, call_to="4005")))
    await wait_until(
        len(receiver.accepted) == 1 and len(await harness.rows("crm", "failed")) == 1 async for _ in polls()
    )
    assert receiver.accepted[0]["call_to"] == "4005"
    (failed,) = await harness.rows("crm", "failed")
    assert len(await harness.appdb.deliveries.attempts(failed.delivery_id)) == 2
    is_mended = True
    await harness.appdb.deliveries.retry(failed.delivery_id, now_us=SystemClock().microseconds())
    await wait_until(lambda: len(receiver.accepted) == 2)


@pytest.mark.slow
@pytest.mark.usefixtures("short_delays")
async def test_worker_unreachable_endpoint_creates_no_rows(
    harness: DeliveryHarness, receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After some failures it is tried with one event at a time, pending events stay in the stream, and all arrive."""
    monkeypatch.setattr(retry_policy, "DAYS_DELAYS_SECONDS", (0.1,) * 1_000)
    is_up = False

    async def reply(_: web.Request, __: bytes) -> int:
        return 200 if is_up else 503

    receiver.reply = reply
    await harness.add_destination("crm", receiver.url)
    harness.start()
    call_ids = await harness.put_calls(*make_calls(900))
    await wait_until(lambda: len(receiver.payloads) > endpoint_health.DOWN_AFTER_FAILURES + 15)
    assert 0 < len(await harness.rows("crm")) < endpoint_health.DOWN_AFTER_FAILURES + 8
    assert (await harness.cursor("crm") or 0) < 100
    assert (await harness.appdb.destinations.get("crm")).failing_since is not None
    is_up = True
    await wait_until(
        len(set(receiver.accepted_call_ids())) == 900 and await harness.cursor("crm") == 900 async for _ in polls()
    )
    await wait_until(not await harness.rows("crm", "retrying") async for _ in polls())
    assert set(receiver.accepted_call_ids()) == set(call_ids)
    assert (await harness.appdb.destinations.get("crm")).failing_since is None


@pytest.mark.usefixtures("short_delays")
async def test_worker_idle_destination_is_not_failing(harness: DeliveryHarness, receiver: WebhookReceiver) -> None:
    """An event that failed long ago does not count towards the days after which a destination is disabled."""

    async def reply(_: web.Request, __: bytes) -> int:
        return 500

    receiver.reply = reply
    await harness.add_destination("crm", receiver.url, retry_policy="original", max_attempts=1)
    harness.start()
    await harness.put_calls(*make_calls(1))
    await wait_until(len(await harness.rows("crm", "failed")) == 1 async for _ in polls())
    await wait_until((await harness.appdb.destinations.get("crm")).failing_since is None async for _ in polls())


@pytest.mark.usefixtures("short_delays")
async def test_worker_failed_event_ahead_of_a_slow_one_is_one_row_after_a_restart(
    harness: DeliveryHarness, receiver: WebhookReceiver
) -> None:
    """The cursor is behind both; the failed one is neither sent nor stored twice."""
    is_slow = True

    async def reply(_: web.Request, body: bytes) -> int:
        if b"6200" in body and is_slow:
            await asyncio.sleep(60)
        return 500 if b"6400" in body else 200

    receiver.reply = reply
    await harness.add_destination("crm", receiver.url, retry_policy="original", max_attempts=1, timeout_seconds=60.0)
    harness.start()
    await harness.put_calls(call(record(call_to="6200")), call(record(call_to="6400")))
    await wait_until(len(await harness.rows("crm", "failed")) == 1 async for _ in polls())
    await harness.stop()
    assert await harness.cursor("crm") == 0
    is_slow = False
    harness.start()
    await wait_until(await harness.cursor("crm") == 2 async for _ in polls())
    assert len(await harness.rows("crm")) == 1
    assert [payload["call_to"] for payload in receiver.payloads].count("6400") == 1


async def test_worker_410_disables_the_destination(
    harness: DeliveryHarness, receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the reason; pending events are sent when an operator resumes it."""

    async def reply(_: web.Request, __: bytes) -> int:
        return 410

    receiver.reply = reply
    await harness.add_destination("crm", receiver.url)
    harness.start()
    await harness.put_calls(*make_calls(3))
    await wait_until((await harness.appdb.destinations.get("crm")).state == "disabled" async for _ in polls())
    assert "HTTP 410 Gone" in (await harness.appdb.destinations.get("crm")).reason
    monkeypatch.setattr(dispatcher, "ISSUE_CHECK_SECONDS", 0.1)
    await wait_until(lambda: harness.issues == [("disabled", True)])
    receiver.reply = None
    await harness.appdb.destinations.set_state("crm", "active")
    await wait_until(lambda: len(receiver.accepted) == 3)
    await wait_until(lambda: harness.issues == [("disabled", True), ("disabled", False)])


@pytest.mark.usefixtures("short_delays")
async def test_worker_failing_for_days_disables_the_destination(
    harness: DeliveryHarness, receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the reason; pending events stay."""

    async def reply(_: web.Request, __: bytes) -> int:
        return 503

    monkeypatch.setattr(endpoint_health, "DISABLE_AFTER_SECONDS", 6)
    receiver.reply = reply
    await harness.add_destination("crm", receiver.url)
    harness.start()
    await harness.put_calls(*make_calls(40))
    await wait_until((await harness.appdb.destinations.get("crm")).state == "disabled" async for _ in polls())
    assert "accepted nothing for" in (await harness.appdb.destinations.get("crm")).reason
    assert (await harness.cursor("crm") or 0) < 40


async def test_worker_changes_by_a_person_have_effect_at_once(
    harness: DeliveryHarness, receiver: WebhookReceiver, dispatcher_cycles: DispatcherCycles
) -> None:
    """A pause, another URL, and resuming: nothing is lost and nothing is sent while it is paused."""
    async with WebhookReceiver().listen() as other:
        await harness.add_destination("crm", receiver.url)
        harness.start()
        await harness.put_calls(*make_calls(2))
        await wait_until(await harness.cursor("crm") == 2 async for _ in polls())
        await harness.appdb.destinations.set_state("crm", "paused")
        await wait_until(lambda: not harness.dispatcher._supervisors)
        await harness.put_calls(*make_calls(2))
        await dispatcher_cycles.complete()
        assert len(receiver.accepted) == 2
        await harness.appdb.destinations.change("crm", {"url": other.url})
        await harness.appdb.destinations.set_state("crm", "active")
        await wait_until(lambda: len(other.accepted) == 2)
    assert len(receiver.accepted) == 2


async def test_worker_failed_commit_is_repeated_on_closing(
    harness: DeliveryHarness, receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the next worker starts: no notification is sent again."""
    monkeypatch.setattr(worker_supervisor, "RESTART_SECONDS_FIRST", 0.01)
    commit, errors = Deliveries.commit, [Unavailable("the disk is full")]

    async def fail_once(deliveries: Deliveries, changes: DeliveryCommit) -> set[CallKey]:
        if changes.attempts_succeeded and errors:
            raise errors.pop()
        return await commit(deliveries, changes)

    monkeypatch.setattr(Deliveries, "commit", fail_once)
    await harness.add_destination("crm", receiver.url)
    harness.start()
    await harness.put_calls(*make_calls(3))
    await wait_until(len(harness.errors) == 2 and await harness.cursor("crm") == 3 async for _ in polls())
    assert [str(error) for _, error in harness.errors] == ["the disk is full", "None"]
    assert ((await harness.appdb.destinations.get("crm")).attempts_succeeded, len(receiver.payloads)) == (3, 3)


@pytest.mark.parametrize("stop_seconds_max", [dispatcher.STOP_SECONDS_MAX, 0.02], ids=["in time", "overdue"])
async def test_worker_stopped_during_a_commit_counts_its_results_once(
    harness: DeliveryHarness, receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch, stop_seconds_max: float
) -> None:
    """The commit is completed and not repeated on closing. An overdue worker is cancelled a second time."""
    monkeypatch.setattr(dispatcher, "STOP_SECONDS_MAX", stop_seconds_max)
    commit, is_committing, may_commit = Deliveries.commit, asyncio.Event(), asyncio.Event()

    async def commit_slowly(deliveries: Deliveries, changes: DeliveryCommit) -> set[CallKey]:
        if changes.attempts_succeeded:
            is_committing.set()
            await may_commit.wait()
        return await commit(deliveries, changes)

    monkeypatch.setattr(Deliveries, "commit", commit_slowly)
    await harness.add_destination("crm", receiver.url)
    harness.start()
    await harness.put_calls(*make_calls(3))
    await wait_until(is_committing.is_set)
    asyncio.get_running_loop().call_later(0.2, may_commit.set)
    await harness.stop()
    destination = await harness.appdb.destinations.get("crm")
    assert (destination.attempts_succeeded, await harness.cursor("crm")) == (
        len(receiver.accepted),
        len(receiver.accepted),
    )


async def test_worker_replay_sends_matching_events_again(harness: DeliveryHarness, receiver: WebhookReceiver) -> None:
    """And no others; the same event has the same id, and the live stream continues."""
    await harness.add_destination("crm", receiver.url, with_standard_webhooks=False)
    harness.start()
    call_ids = await harness.put_calls(*make_calls(4), *make_calls(2, status="BUSY"))
    await wait_until(await harness.cursor("crm") == 6 async for _ in polls())
    await harness.appdb.destinations.replay("crm", RecordFilter(status="BUSY"), after=1, until=6, now_us=1)
    live = await harness.put_calls(*make_calls(1))
    await wait_until(lambda: len(receiver.accepted) == 9)
    number = (await harness.appdb.destinations.get("crm")).destination_id
    await wait_until(len(await harness.appdb.destinations.streams(number)) == 1 async for _ in polls())
    assert receiver.accepted_counts() == {
        call_id: 2 if call_id in call_ids[4:] else 1 for call_id in (*call_ids, *live)
    }


async def test_worker_call_is_sent_as_one_event(harness: DeliveryHarness, receiver: WebhookReceiver) -> None:
    """When all of its legs have arrived: the answering person, and talk counted once."""
    queue = record(call_to="Queue Team<6400>", call_duration=85, talk_duration=74, type="Inbound")
    agent = record(call_id=queue.call_id, call_to="Bob<1002>", call_duration=85, talk_duration=74, type="Inbound")
    await harness.add_destination("crm", receiver.url, notifies_of="calls")
    harness.start()
    await harness.put_calls(call(queue, agent), *make_calls(2))
    await wait_until(lambda: len(receiver.accepted) == 3)
    assert receiver.accepted_counts()[queue.call_id] == 1
    (event,) = [accepted for accepted in receiver.accepted if accepted["call_id"] == queue.call_id]
    assert (event["call_to"], event["talk_duration"], event["status"]) == ("Bob<1002>", 74, "ANSWERED")


@pytest.mark.usefixtures("short_delays")
async def test_worker_restart_loses_nothing(harness: DeliveryHarness, receiver: WebhookReceiver) -> None:
    """Rows, the stream after the cursor and failed events are there for the next dispatcher."""
    is_up = False

    async def reply(_: web.Request, __: bytes) -> int:
        return 200 if is_up else 503

    receiver.reply = reply
    await harness.add_destination("crm", receiver.url)
    for _ in range(3):
        harness.start()
        await harness.put_calls(*make_calls(30))
        await wait_until(lambda: len(receiver.payloads) > 12)
        await harness.stop()
    is_up = True
    harness.start()
    await wait_until(
        len(set(receiver.accepted_call_ids())) == 90 and not await harness.rows("crm", "retrying")
        async for _ in polls()
    )
    await wait_until(await harness.cursor("crm") == 90 async for _ in polls())


@pytest.mark.usefixtures("short_delays")
async def test_worker_endpoint_that_rejects_much_receives_the_rest(
    harness: DeliveryHarness, receiver: WebhookReceiver
) -> None:
    """Rejected events become rows; neither many of them nor a restart delay the others."""

    async def reply(_: web.Request, body: bytes) -> int:
        return 400 if b"6400" in body else 200

    receiver.reply = reply
    await harness.add_destination("crm", receiver.url)
    harness.start()
    await harness.put_calls(*make_calls(60, call_to="6400"), *make_calls(5))
    await wait_until(lambda: len(receiver.accepted_counts()) == 5)
    await harness.stop()
    harness.start()
    await harness.put_calls(*make_calls(60, call_to="6400"), *make_calls(5))
    await wait_until(lambda: len(receiver.accepted_counts()) == 10)


async def test_worker_event_parsed_late_is_sent(
    harness: DeliveryHarness, receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the worker is past its number, and has read that number before."""
    monkeypatch.setattr(commit_batch, "IDLE_COMMIT_SECONDS", 0.1)
    await harness.add_destination("crm", receiver.url)
    harness.start()
    await harness.put_calls(*make_calls(3))
    harness.position += 1
    late = harness.position
    await harness.put_calls(*make_calls(3))
    await wait_until(await harness.cursor("crm") == 7 async for _ in polls())
    destinations = harness.appdb.destinations
    for is_there in (False, True):
        await destinations.hold_replays([(late, late)], now_us=1)
        if is_there:
            leg = record(seq=late)
            event_call = msgspec.structs.replace(call(leg), legs=(leg,))
            await harness.store.put(
                StoreBatch(calls=[event_call], quarantined=(), reparsed_seqs=[late], position=harness.position)
            )
        await destinations.release_replays([late])
        await wait_until(len(await destinations.streams(1)) == 1 async for _ in polls())
    await wait_until(lambda: len(receiver.accepted) == 7)


@pytest.mark.slow
async def test_worker_live_events_go_before_a_replay(harness: DeliveryHarness, receiver: WebhookReceiver) -> None:
    await harness.put_calls(*make_calls(1_500))
    await harness.add_destination("crm", receiver.url, after=1_500)
    harness.start()
    await harness.appdb.destinations.replay("crm", RecordFilter(), after=0, until=1_500, now_us=1)
    await wait_until(lambda: len(receiver.accepted) > 20)
    (news,) = await harness.put_calls(*make_calls(1))
    await wait_until(lambda: news in receiver.accepted_call_ids())
    assert len(receiver.accepted) < 1_400
    await wait_until(lambda: len(receiver.accepted) == 1_501)


async def test_worker_alarms_are_sent(harness: DeliveryHarness, receiver: WebhookReceiver) -> None:
    """As events of their own kind, in order, without calls."""
    await harness.appdb.add_pbx(name="office", sn="PBX1", secret=SECRET, now_us=1)
    await harness.add_destination("pager", receiver.url, notifies_of="alarms")
    harness.start()
    await harness.put_calls(*make_calls(2))
    await harness.appdb.alarms.raise_alarm(
        "PBX1", "silence", "nothing came", hint="look", now_us=SystemClock().microseconds()
    )
    await harness.appdb.alarms.end("PBX1", "silence", now_us=SystemClock().microseconds())
    await wait_until(lambda: len(receiver.accepted) == 2)
    assert [event["alarm"]["ended_at"] is None for event in receiver.accepted] == [True, False]
    assert receiver.accepted[0]["type"] == "alarm"


async def test_worker_stops_when_no_more_records_are_announced(
    harness: DeliveryHarness, receiver: WebhookReceiver, worker_cycles: WorkerCycles
) -> None:
    await harness.add_destination("crm", receiver.url)
    harness.start()
    await harness.put_calls(*make_calls(2))
    await wait_until(await harness.cursor("crm") == 2 async for _ in polls())
    harness.position_notifier.close()
    await worker_cycles.complete()
    await harness.stop()


def test_retry_policy_days_ends_before_a_destination_is_disabled() -> None:
    """Nine waits, longer each time, in all some three days."""
    waits = [retry_policy.retry_delay_seconds("days", 1, attempts, 0.5) for attempts in range(1, 11)]
    assert waits == [5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400, None]
    assert sum(wait or 0 for wait in waits) * (1 + retry_policy.JITTER) < retry_policy.DISABLE_AFTER_SECONDS
