"""The state machine of an AMI connection: login, actions, events, and invalid input."""

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


def receive_all(session: AmiSession, parts: Sequence[bytes]) -> list[AmiSessionEvent]:
    return [session_event for part in parts for session_event in session.receive_data(part)]


def test_session_login_proves_secret_without_sending_it() -> None:
    """By MD5 over the challenge; the session requests only the events that Onhook needs."""
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


def test_session_without_permission_to_filter_is_ready() -> None:
    """Asterisk then sends all events."""
    session = new_session()
    denied = FILTERED.replace(b"Success", b"Error")
    assert session.receive_data(GREETING + CHALLENGE + LOGGED_IN + denied) == [AmiReady("11.0.0", is_filtered=False)]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"SSH-2.0-OpenSSH_9.9\r\n", "not Asterisk"),
        (b"Asterisk Call Manager/" + b"1" * BANNER_BYTES_MAX, "not Asterisk"),
        (GREETING + CHALLENGE + LOGGED_IN.replace(b"Success", b"Error").replace(b"accepted", b"failed"), "failed"),
        (GREETING + CHALLENGE.replace(b"Success", b"Error"), "no reason given"),
    ],
)
def test_session_refusal_has_reason(data: bytes, reason: str) -> None:
    """Asterisk's own text if there is one; later input is ignored."""
    session = new_session()
    (refused,) = session.receive_data(data)
    assert isinstance(refused, AmiRefused)
    assert reason in refused.reason
    assert session.receive_data(WELCOME + CALL) == []


@given(st.lists(st.integers(0, len(WELCOME + CALL)), max_size=60))
def test_session_events_do_not_depend_on_split(positions: list[int]) -> None:
    data = WELCOME + CALL
    boundaries = [0, *sorted(positions), len(data)]
    parts = [data[begin:end] for begin, end in pairwise(boundaries)]
    assert receive_all(new_session(), parts) == receive_all(new_session(), [data])


@given(st.lists(st.binary(max_size=200), max_size=20))
def test_session_invalid_data_after_login_is_skipped(parts: list[bytes]) -> None:
    """The next call is received."""
    session = ready_session()
    receive_all(session, parts)
    session_events = receive_all(session, [b"\r\n\r\n", CALL])
    assert [session_event.name for session_event in session_events if isinstance(session_event, AmiEvent)].count(
        "Cdr"
    ) == 1


@given(st.lists(st.binary(max_size=200), max_size=20))
def test_session_invalid_greeting_gets_no_login(parts: list[bytes]) -> None:
    session = new_session()
    receive_all(session, parts)
    assert b"Key" not in session.data_to_send()


def test_session_events_before_filter_response_are_returned() -> None:
    session = new_session()
    session_events = session.receive_data(GREETING + CHALLENGE + LOGGED_IN + b"Event: Cdr\r\n\r\n" + FILTERED)
    assert [type(session_event) for session_event in session_events] == [AmiEvent, AmiReady]


def test_session_response_is_matched_by_action_id() -> None:
    """A response with an unknown id is ignored."""
    session = ready_session()
    action_id = session.send_action("Ping")
    assert session.data_to_send() == f"Action: Ping\r\nActionID: {action_id}\r\n\r\n".encode()
    unrelated_response = b"Response: Success\r\nActionID: other-client\r\n\r\n"
    pong = f"Response: Success\r\nActionID: {action_id}\r\nPing: Pong\r\n\r\n".encode()
    event, response = session.receive_data(unrelated_response + b"Event: Cdr\r\n\r\n" + pong + pong)
    assert isinstance(event, AmiEvent)
    assert isinstance(response, AmiResponse)
    assert response.is_success
    assert (response.action_id, response.message.get("Ping")) == (action_id, "Pong")


