"""Push channel over a real socket: subscription, heartbeat, renewal without a gap, reconnect."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from aiohttp import ClientWebSocketResponse, web

from onhook.lib.backoff import Backoff
from onhook.lib.errors import OnhookError, Unavailable
from onhook.pbx.yeastar.tokens import EARLY_REFUSAL_SECONDS
from onhook.sync import pbx_session, push_channel
from onhook.sync.pbx_session import PbxSession
from onhook.sync.pbx_sync import PbxSync
from tests.receiver.harness import RAW_EVENT, make_raw_event
from tests.sync.harness import SyncHarness, open_sync_harness, run_push_channel
from tests.sync.pbx_responder import PbxResponder, json_response, open_pbx_responder
from tests.waiting import wait_until

REFUSALS = {
    "unknown": lambda: json_response(errcode=10001, errmsg="INTERFACE NOT EXISTED"),
    "denied": lambda: json_response(errcode=10005, errmsg="ACCESS DENIED"),
    "error": lambda: json_response(errcode=-2, errmsg="INTERNAL SERVER ERROR"),
    "failure": lambda: json_response(errcode=-1, errmsg="FAILURE"),
    "404": lambda: web.Response(status=404, text="<html>not found</html>", content_type="text/html"),
    "page": lambda: web.Response(text="<html>sign in</html>", content_type="text/html"),
}
"""Responses of PBXs that refuse a request with any token."""


def refuse(responder: PbxResponder, answer: Callable[[], web.Response], *names: str) -> None:
    """Let the PBX answer the requests of these names so, with any token."""

    async def respond(request: web.Request) -> web.StreamResponse | None:
        return answer() if request.path.endswith(names) else None

    responder.override_response = respond


async def test_push_channel_event_is_stored_unchanged(tmp_path: Path) -> None:
    """A repeat by webhook is a duplicate."""
    async with (
        open_pbx_responder() as responder,
        open_sync_harness(tmp_path, responder) as receiver,
        run_push_channel(receiver),
    ):
        await wait_until(lambda: bool(responder.subscribed))
        await responder.push(RAW_EVENT)
        await wait_until(lambda: receiver.ingestor.is_working and bool(responder.subscribed))
        await responder.push(RAW_EVENT)
        await responder.push(make_raw_event(2))
        await receiver.wait_for_raw_events(2)
        raw_events = await receiver.ledger.read(0, 10)
    assert [raw_event.body for raw_event in raw_events] == [RAW_EVENT, make_raw_event(2)]
    assert [(raw_event.via, raw_event.peer) for raw_event in raw_events] == [
        ("websocket", f"127.0.0.1:{responder.port}")
    ] * 2


async def test_push_channel_new_socket_is_open_before_the_old_one_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events pushed meanwhile are all stored; the old token is revoked, and never more than two are valid."""
    monkeypatch.setattr(push_channel, "DRAIN_SECONDS", 0.1)
    async with open_pbx_responder() as responder, open_sync_harness(tmp_path, responder) as receiver:
        responder.token_seconds = 8 * 60 + 1  # so that it is renewed after a second
        async with run_push_channel(receiver):
            await wait_until(lambda: bool(responder.subscribed))
            number = 0
            while responder.issued_token_count < 4:
                number += 1
                assert await responder.push(make_raw_event(number)) >= 1, "at every moment a socket receives it"
                await asyncio.sleep(0.02)
            await wait_until(lambda: len(responder.tokens) == 1)
            await receiver.wait_for_raw_events(number)
    assert (responder.token_count_max, responder.login_count) == (2, 1)


