"""An AMI connection keeps itself alive, detects trunks, and reports when it is no longer usable."""

import pytest

from onhook.pbx.asterisk.call_collector import GRACE_SECONDS, MISSING_CDR_SECONDS, QUIET_SECONDS, AsteriskParserConfig
from onhook.pbx.asterisk.connection import (
    LOGIN_SECONDS_MAX,
    PING_AFTER_SECONDS,
    SILENCE_SECONDS_MAX,
    TRUNK_SEARCH_SECONDS,
    AsteriskProtocol,
    decode_parser_config,
    find_trunks,
)
from onhook.pbx.asterisk.messages import MESSAGE_BYTES_MAX, AmiMessage, parse_messages
from onhook.pbx.asterisk.payload import Asterisk
from onhook.pbx.asterisk.queue_tracker import LIST_SECONDS
from onhook.pbx.asterisk.session import PENDING_ACTIONS_MAX, AmiCredentials
from onhook.pbx.asterisk.trunks import PENDING_QUERIES_MAX, describe_unknown_trunks
from onhook.pbx.connection import ClockReading, ConnectionUpdate
from tests.pbx.asterisk.ami_streams import PARSE_OPTIONS, stream

CALL = stream("inbound_direct")
CALL_ENDED_AT = 1795516911.0
"""Approximate end of that call."""

EVENT = b"Event: FullyBooted\r\n\r\n"
"""An event of no call."""

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


def test_connection_rejected_login_ends_as_refused() -> None:
    connection = AsteriskProtocol(AmiCredentials("onhook", "secret"), PARSE_OPTIONS, detect_trunks=False)
    rejection = b"Response: Error\r\nActionID: onhook-login\r\nMessage: Authentication failed\r\n\r\n"
    login = WELCOME.partition(b"Response: Success\r\nActionID: onhook-login")[0]
    assert connection.receive_data(login + rejection, clock_reading(0)) == ConnectionUpdate(
        end_reason="Authentication failed", is_refused=True
    )


def test_connection_without_permission_to_filter_is_ready_and_logs_setting() -> None:
    connection = AsteriskProtocol(AmiCredentials("onhook", "secret"), PARSE_OPTIONS, detect_trunks=False)
    denied = b"Response: Error\r\nActionID: onhook-filter"
    update = connection.receive_data(WELCOME.replace(denied.replace(b"Error", b"Success"), denied), clock_reading(0))
    assert update.is_ready
    assert "write = system" in update.log_messages[0]


def test_connection_login_that_does_not_finish_is_given_up_while_data_arrives() -> None:
    connection = AsteriskProtocol(AmiCredentials("onhook", "secret"), PARSE_OPTIONS, detect_trunks=False)
    connection.receive_data(b"Asterisk Call Manager/11.0.0\r\n", clock_reading(0))
    for seconds in range(1, int(LOGIN_SECONDS_MAX) + 1):
        connection.receive_data(EVENT, clock_reading(seconds))
        assert connection.on_tick(clock_reading(seconds)) == ConnectionUpdate()
    assert "login did not finish" in connection.on_tick(clock_reading(LOGIN_SECONDS_MAX + 1)).end_reason


def leave_pings_unanswered(connection: AsteriskProtocol, count: int) -> float:
    """Let a server that sends events and lists respond to none of this number of pings; return the time of the last
    event.
    """
    seconds = 0.0
    for number in (1, 2):  # the lists of queues and channels, requested with the login
        connection.receive_data(f"Response: Success\r\nActionID: onhook-{number}\r\n\r\n".encode(), clock_reading(0))
    for _ in range(count):
        seconds += PING_AFTER_SECONDS + 1
        assert connection.on_tick(clock_reading(seconds)) == ConnectionUpdate()
        connection.receive_data(EVENT, clock_reading(seconds))
        for action in sent_actions(connection):
            if action.get("Action") in ("QueueStatus", "CoreShowChannels"):
                connection.receive_data(respond(action), clock_reading(seconds))
    return seconds


def test_connection_with_unanswered_pings_ends_while_events_arrive() -> None:
    """The calls received until then are not lost."""
    connection = open_connection()
    seconds = leave_pings_unanswered(connection, PENDING_ACTIONS_MAX)
    connection.receive_data(CALL, clock_reading(seconds))
    update = connection.on_tick(clock_reading(seconds + PING_AFTER_SECONDS + 1))
    assert "actions have no response" in update.end_reason
    assert len(connection.connection_lost()) == 1


@pytest.mark.parametrize(("extra_pings", "has_ended"), [(0, False), (1, True)])
def test_connection_with_unanswered_pings_ends_if_endpoint_queries_exceed_limit(
    extra_pings: int, has_ended: bool
) -> None:
    connection = open_connection(detect_trunks=True)
    registrations, endpoints = sent_actions(connection)[-2:]
    seconds = leave_pings_unanswered(connection, PENDING_ACTIONS_MAX - PENDING_QUERIES_MAX + extra_pings)
    names = [f"EndpointList\r\nObjectName: trunk-{number}" for number in range(PENDING_QUERIES_MAX)]
    connection.receive_data(respond(endpoints, *names), clock_reading(seconds))
    update = connection.receive_data(respond(registrations), clock_reading(seconds))
    assert ("actions have no response" in update.end_reason) == has_ended


def test_connection_other_response_during_trunk_search_is_ignored() -> None:
    connection = open_connection(detect_trunks=True)
    sent_actions(connection)
    connection.on_tick(clock_reading(PING_AFTER_SECONDS + 1))
    (ping,) = sent_actions(connection)
    assert connection.receive_data(respond(ping), clock_reading(PING_AFTER_SECONDS + 2)) == ConnectionUpdate()


