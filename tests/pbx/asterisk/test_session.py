"""The state machine of an AMI connection: login, questions, events, and whatever else may come."""

import hashlib
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onhook.pbx.asterisk.session import (
    BANNER_BYTES_MAX,
    LIST_EVENTS_MAX,
    PENDING_ACTIONS_MAX,
    AmiCredentials,
    AmiEvent,
    AmiReady,
    AmiRefused,
    AmiResponse,
    AmiSession,
    AmiSessionEvent,
)
from tests.pbx.asterisk.ami_streams import stream

SECRET = "correct horse"
GREETING = b"Asterisk Call Manager/11.0.0\r\n"
CHALLENGE = b"Response: Success\r\nActionID: onhook-challenge\r\nChallenge: 840415273\r\n\r\n"
LOGGED_IN = b"Response: Success\r\nActionID: onhook-login\r\nMessage: Authentication accepted\r\n\r\n"
FILTERED = b"Response: Success\r\nActionID: onhook-filter\r\nMessage: Success\r\n\r\n"
WELCOME = GREETING + CHALLENGE + LOGGED_IN + FILTERED
CALL = stream("internal_answered")


def new_session() -> AmiSession:
    return AmiSession(AmiCredentials("onhook", SECRET))


def ready_session() -> AmiSession:
    session = new_session()
    assert session.receive_data(WELCOME) == [AmiReady("11.0.0", is_filtered=True)]
    session.data_to_send()
    return session


def told(session: AmiSession, parts: Sequence[bytes]) -> list[AmiSessionEvent]:
    return [happening for part in parts for happening in session.receive_data(part)]


def test_the_secret_is_proved_and_never_sent() -> None:
    """By MD5 over the challenge; only the events that are of use are asked for."""
    session = new_session()
    assert session.receive_data(GREETING) == []
    assert b"AuthType: MD5" in session.data_to_send()
    session.receive_data(CHALLENGE)
    login = session.data_to_send()
    assert hashlib.md5(b"840415273" + SECRET.encode()).hexdigest().encode() in login  # noqa: S324 - AMI has no other
    assert SECRET.encode() not in login
    assert b"Events: cdr,call,agent" in login
    session.receive_data(LOGGED_IN)
    assert b"Filter: ^Event: (Cdr|CEL|" in session.data_to_send()
    assert session.receive_data(FILTERED) == [AmiReady("11.0.0", is_filtered=True)]
    assert SECRET not in repr(session._credentials)


def test_a_filter_that_is_not_allowed_is_no_hindrance() -> None:
    """Then Asterisk says more than is needed."""
    session = new_session()
    denied = FILTERED.replace(b"Success", b"Error")
    assert session.receive_data(GREETING + CHALLENGE + LOGGED_IN + denied) == [AmiReady("11.0.0", is_filtered=False)]


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"SSH-2.0-OpenSSH_9.9\r\n", "no Asterisk"),
        (b"Asterisk Call Manager/" + b"1" * BANNER_BYTES_MAX, "no Asterisk"),
        (GREETING + CHALLENGE + LOGGED_IN.replace(b"Success", b"Error").replace(b"accepted", b"failed"), "failed"),
        (GREETING + CHALLENGE.replace(b"Success", b"Error"), "does not say why"),
    ],
)
def test_a_refusal_says_why(said: bytes, why: str) -> None:
    """In Asterisk's words where it has any; what comes after it is not heard."""
    session = new_session()
    (refused,) = session.receive_data(said)
    assert isinstance(refused, AmiRefused)
    assert why in refused.reason
    assert session.receive_data(WELCOME + CALL) == []


@given(st.lists(st.integers(0, len(WELCOME + CALL)), max_size=60))
def test_any_split_gives_the_same_happenings(at: list[int]) -> None:
    """From the greeting to the last event of a real call."""
    data = WELCOME + CALL
    places = [0, *sorted(at), len(data)]
    parts = [data[begin:end] for begin, end in pairwise(places)]
    assert told(new_session(), parts) == told(new_session(), [data])