async def test_push_channel_leaves_no_socket_open_where_its_state_cannot_be_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session has six connections: with sockets that nothing closes, no request would be sent any longer."""
    monkeypatch.setattr(Backoff, "after_run", lambda *_: 0.01)
    failures: list[str] = []
    on_connected = PbxSync.on_connected
    is_connected = asyncio.Event()

    async def fail_at_first(pbx_sync: PbxSync) -> None:
        if len(failures) < 8:
            failures.append("locked")
            raise Unavailable("the application database is busy")
        await on_connected(pbx_sync)
        is_connected.set()

    monkeypatch.setattr(PbxSync, "on_connected", fail_at_first)
    async with (
        open_pbx_responder() as responder,
        open_sync_harness(tmp_path, responder) as receiver,
        run_push_channel(receiver),
    ):
        # The socket of the last failure may still be closing.
        await wait_until(lambda: is_connected.is_set() and len(responder.sockets) == 1)
        await responder.push(RAW_EVENT)
        await receiver.wait_for_raw_events(1)


async def test_push_channel_leaves_no_socket_open_where_the_old_token_cannot_be_revoked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push_channel, "DRAIN_SECONDS", 0.1)
    monkeypatch.setattr(Backoff, "after_run", lambda *_: 0.01)
    failures: list[str] = []
    opened: list[str] = []
    revoke, open_push = PbxSession.revoke_replaced_token, PbxSession.open_push

    async def fail_at_first(session: PbxSession) -> None:
        if not failures:
            failures.append("locked")
            raise Unavailable("the application database is busy")
        await revoke(session)

    async def count_and_open(session: PbxSession, token: str) -> ClientWebSocketResponse:
        opened.append(token)
        return await open_push(session, token)

    monkeypatch.setattr(PbxSession, "revoke_replaced_token", fail_at_first)
    monkeypatch.setattr(PbxSession, "open_push", count_and_open)
    async with open_pbx_responder() as responder, open_sync_harness(tmp_path, responder) as receiver:
        responder.token_seconds = 8 * 60 + 1  # so that it is renewed after a second
        async with run_push_channel(receiver):
            await wait_until(lambda: bool(failures))
            opened.clear()
            responder.token_seconds = 3_600
            await wait_until(lambda: len(opened) == 1)
            await wait_until(lambda: len(responder.sockets) == 1 and bool(responder.subscribed))


async def test_push_channel_lost_socket_is_reopened(tmp_path: Path) -> None:
    """With the current token, and the gap is filled at once."""
    async with (
        open_pbx_responder() as responder,
        open_sync_harness(tmp_path, responder) as receiver,
        run_push_channel(receiver),
    ):
        await wait_until(lambda: bool(responder.subscribed))
        receiver.pbx_sync._wake.clear()
        await responder.close_sockets()
        await wait_until(lambda: bool(responder.subscribed) and receiver.pbx_sync._wake.is_set())
    assert responder.login_count == 1


@pytest.mark.parametrize("answer", [None, *REFUSALS.values()], ids=["information", *REFUSALS])
async def test_push_channel_of_a_restarted_pbx_is_back_with_a_new_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Callable[[], web.Response] | None
) -> None:
    """It has forgotten the old one, and refuses the handshake without a reason, some also the information; the gap is
    filled at once. After each restart there is one wait, for the lost socket, and none for the refused token.
    """
    waits: list[float] = []

    def record(_backoff: Backoff, ran_seconds: float, _jitter: float) -> float:
        waits.append(ran_seconds)
        return 0.01

    monkeypatch.setattr(Backoff, "after_run", record)
    async with (
        open_pbx_responder() as responder,
        open_sync_harness(tmp_path, responder) as receiver,
        run_push_channel(receiver),
    ):
        if answer is not None:
            refuse(responder, answer, "system/information")
        for token_count in range(2, 5):
            await wait_until(lambda: bool(responder.subscribed))
            receiver.clock.offset_seconds += EARLY_REFUSAL_SECONDS
            receiver.pbx_sync._wake.clear()
            responder.tokens.clear()
            started_at = receiver.session.now()
            await responder.close_sockets()
            await wait_until(lambda: responder.issued_token_count == token_count)  # noqa: B023 - awaited here
            await wait_until(lambda: bool(responder.subscribed) and receiver.pbx_sync._wake.is_set())
            assert receiver.session.now() - started_at < 10
            assert len(waits) == token_count - 1


@pytest.mark.parametrize("answer", [REFUSALS["unknown"], REFUSALS["denied"], REFUSALS["404"], REFUSALS["page"]])
async def test_push_channel_of_a_pbx_that_says_nothing_about_its_tokens_is_back_with_a_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Callable[[], web.Response]
) -> None:
    """Once: where the handshake with the new token is refused too, no token after token is requested."""
    monkeypatch.setattr(Backoff, "after_run", lambda *_arguments: 0.01)
    async with (
        open_pbx_responder() as responder,
        open_sync_harness(tmp_path, responder) as receiver,
        run_push_channel(receiver),
    ):
        for token_count in (2, 3):
            refuse(responder, answer, "system/information", "cdr/list")
            await wait_until(lambda: bool(responder.subscribed))
            receiver.clock.offset_seconds += pbx_session.DOUBT_SECONDS
            responder.tokens.clear()
            await responder.close_sockets()
            await wait_until(lambda: responder.issued_token_count == token_count)  # noqa: B023 - awaited here
            await wait_until(lambda: bool(responder.subscribed))
            refuse(responder, answer, "system/information", "cdr/list", "subscribe")
            request_count = len(responder.request_names)
            await responder.close_sockets()
            await wait_until(lambda: len(responder.request_names) > request_count + 12)  # noqa: B023 - awaited here
            assert responder.issued_token_count == token_count


async def test_push_channel_of_a_pbx_that_cannot_answer_now_keeps_its_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Backoff, "after_run", lambda *_arguments: 0.01)
    async with (
        open_pbx_responder() as responder,
        open_sync_harness(tmp_path, responder) as receiver,
        run_push_channel(receiver),
    ):
        await wait_until(lambda: bool(responder.subscribed))
        refuse(responder, lambda: web.Response(status=503), "system/information", "cdr/list", "subscribe")
        request_count = len(responder.request_names)
        await responder.close_sockets()
        await wait_until(lambda: len(responder.request_names) > request_count + 12)
        responder.override_response = None
        await wait_until(lambda: bool(responder.subscribed))
    assert responder.issued_token_count == 1


async def test_push_channel_states_are_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each change, with its time and reason; attempts that fail in the same way are one state."""
    monkeypatch.setattr(Backoff, "after_run", lambda *_arguments: 0.01)
    async with open_pbx_responder() as responder, open_sync_harness(tmp_path, responder) as receiver:
        statuses = receiver.state.push_channel_statuses
        async with run_push_channel(receiver):
            await wait_until(lambda: bool(responder.subscribed) and statuses[-1].state == "connected")
            receiver.clock.offset_seconds += EARLY_REFUSAL_SECONDS
            responder.tokens.clear()
            await responder.close_sockets()
            await wait_until(lambda: responder.issued_token_count == 2 and statuses[-1].state == "connected")
            since = statuses[-1].since

            async def respond_unavailable(_: web.Request) -> web.StreamResponse | None:
                return web.Response(status=503)

            responder.override_response = respond_unavailable
            receiver.clock.offset_seconds += 1_000
            await responder.close_sockets()
            request_count = len(responder.request_names)
            await wait_until(lambda: len(responder.request_names) > request_count + 5)
            await wait_until(lambda: statuses[-1].state == "waiting" and "503" in statuses[-1].reason)
    states = [status.state for status in statuses]
    assert states[:5] == ["opening", "connected", "waiting", "token_refused", "connected"]
    assert set(states[5:]) == {"waiting"}
    assert len(states[5:]) <= 2, "the lost channel, and the PBX that answers 503"
    assert statuses[-1].since >= since + 1_000
    assert all(bool(status.reason) == (status.state in ("waiting", "token_refused")) for status in statuses)