def test_session_list_is_one_response() -> None:
    """Without its start and end; other events in between remain events."""
    session = ready_session()
    action_id = session.send_action("PJSIPShowEndpoints")
    begin = f"Response: Success\r\nActionID: {action_id}\r\nEventList: start\r\n\r\n"
    list_item = f"Event: EndpointList\r\nActionID: {action_id}\r\nObjectName: 1001\r\n\r\n"
    end = f"Event: EndpointListComplete\r\nActionID: {action_id}\r\nEventList: Complete\r\n\r\n"
    session_events = session.receive_data((begin + list_item + "Event: Cdr\r\n\r\n" + list_item + end).encode())
    assert [type(session_event) for session_event in session_events] == [AmiEvent, AmiResponse]
    response = session_events[1]
    assert isinstance(response, AmiResponse)
    assert [list_event.get("ObjectName") for list_event in response.list_events] == ["1001", "1001"]


def test_session_list_without_end_is_bounded() -> None:
    session = ready_session()
    action_id = session.send_action("PJSIPShowEndpoints")
    list_item = f"Event: EndpointList\r\nActionID: {action_id}\r\n\r\n".encode()
    for _ in range(LIST_EVENTS_MAX // 1000 + 2):
        assert session.receive_data(list_item * 1000) == []
    assert len(session._pending_responses[action_id]) <= LIST_EVENTS_MAX + 1


def test_session_too_many_pending_actions_raise_overflow_error() -> None:
    """The connection counts as dead."""
    session = ready_session()
    for _ in range(PENDING_ACTIONS_MAX):
        session.send_action("Ping")
    with pytest.raises(OverflowError):
        session.send_action("Ping")


def test_session_line_break_in_value_begins_no_new_line() -> None:
    session = ready_session()
    session.send_action("GetConfig", Filename="a.conf\r\nAction: Command")
    assert b"Filename: a.conf Action: Command\r\n" in session.data_to_send()


def test_session_refused_ignores_events() -> None:
    session = new_session()
    session.receive_data(b"SSH-2.0-OpenSSH_9.9\r\n")
    assert session.receive_data(CALL) == []
    assert session.data_to_send() == b""


def test_session_event_before_challenge_is_ignored() -> None:
    session = new_session()
    assert session.receive_data(GREETING + b"Event: Cdr\r\n\r\n") == []


def test_session_login_response_out_of_order_is_ignored() -> None:
    """The server cannot skip the challenge, in which the session proves the secret."""
    session = new_session()
    session.receive_data(GREETING)
    session.data_to_send()
    assert session.receive_data(LOGGED_IN + FILTERED) == []
    assert (session.state, session.data_to_send()) == ("challenge", b"")
    assert session.receive_data(CHALLENGE + LOGGED_IN + FILTERED) == [AmiReady("11.0.0", is_filtered=True)]


def test_session_list_of_maximum_length_is_complete() -> None:
    session = ready_session()
    action_id = session.send_action("PJSIPShowEndpoints")
    session.receive_data(f"Response: Success\r\nActionID: {action_id}\r\nEventList: start\r\n\r\n".encode())
    session.receive_data(f"Event: EndpointList\r\nActionID: {action_id}\r\n\r\n".encode() * LIST_EVENTS_MAX)
    (response,) = session.receive_data(
        f"Event: ListComplete\r\nActionID: {action_id}\r\nEventList: Complete\r\n\r\n".encode()
    )
    assert isinstance(response, AmiResponse)
    assert len(response.list_events) == LIST_EVENTS_MAX


def test_session_list_end_without_start_is_unsuccessful_response() -> None:
    session = ready_session()
    action_id = session.send_action("PJSIPShowEndpoints")
    (response,) = session.receive_data(
        f"Event: ListComplete\r\nActionID: {action_id}\r\nEventList: cancelled\r\n\r\n".encode()
    )
    assert isinstance(response, AmiResponse)
    assert (response.is_success, response.list_events) == (False, ())


def test_session_greeting_in_parts_is_read() -> None:
    session = new_session()
    for part in (GREETING[:7], GREETING[7:-1]):
        assert session.receive_data(part) == []
        assert (session.state, session.data_to_send()) == ("banner", b"")
    session.receive_data(GREETING[-1:] + CHALLENGE)
    assert session.state == "login"