def test_connection_repeated_search_with_same_trunks_reports_no_config() -> None:
    connection = open_connection(detect_trunks=True)
    detected_configs = []
    for start in (0.0, TRUNK_SEARCH_SECONDS + 1):
        connection.receive_data(EVENT, clock_reading(start))
        connection.on_tick(clock_reading(start))
        registrations, endpoints = sent_actions(connection)[-2:]
        connection.receive_data(
            respond(registrations, "OutboundRegistrationDetail\r\nEndpoint: trunk-a"), clock_reading(start)
        )
        connection.receive_data(respond(endpoints, "EndpointList\r\nObjectName: trunk-a"), clock_reading(start))
        (query,) = sent_actions(connection)
        details = "EndpointDetail\r\nObjectName: trunk-a\r\nContext: from-trunk"
        detected_configs.append(connection.receive_data(respond(query, details), clock_reading(start)).detected_config)
    assert [bool(detected_config) for detected_config in detected_configs] == [True, False]


def test_connection_call_without_cdr_is_logged_once() -> None:
    connection = open_connection()
    event = "Event: CEL\r\nEventName: {}\r\nUniqueID: 1795516900.1\r\nLinkedID: 1795516900.1\r\n\r\n"
    for name in ("CHAN_START", "LINKEDID_END"):
        connection.receive_data(event.format(name).encode(), clock_reading(0))
    log_messages = []
    for seconds in (MISSING_CDR_SECONDS, MISSING_CDR_SECONDS + 1, MISSING_CDR_SECONDS + 2):
        connection.receive_data(EVENT, clock_reading(seconds))
        log_messages.append(connection.on_tick(clock_reading(seconds)).log_messages)
    assert log_messages == [(), ("calls ended without a CDR: 1",), ()]


@pytest.mark.parametrize(
    ("end_time", "offset_line"),
    [
        ("2026-11-24 10:41:51", b"Offset: 0\r\n"),
        ("2026-11-24 11:41:51", b"Offset: 3600\r\n"),
        ("2026-11-24 10:34:21", b""),
        ("unknown", b""),
        ("", b""),
    ],
)
def test_connection_offset_is_stored_if_end_time_shows_it(end_time: str, offset_line: bytes) -> None:
    """A CDR that arrives long after the end of its leg, or without a readable end, shows no offset."""
    connection = open_connection()
    cdr = f"Event: Cdr\r\nLinkedID: 1795516900.1\r\nStartTime: 2026-11-24 10:41:40\r\nEndTime: {end_time}\r\n\r\n"
    connection.receive_data(cdr.encode(), clock_reading(0))
    (body,) = connection.on_tick(clock_reading(QUIET_SECONDS)).raw_events
    assert body.partition(b"Event:")[0].partition(b"CEL: none\r\n")[2] == offset_line + b"\r\n"


def test_connection_shows_queues_from_before_it_and_follows_their_events() -> None:
    """The lists are requested with the login, and answered before the trunks."""
    connection = open_connection(detect_trunks=True)
    assert connection.queue_states(clock_reading(0)) is None
    queues, channels = sent_actions(connection)[-4:-2]
    connection.receive_data(
        respond(queues, "QueueParams\r\nQueue: 6400", "QueueEntry\r\nQueue: 6400\r\nUniqueid: 1.1\r\nWait: 5"),
        clock_reading(1),
    )
    connection.receive_data(respond(channels), clock_reading(1))
    (state,) = connection.queue_states(clock_reading(2)) or ()
    assert (state.queue, state.waiting, state.talking, state.longest_wait) == ("6400", 1, 0, 6)
    connection.receive_data(b"Event: Hangup\r\nUniqueid: 1.1\r\n\r\n", clock_reading(2))
    (state,) = connection.queue_states(clock_reading(2)) or ()
    assert (state.waiting, state.longest_wait) == (0, None)


def test_connection_without_permission_to_list_channels_still_returns_calls() -> None:
    connection = open_connection()
    queues, channels = sent_actions(connection)[-2:]
    assert connection.receive_data(respond(queues), clock_reading(1)) == ConnectionUpdate()
    update = connection.receive_data(respond(channels, error="Permission denied"), clock_reading(1))
    assert "write = system,reporting" in update.log_messages[0]
    assert connection.queue_states(clock_reading(1)) is None
    connection.receive_data(EVENT, clock_reading(1 + LIST_SECONDS))
    connection.on_tick(clock_reading(1 + LIST_SECONDS))
    assert "QueueStatus" in [action.get("Action") for action in sent_actions(connection)]


@pytest.mark.parametrize(
    ("configured", "detected", "trunks"),
    [
        (["carrier"], '{"trunks":["other"]}', ("carrier",)),
        ([], '{"trunks":["other"]}', ()),
        (None, '{"trunks":["other"]}', ("other",)),
        (None, "", None),
    ],
)
def test_find_trunks_configured_ones_come_before_detected_ones(
    configured: list[str] | None, detected: str, trunks: tuple[str, ...] | None
) -> None:
    assert find_trunks(configured, detected) == trunks


def test_unknown_trunks_are_described_with_a_command_that_a_shell_reads() -> None:
    warning, hint = describe_unknown_trunks("head office")
    assert warning.startswith("no trunk is known")
    assert hint.startswith("run `onhook pbx change 'head office' --trunks NAMES`")