async def test_push_channel_silent_socket_is_closed_and_not_claimed(tmp_path: Path) -> None:
    """yeastar-p-series.md 12, 14: otherwise hours of events are lost; the connected time ends with the last confirmed
    heartbeat.
    """
    async with (
        open_pbx_responder() as responder,
        open_sync_harness(tmp_path, responder) as receiver,
        run_push_channel(receiver),
    ):
        await wait_until(lambda: bool(responder.subscribed))
        first = next(iter(responder.subscribed))
        responder.is_silent = True
        receiver.clock.offset_seconds += 31
        await wait_until(lambda: receiver.session.now() > 0 and bool(responder.sockets))
        for number in range(1, 5):
            receiver.clock.offset_seconds += 16
            await responder.push(make_raw_event(number))
            await wait_until_stored_or_closed(receiver, number, lambda: first not in responder.subscribed)
        await wait_until(lambda: first not in responder.subscribed)
        connected = [
            saved_interval for saved_interval in receiver.state.saved_intervals if saved_interval.state == "connected"
        ]
        assert all((interval.until - interval.since).total_seconds() < 31 for interval in connected)


async def wait_until_stored_or_closed(receiver: SyncHarness, count: int, is_closed: Callable[[], bool]) -> None:
    """Return when so many events are stored, or the socket is closed."""
    async with asyncio.timeout(10):
        while not is_closed() and await receiver.ledger.last_seq() < count:  # noqa: ASYNC110 - a ledger sets no event
            await asyncio.sleep(0.01)


