"""An AMI connection keeps itself alive, detects trunks, and reports when it is no longer usable."""

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
CALL_ENDED_AT = 1795516911.0
"""Approximate end of that call."""

WELCOME = b"Asterisk Call Manager/11.0.0\r\n" + b"".join(
    f"Response: Success\r\nActionID: onhook-{step}\r\n\r\n".encode() for step in ("challenge", "login", "filter")
)


def clock_reading(seconds: float) -> ClockReading:
    return ClockReading(monotonic_seconds=seconds, unix_seconds=CALL_ENDED_AT + seconds)


def open_connection(*, detect_trunks: bool = False) -> AsteriskProtocol:
    connection = AsteriskProtocol(
        AmiCredentials("onhook", "secret"),
        PARSE_OPTIONS if not detect_trunks else AsteriskParserConfig(),
        detect_trunks=detect_trunks,
    )
    assert connection.receive_data(WELCOME, clock_reading(0)).is_ready
    return connection


def sent_actions(connection: AsteriskProtocol) -> list[AmiMessage]:
    return [
        message
        for message in parse_messages(connection.data_to_send())
        if message.get("ActionID").startswith("onhook-")
    ]


def respond(action: AmiMessage, *list_events: str, error: str = "") -> bytes:
    """Return a response to an action: a list of events, or an error."""
    name = f"ActionID: {action.get('ActionID')}\r\n"
    if error:
        return f"Response: Error\r\n{name}Message: {error}\r\n\r\n".encode()
    begin = f"Response: Success\r\n{name}EventList: start\r\n\r\n"
    events = "".join(f"Event: {list_event}\r\n{name}\r\n" for list_event in list_events)
    return f"{begin}{events}Event: Complete\r\n{name}EventList: Complete\r\n\r\n".encode()


def test_connection_call_is_returned_by_tick_after_its_end() -> None:
    """Its CDRs arrive after its last event."""
    connection = open_connection()
    assert connection.receive_data(CALL, clock_reading(1)) == ConnectionUpdate()
    assert connection.pending_since() == 1
    (body,) = connection.on_tick(clock_reading(1 + GRACE_SECONDS)).raw_events
    assert Asterisk().parse(body)[0].did_number == "5550006"
    assert connection.pending_since() is None


def test_connection_silence_causes_ping_then_end() -> None:
    connection = open_connection()
    sent_actions(connection)
    assert connection.on_tick(clock_reading(PING_AFTER_SECONDS - 1)) == ConnectionUpdate()
    assert sent_actions(connection) == []
    connection.on_tick(clock_reading(PING_AFTER_SECONDS + 1))
    assert [action.get("Action") for action in sent_actions(connection)] == ["Ping"]
    assert "no data received for" in connection.on_tick(clock_reading(SILENCE_SECONDS_MAX + 1)).end_reason


def test_connection_login_without_end_is_given_up() -> None:
    connection = AsteriskProtocol(AmiCredentials("onhook", "secret"), PARSE_OPTIONS, detect_trunks=False)
    assert connection.on_tick(clock_reading(0)) == ConnectionUpdate()
    assert connection.on_tick(clock_reading(LOGIN_SECONDS_MAX + 1)).end_reason


def test_connection_lost_returns_received_cdrs() -> None:
    """The call is not complete, so only its CDRs are used."""
    connection = open_connection()
    connection.receive_data(CALL, clock_reading(1))
    (body,) = connection.connection_lost()
    assert b"CEL: none" in body
    assert connection.connection_lost() == ()


def test_connection_detects_trunks_by_registration_authentication_or_address() -> None:
    """An endpoint whose name is a number is a telephone; any other endpoint is no trunk."""
    connection = open_connection(detect_trunks=True)
    registrations, endpoints = sent_actions(connection)[-2:]
    connection.receive_data(
        respond(registrations, "OutboundRegistrationDetail\r\nEndpoint: registering"), clock_reading(1)
    )
    names = ("1001", "registering", "by-address", "intercom")
    list_events = [f"EndpointList\r\nObjectName: {name}" for name in names]
    list_events.append("EndpointList\r\nObjectName: logging-in\r\nOutboundAuths: provider")
    connection.receive_data(respond(endpoints, *list_events), clock_reading(1))
    actions = sent_actions(connection)
    assert sorted(action.get("Endpoint") for action in actions) == sorted([*names[1:], "logging-in"])
    detected_config = ""
    for action in actions:
        name = action.get("Endpoint")
        details = [f"EndpointDetail\r\nObjectName: {name}\r\nContext: from-{name}"]
        details += ["IdentifyDetail\r\nMatch: 192.0.2.1/32"] if name == "by-address" else []
        detected_config = (
            connection.receive_data(respond(action, *details), clock_reading(2)).detected_config or detected_config
        )
    parser_config = decode_parser_config(detected_config)
    assert parser_config.trunks == ("by-address", "logging-in", "registering")
    assert parser_config.inbound_contexts == ("from-by-address", "from-logging-in", "from-registering")
    connection.on_tick(clock_reading(3 + TRUNK_SEARCH_SECONDS - 20))
    connection.receive_data(b"Event: FullyBooted\r\n\r\n", clock_reading(2 + TRUNK_SEARCH_SECONDS))
    connection.on_tick(clock_reading(3 + TRUNK_SEARCH_SECONDS))
    assert [action.get("Action") for action in sent_actions(connection)][-2:] == [
        "PJSIPShowRegistrationsOutbound",
        "PJSIPShowEndpoints",
    ]


def test_connection_without_permission_to_read_trunks_still_returns_calls() -> None:
    """The log message says what to do."""
    connection = open_connection(detect_trunks=True)
    actions = sent_actions(connection)[-2:]
    updates = [
        connection.receive_data(respond(action, error="Permission denied"), clock_reading(1)) for action in actions
    ]
    assert "--trunks" in updates[0].log_messages[0]
    connection.receive_data(CALL, clock_reading(2))
    assert len(connection.on_tick(clock_reading(2 + GRACE_SECONDS)).raw_events) == 1


def test_connection_oversized_event_is_logged_and_skipped() -> None:
    connection = open_connection()
    update = connection.receive_data(
        b"Event: Huge\r\nA: " + b"x" * MESSAGE_BYTES_MAX + b"\r\n\r\n" + CALL, clock_reading(1)
    )
    assert "'Huge'" in update.log_messages[0]
    assert len(connection.on_tick(clock_reading(1 + GRACE_SECONDS)).raw_events) == 1


@pytest.mark.parametrize("text", ["", "{", '{"trunks": 7}'])
def test_decode_parser_config_of_unreadable_text_returns_empty_config(text: str) -> None:
    assert decode_parser_config(text) == AsteriskParserConfig()
