"""A conversation keeps itself alive, finds out which endpoints are trunks, and says when it is of no more use."""

import pytest

from onhook.pbx.asterisk.call_collector import GRACE_SECONDS, PbxReading
from onhook.pbx.asterisk.connection import (
    DEAD_SECONDS,
    PING_SECONDS,
    SEARCH_SECONDS,
    WELCOME_SECONDS,
    AsteriskConversation,
    reading_of,
)
from onhook.pbx.asterisk.messages import MESSAGE_BYTES_MAX, Message, parse_messages
from onhook.pbx.asterisk.payload import Asterisk
from onhook.pbx.asterisk.session import Login
from onhook.pbx.connection import Heard, Now
from tests.pbx.asterisk.ami_streams import READING, stream

CALL = stream("inbound_direct")
ENDED = 1795516911.0
"""About when that call ended."""

WELCOME = b"Asterisk Call Manager/11.0.0\r\n" + b"".join(
    f"Response: Success\r\nActionID: onhook-{step}\r\n\r\n".encode() for step in ("challenge", "login", "filter")
)


def at(seconds: float) -> Now:
    return Now(running=seconds, epoch=ENDED + seconds)


def conversation(*, searches: bool = False) -> AsteriskConversation:
    one = AsteriskConversation(Login("onhook", "secret"), READING if not searches else PbxReading(), searches=searches)
    assert one.received(WELCOME, at(0)).is_ready
    return one


def asked(one: AsteriskConversation) -> list[Message]:
    return [message for message in parse_messages(one.to_send()) if message.get("ActionID").startswith("onhook-")]


def answer(question: Message, *listed: str, error: str = "") -> bytes:
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
    assert one.received(CALL, at(1)) == Heard()
    assert one.held_since() == 1
    (body,) = one.ticked(at(1 + GRACE_SECONDS)).reports
    assert Asterisk().read(body)[0].did_number == "5550006"
    assert one.held_since() is None


def test_who_is_silent_is_asked_and_then_given_up() -> None:
    """A ping after some time, and an end after three of them without a byte."""
    one = conversation()
    asked(one)
    assert one.ticked(at(PING_SECONDS - 1)) == Heard()
    assert asked(one) == []
    one.ticked(at(PING_SECONDS + 1))
    assert [question.get("Action") for question in asked(one)] == ["Ping"]
    assert "nothing for" in one.ticked(at(DEAD_SECONDS + 1)).ended


def test_a_login_that_does_not_end_is_given_up() -> None:
    """One that takes the connection and says nothing is no PBX that we hear."""
    one = AsteriskConversation(Login("onhook", "secret"), READING, searches=False)
    assert one.ticked(at(0)) == Heard()
    assert one.ticked(at(WELCOME_SECONDS + 1)).ended


def test_a_connection_that_is_cut_hands_out_what_was_heard() -> None:
    """Before the call's time had come; the CDRs alone are read then."""
    one = conversation()
    one.received(CALL, at(1))
    (body,) = one.cut()
    assert b"CEL: none" in body
    assert one.cut() == ()


def test_trunks_are_found_by_what_they_do() -> None:
    """Registered, logged in outside, or known by an address; a number is a telephone, and anything else no trunk."""
    one = conversation(searches=True)
    registrations, endpoints = asked(one)[-2:]
    one.received(answer(registrations, "OutboundRegistrationDetail\r\nEndpoint: registering"), at(1))
    names = ("1001", "registering", "by-address", "door-phone")
    listed = [f"EndpointList\r\nObjectName: {name}" for name in names]
    listed.append("EndpointList\r\nObjectName: logging-in\r\nOutboundAuths: provider")
    one.received(answer(endpoints, *listed), at(1))
    questions = asked(one)
    assert sorted(question.get("Endpoint") for question in questions) == sorted([*names[1:], "logging-in"])
    learned = ""
    for question in questions:
        name = question.get("Endpoint")
        details = [f"EndpointDetail\r\nObjectName: {name}\r\nContext: from-{name}"]
        details += ["IdentifyDetail\r\nMatch: 192.0.2.1/32"] if name == "by-address" else []
        learned = one.received(answer(question, *details), at(2)).learned or learned
    found = reading_of(learned)
    assert found.trunks == ("by-address", "logging-in", "registering")
    assert found.inbound == ("from-by-address", "from-logging-in", "from-registering")
    one.ticked(at(3 + SEARCH_SECONDS - 20))
    one.received(b"Event: FullyBooted\r\n\r\n", at(2 + SEARCH_SECONDS))
    one.ticked(at(3 + SEARCH_SECONDS))
    assert [question.get("Action") for question in asked(one)][-2:] == [
        "PJSIPShowRegistrationsOutbound",
        "PJSIPShowEndpoints",
    ]


def test_a_pbx_that_does_not_tell_its_trunks_is_heard_all_the_same() -> None:
    """With what to do about it in the log."""
    one = conversation(searches=True)
    questions = asked(one)[-2:]
    told = [one.received(answer(question, error="Permission denied"), at(1)) for question in questions]
    assert "--trunks" in told[0].news[0]
    one.received(CALL, at(2))
    assert len(one.ticked(at(2 + GRACE_SECONDS)).reports) == 1


def test_an_event_that_is_too_large_is_told() -> None:
    """And what comes after it is heard."""
    one = conversation()
    heard = one.received(b"Event: Huge\r\nA: " + b"x" * MESSAGE_BYTES_MAX + b"\r\n\r\n" + CALL, at(1))
    assert "'Huge'" in heard.news[0]
    assert len(one.ticked(at(1 + GRACE_SECONDS)).reports) == 1


@pytest.mark.parametrize("text", ["", "{", '{"trunks": 7}'])
def test_what_was_learned_and_cannot_be_read_is_learned_anew(text: str) -> None:
    """It is no more than a short cut."""
    assert reading_of(text) == PbxReading()