async def test_push_channel_unreachable_pbx_is_retried(tmp_path: Path) -> None:
    """With an alarm after a while."""
    async with open_pbx_responder() as responder, open_sync_harness(tmp_path, responder) as receiver:

        async def respond_unavailable(_: web.Request) -> web.StreamResponse | None:
            return web.Response(status=503)

        responder.override_response = respond_unavailable
        async with run_push_channel(receiver):
            await wait_until(lambda: receiver.pbx_sync._connection_alarms.failing_since is not None)
            assert receiver.state.alarms == {}
            receiver.clock.offset_seconds += 600
            await wait_until(lambda: "unreachable" in receiver.state.alarms)
            responder.override_response = None
            receiver.clock.offset_seconds += 600
            await wait_until(lambda: bool(responder.subscribed) and receiver.state.alarms == {})


async def test_push_channel_rejected_credentials_raise_an_alarm_and_are_not_retried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """yeastar-p-series.md 12, 27: five failures block the address."""
    monkeypatch.setattr(push_channel, "HALTED_RETRY_SECONDS", 0.01)
    failures: list[OnhookError] = []
    on_failed = PbxSync.on_failed

    async def record_failure(pbx_sync: PbxSync, error: OnhookError) -> None:
        failures.append(error)
        await on_failed(pbx_sync, error)

    monkeypatch.setattr(PbxSync, "on_failed", record_failure)
    async with open_pbx_responder() as responder, open_sync_harness(tmp_path, responder) as receiver:
        responder.login_error_code = 70004
        async with run_push_channel(receiver):
            await wait_until(lambda: "credentials" in receiver.state.alarms)
            request_count = len(responder.request_names)
            receiver.clock.offset_seconds += 10**6
            failures.clear()
            await wait_until(lambda: len(failures) >= 5)
    assert "70004" in receiver.state.alarms["credentials"]
    assert len(responder.request_names) == request_count


async def test_push_channel_invalid_data_is_stored(tmp_path: Path) -> None:
    """And the next event too."""
    async with (
        open_pbx_responder() as responder,
        open_sync_harness(tmp_path, responder) as receiver,
        run_push_channel(receiver),
    ):
        await wait_until(lambda: bool(responder.subscribed))
        await responder.push(b'{"type":30012,"sn":"3651XXXXXXXX","msg":"{broken"}')
        await responder.push(b'{"type":30011,"sn":"3651XXXXXXXX","msg":"{}"}')
        await responder.push(RAW_EVENT)
        await receiver.wait_for_raw_events(2)
        bodies = [event.body for event in await receiver.ledger.read(0, 10)]
    assert bodies[1] == RAW_EVENT, "another event is counted, not stored"


async def test_push_channel_stop_revokes_the_token(tmp_path: Path) -> None:
    """So that the next start has all of them."""
    async with open_pbx_responder() as responder, open_sync_harness(tmp_path, responder) as receiver:
        async with run_push_channel(receiver):
            await wait_until(lambda: bool(responder.subscribed))
        await receiver.session.revoke_tokens()
        assert responder.tokens == set()


async def test_push_channel_token_that_ended_early_is_renewed_once(tmp_path: Path) -> None:
    """yeastar-p-series.md 12, 4: 10004 leads to a refresh, 40002 to nothing."""
    async with open_pbx_responder() as responder, open_sync_harness(tmp_path, responder) as receiver:
        assert (await receiver.session.send_request(receiver.session.client.facts_request())).error_kind is None
        receiver.clock.offset_seconds += 120
        responder.tokens.clear()
        assert (await receiver.session.send_request(receiver.session.client.facts_request())).error_kind is None

        async def reject_parameters(request: web.Request) -> web.StreamResponse | None:
            return json_response(errcode=40002, errmsg="PARAMETER ERROR") if "information" in request.path else None

        responder.override_response = reject_parameters
        assert (
            await receiver.session.send_request(receiver.session.client.facts_request())
        ).error_kind == "invalid_parameter"
    assert (responder.login_count, responder.request_names.count("refresh_token")) == (1, 1)