@given(st.lists(st.binary(max_size=200), max_size=20))
def test_rubbish_kills_nothing(parts: list[bytes]) -> None:
    """After a login anything may come, and the next call is heard."""
    session = ready_session()
    told(session, parts)
    heard = told(session, [b"\r\n\r\n", CALL])
    assert [one.name for one in heard if isinstance(one, AmiEvent)].count("Cdr") == 1


@given(st.lists(st.binary(max_size=200), max_size=20))
def test_rubbish_instead_of_a_greeting_is_refused_or_waited_on(parts: list[bytes]) -> None:
    """Nothing is raised, and no login is sent to a stranger."""
    session = new_session()
    told(session, parts)
    assert b"Key" not in session.data_to_send()


def test_events_are_heard_from_the_login_on() -> None:
    """The filter's answer may come after the first event."""
    session = new_session()
    happenings = session.receive_data(GREETING + CHALLENGE + LOGGED_IN + b"Event: Cdr\r\n\r\n" + FILTERED)
    assert [type(happening) for happening in happenings] == [AmiEvent, AmiReady]


def test_a_question_gets_its_answer_between_events() -> None:
    """By its name; an answer that nobody asked for is passed over."""
    session = ready_session()
    question = session.send_action("Ping")
    assert session.data_to_send() == f"Action: Ping\r\nActionID: {question}\r\n\r\n".encode()
    stray = b"Response: Success\r\nActionID: somebody-else\r\n\r\n"
    pong = f"Response: Success\r\nActionID: {question}\r\nPing: Pong\r\n\r\n".encode()
    event, answer = session.receive_data(stray + b"Event: Cdr\r\n\r\n" + pong + pong)
    assert isinstance(event, AmiEvent)
    assert isinstance(answer, AmiResponse)
    assert answer.is_success
    assert (answer.action_id, answer.message.get("Ping")) == (question, "Pong")


def test_a_list_is_one_answer() -> None:
    """From its begin to its end, without either; other events in between stay events."""
    session = ready_session()
    question = session.send_action("PJSIPShowEndpoints")
    begin = f"Response: Success\r\nActionID: {question}\r\nEventList: start\r\n\r\n"
    one = f"Event: EndpointList\r\nActionID: {question}\r\nObjectName: 1001\r\n\r\n"
    end = f"Event: EndpointListComplete\r\nActionID: {question}\r\nEventList: Complete\r\n\r\n"
    happenings = session.receive_data((begin + one + "Event: Cdr\r\n\r\n" + one + end).encode())
    assert [type(happening) for happening in happenings] == [AmiEvent, AmiResponse]
    answer = happenings[1]
    assert isinstance(answer, AmiResponse)
    assert [listed.get("ObjectName") for listed in answer.list_events] == ["1001", "1001"]


def test_a_list_without_end_is_bounded() -> None:
    """No more is held than a PBX can have."""
    session = ready_session()
    question = session.send_action("PJSIPShowEndpoints")
    one = f"Event: EndpointList\r\nActionID: {question}\r\n\r\n".encode()
    for _ in range(LIST_EVENTS_MAX // 1000 + 2):
        assert session.receive_data(one * 1000) == []
    assert len(session._pending_responses[question]) <= LIST_EVENTS_MAX + 1


def test_too_many_questions_without_an_answer_are_refused() -> None:
    """Then the connection is dead, and whoever asks should end it."""
    session = ready_session()
    for _ in range(PENDING_ACTIONS_MAX):
        session.send_action("Ping")
    with pytest.raises(OverflowError):
        session.send_action("Ping")


def test_a_line_break_in_a_value_begins_no_other_line() -> None:
    """Whatever a person writes into a setting, it stays one value."""
    session = ready_session()
    session.send_action("GetConfig", Filename="a.conf\r\nAction: Command")
    assert b"Filename: a.conf Action: Command\r\n" in session.data_to_send()
