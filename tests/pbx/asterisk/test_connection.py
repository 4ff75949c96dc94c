"""A conversation keeps itself alive, finds out which endpoints are trunks, and says when it is of no more use."""

import pytest

from onhook.pbx.asterisk.call_collector import GRACE_SECONDS, AsteriskParserConfig
from onhook.pbx.asterisk.connection import (
    LOGIN_SECONDS_MAX,
    PING_AFTER_SECONDS,
    SILENCE_SECONDS_MAX,
    TRUNK_SEARCH_SECONDS,
    AsteriskProtocol,
    decode_parser_config,
)
from onhook.pbx.asterisk.messages import MESSAGE_BYTES_MAX, AmiMessage, parse_messages
from onhook.pbx.asterisk.payload import Asterisk
from onhook.pbx.asterisk.session import AmiCredentials
from onhook.pbx.connection import ClockReading, ConnectionUpdate
from tests.pbx.asterisk.ami_streams import PARSE_OPTIONS, stream

CALL = stream("inbound_direct")
ENDED = 1795516911.0
"""About when that call ended."""

WELCOME = b"Asterisk Call Manager/11.0.0\r\n" + b"".join(
    f"Response: Success\r\nActionID: onhook-{step}\r\n\r\n".encode() for step in ("challenge", "login", "filter")
)


def at(seconds: float) -> ClockReading:
    return ClockReading(monotonic_seconds=seconds, unix_seconds=ENDED + seconds)


def conversation(*, searches: bool = False) -> AsteriskProtocol:
    one = AsteriskProtocol(
        AmiCredentials("onhook", "secret"),
        PARSE_OPTIONS if not searches else AsteriskParserConfig(),
        detect_trunks=searches,
    )
    assert one.receive_data(WELCOME, at(0)).is_ready
    return one


def asked(one: AsteriskProtocol) -> list[AmiMessage]:
    return [message for message in parse_messages(one.data_to_send()) if message.get("ActionID").startswith("onhook-")]


def answer(question: AmiMessage, *listed: str, error: str = "") -> bytes:
    """What Asterisk says to a question: a list of events, or why not."""
    name = f"ActionID: {question.get('ActionID')}\r\n"
    if error:
        return f"Response: Error\r\n{name}Message: {error}\r\n\r\n".encode()
    begin = f"Response: Success\r\n{name}EventList: start\r\n\r\n"
    events = "".join(f"Event: {one}\r\n{name}\r\n" for one in listed)
    return f"{begin}{events}Event: Complete\r\n{name}EventList: Complete\r\n\r\n".encode()


def test_a_call_is_handed_out_by_the_passing_of_time() -> None:
    """Not by its last event: its CDRs come after that."""
    one = conversation()
    assert one.receive_data(CALL, at(1)) == ConnectionUpdate()
    assert one.pending_since() == 1
    (body,) = one.on_tick(at(1 + GRACE_SECONDS)).raw_events
    assert Asterisk().parse(body)[0].did_number == "5550006"
    assert one.pending_since() is None


def test_who_is_silent_is_asked_and_then_given_up() -> None:
    """A ping after some time, and an end after three of them without a byte."""
    one = conversation()
    asked(one)
    assert one.on_tick(at(PING_AFTER_SECONDS - 1)) == ConnectionUpdate()
    assert asked(one) == []
    one.on_tick(at(PING_AFTER_SECONDS + 1))
    assert [question.get("Action") for question in asked(one)] == ["Ping"]
    assert "nothing for" in one.on_tick(at(SILENCE_SECONDS_MAX + 1)).end_reason


def test_a_login_that_does_not_end_is_given_up() -> None:
    """One that takes the connection and says nothing is no PBX that we hear."""
    one = AsteriskProtocol(AmiCredentials("onhook", "secret"), PARSE_OPTIONS, detect_trunks=False)
    assert one.on_tick(at(0)) == ConnectionUpdate()
    assert one.on_tick(at(LOGIN_SECONDS_MAX + 1)).end_reason


def test_a_connection_that_is_cut_hands_out_what_was_heard() -> None:
    """Before the call's time had come; the CDRs alone are read then."""
    one = conversation()
    one.receive_data(CALL, at(1))
    (body,) = one.connection_lost()
    assert b"CEL: none" in body
    assert one.connection_lost() == ()


def test_trunks_are_found_by_what_they_do() -> None:
    """Registered, logged in outside, or known by an address; a number is a telephone, and anything else no trunk."""
    one = conversation(searches=True)
    registrations, endpoints = asked(one)[-2:]
    one.receive_data(answer(registrations, "OutboundRegistrationDetail\r\nEndpoint: registering"), at(1))
    names = ("1001", "registering", "by-address", "door-phone")
    listed = [f"EndpointList\r\nObjectName: {name}" for name in names]
    listed.append("EndpointList\r\nObjectName: logging-in\r\nOutboundAuths: provider")
    one.receive_data(answer(endpoints, *listed), at(1))
    questions = asked(one)
    assert sorted(question.get("Endpoint") for question in questions) == sorted([*names[1:], "logging-in"])
    learned = ""
    for question in questions:
        name = question.get("Endpoint")
        details = [f"EndpointDetail\r\nObjectName: {name}\r\nContext: from-{name}"]
        details += ["IdentifyDetail\r\nMatch: 192.0.2.1/32"] if name == "by-address" else []
        learned = one.receive_data(answer(question, *details), at(2)).detected_config or learned
    found = decode_parser_config(learned)
    assert found.trunks == ("by-address", "logging-in", "registering")
    assert found.inbound_contexts == ("from-by-address", "from-logging-in", "from-registering")
    one.on_tick(at(3 + TRUNK_SEARCH_SECONDS - 20))
    one.receive_data(b"Event: FullyBooted\r\n\r\n", at(2 + TRUNK_SEARCH_SECONDS))
    one.on_tick(at(3 + TRUNK_SEARCH_SECONDS))
    assert [question.get("Action") for question in asked(one)][-2:] == [
        "PJSIPShowRegistrationsOutbound",
        "PJSIPShowEndpoints",
    ]


def test_a_pbx_that_does_not_tell_its_trunks_is_heard_all_the_same() -> None:
    """With what to do about it in the log."""
    one = conversation(searches=True)
    questions = asked(one)[-2:]
    told = [one.receive_data(answer(question, error="Permission denied"), at(1)) for question in questions]
    assert "--trunks" in told[0].log_messages[0]
    one.receive_data(CALL, at(2))
    assert len(one.on_tick(at(2 + GRACE_SECONDS)).raw_events) == 1


def test_an_event_that_is_too_large_is_told() -> None:
    """And what comes after it is heard."""
    one = conversation()
    heard = one.receive_data(b"Event: Huge\r\nA: " + b"x" * MESSAGE_BYTES_MAX + b"\r\n\r\n" + CALL, at(1))
    assert "'Huge'" in heard.log_messages[0]
    assert len(one.on_tick(at(1 + GRACE_SECONDS)).raw_events) == 1


@pytest.mark.parametrize("text", ["", "{", '{"trunks": 7}'])
def test_what_was_learned_and_cannot_be_read_is_learned_anew(text: str) -> None:
    """It is no more than a short cut."""
    assert decode_parser_config(text) == AsteriskParserConfig()
