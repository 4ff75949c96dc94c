"""The event socket of a FreeSWITCH: captured frames of a real one, its dialogue, and what may go wrong."""

import re
from collections.abc import Sequence

import pytest

from onhook.pbx.connection import ClockReading, ConnectionUpdate
from onhook.pbx.freeswitch.event_socket import (
    BODY_BYTES_MAX,
    HEAD_BYTES_MAX,
    LOGIN_SECONDS_MAX,
    PROBE,
    PROBE_AFTER_SECONDS,
    SILENCE_SECONDS_MAX,
    SUBSCRIPTION,
    EventSocketProtocol,
)
from tests.pbx.freeswitch.captures import FREESWITCH, PAYLOADS, bodies, calls_of

PASSWORD = "event-socket-password"
AUTH = b"Content-Type: auth/request\n\n"
ACCEPTED = b"Content-Type: command/reply\nReply-Text: +OK accepted\n\n"
ENABLED = b"Content-Type: command/reply\nReply-Text: +OK event listener enabled json\n\n"
REFUSED = b"Content-Type: command/reply\nReply-Text: -ERR invalid\n\n"
SCENARIOS = sorted(path.parent.name for path in PAYLOADS.glob("*/esl-json.frames.txt"))


def reading(seconds: float) -> ClockReading:
    return ClockReading(monotonic_seconds=seconds, unix_seconds=1_795_000_000 + seconds)


def frames(scenario: str) -> bytes:
    return (PAYLOADS / scenario / "esl-json.frames.txt").read_bytes()


def receive(protocol: EventSocketProtocol, chunks: Sequence[bytes]) -> list[ConnectionUpdate]:
    return [protocol.receive_data(chunk, reading(1)) for chunk in chunks]


def open_socket() -> EventSocketProtocol:
    protocol = EventSocketProtocol(PASSWORD)
    assert receive(protocol, [AUTH, ACCEPTED, ENABLED])[-1].is_ready
    protocol.data_to_send()
    return protocol


def event_frame(body: bytes) -> bytes:
    return b"Content-Length: %d\nContent-Type: text/event-json\n\n" % len(body) + body


def test_event_socket_logs_in_and_subscribes_to_ended_legs() -> None:
    protocol = EventSocketProtocol(PASSWORD)
    steps = []
    for chunk in (AUTH, ACCEPTED, ENABLED):
        is_ready = protocol.receive_data(chunk, reading(0)).is_ready
        steps.append((is_ready, protocol.data_to_send()))
    assert steps == [(False, f"auth {PASSWORD}\n\n".encode()), (False, SUBSCRIPTION), (True, b"")]
    assert protocol.via == "event_socket"
    assert (protocol.connection_lost(), protocol.pending_since(), protocol.queue_states(reading(0))) == ((), None, None)


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("size", [10_000_000, 997])
def test_event_socket_captured_events_give_the_calls_of_the_documents(scenario: str, size: int) -> None:
    """However the bytes are cut; an event and a document of one leg have the same key."""
    data = frames(scenario)
    updates = receive(EventSocketProtocol(PASSWORD), [data[i : i + size] for i in range(0, len(data), size)])
    events = [body for update in updates for body in update.raw_events]
    assert sum(update.is_ready for update in updates) == 1
    assert {FREESWITCH.peek(body).key for body in events} == {FREESWITCH.peek(body).key for body in bodies(scenario)}
    assert all(FREESWITCH.recognizes(body) for body in events)
    assert [[_values(leg) for leg in call] for call in calls_of(events)] == [
        [_values(leg) for leg in call] for call in calls_of(bodies(scenario))
    ]


def _values(leg: object) -> tuple[object, ...]:
    names = ("time_start", "call_from", "call_to", "call_duration", "talk_duration", "status", "type", "did_number")
    return tuple(getattr(leg, name) for name in (*names, "src_trunk_name", "dst_trunk_name"))


@pytest.mark.parametrize(
    ("chunks", "reason", "is_refused"),
    [
        ([AUTH, REFUSED], "refuses the password: -ERR invalid", True),
        ([AUTH, ACCEPTED, REFUSED], "refuses the events", True),
        ([b"Content-Type: text/rude-rejection\nContent-Length: 24\n\nAccess Denied, go away.\n"], "the address", True),
        ([AUTH, ACCEPTED, ENABLED, b"Content-Type: text/disconnect-notice\n\n"], "closed the connection", False),
        ([b"x" * (HEAD_BYTES_MAX + 1)], "no event socket", False),
    ],
)
def test_event_socket_that_refuses_ends(chunks: Sequence[bytes], reason: str, is_refused: bool) -> None:
    """The password is in no text."""
    last = receive(EventSocketProtocol(PASSWORD), chunks)[-1]
    assert re.search(reason, last.end_reason)
    assert last.is_refused == is_refused
    assert PASSWORD not in last.end_reason


def test_event_socket_that_is_silent_is_probed_and_then_ends() -> None:
    protocol = EventSocketProtocol(PASSWORD)
    assert not protocol.on_tick(reading(0)).end_reason
    assert "no login within" in protocol.on_tick(reading(LOGIN_SECONDS_MAX + 1)).end_reason
    protocol = open_socket()
    for seconds in (2.0, 2 + PROBE_AFTER_SECONDS, 3 + PROBE_AFTER_SECONDS):
        assert not protocol.on_tick(reading(seconds)).end_reason
    assert protocol.data_to_send() == PROBE
    answered_at = reading(5 + PROBE_AFTER_SECONDS)
    protocol.receive_data(b"Content-Type: api/response\nContent-Length: 3\n\n42\n", answered_at)
    assert not protocol.on_tick(reading(SILENCE_SECONDS_MAX)).end_reason
    late = protocol.on_tick(reading(10 + PROBE_AFTER_SECONDS + SILENCE_SECONDS_MAX))
    assert "no response within" in late.end_reason


def test_event_socket_leaves_out_what_is_no_leg_or_too_large() -> None:
    protocol = open_socket()
    large = b"Content-Length: %d\nContent-Type: text/event-json\n\n" % (BODY_BYTES_MAX + 1)
    half = BODY_BYTES_MAX // 2
    updates = receive(protocol, [large + b"x" * half, b"x" * (BODY_BYTES_MAX + 1 - half) + event_frame(b"{}"), AUTH])
    assert [update.raw_events for update in updates] == [(), (), ()]
    assert "more than" in updates[1].log_messages[0]
    assert not updates[0].log_messages
    event = event_frame(b'{"Event-Name":"CHANNEL_HANGUP_COMPLETE"}')
    (body,) = protocol.receive_data(ENABLED + b"\r\n" + event, reading(1)).raw_events
    assert FREESWITCH.peek(body).kind == "unparsable"


def test_event_socket_event_with_odd_values_is_unparsable() -> None:
    body = (
        b'{"Event-Name":"CHANNEL_HANGUP_COMPLETE","variable_uuid":["a",1],"Other-Type":"originator",'
        b'"Call-Direction":"inbound"}'
    )
    assert FREESWITCH.peek(body).kind == "unparsable"
