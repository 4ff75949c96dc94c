"""Names of the telephones of an Asterisk."""

import pytest

from onhook.pbx.asterisk import names as names_module
from onhook.pbx.asterisk.connection import NAME_SEARCH_DELAY_SECONDS, NAME_SEARCH_SECONDS, AsteriskProtocol
from onhook.pbx.asterisk.messages import AmiMessage
from onhook.pbx.asterisk.session import PENDING_ACTIONS_MAX
from onhook.pbx.client import NumberName
from tests.pbx.asterisk.test_connection import clock_reading, open_connection, respond, sent_actions

FIRST = NAME_SEARCH_DELAY_SECONDS


def open_ready_connection(*, detect_trunks: bool = False) -> tuple[AsteriskProtocol, list[AmiMessage]]:
    """Return a connection that is logged in, and its queries of endpoints."""
    connection = open_connection(detect_trunks=detect_trunks)
    return connection, answer_others(connection, 0)


def tick(connection: AsteriskProtocol, seconds: float) -> list[AmiMessage]:
    """Return the queries of endpoints at a time."""
    connection.receive_data(b"Event: Other\r\n\r\n", clock_reading(seconds))
    queries: list[AmiMessage] = []
    for _ in range(2):
        connection.on_tick(clock_reading(seconds))
        queries += answer_others(connection, seconds)
    return queries


def answer_others(connection: AsteriskProtocol, seconds: float) -> list[AmiMessage]:
    """Answer what else is sent; return the queries of endpoints."""
    actions = [action for action in sent_actions(connection) if action.get("ActionID")[-1].isdigit()]
    queries = [action for action in actions if action.get("Action").startswith("PJSIP")]
    for action in actions:
        if action not in queries:
            connection.receive_data(respond(action), clock_reading(seconds))
    return queries


def endpoint_detail(name: str, caller_id: str) -> str:
    return f"EndpointDetail\r\nObjectName: {name}\r\nCallerid: {caller_id}"


def test_names_of_telephones_are_read_after_a_while_and_each_hour() -> None:
    """Trunks, and telephones without a caller id, have none."""
    connection, _queries = open_ready_connection()
    assert tick(connection, FIRST - 1) == []
    (endpoints,) = tick(connection, FIRST)
    assert endpoints.get("Action") == "PJSIPShowEndpoints"
    endpoint_events = [f"EndpointList\r\nObjectName: {name}" for name in ("1001", "1002", "1003", "trunk-a")]
    update = connection.receive_data(respond(endpoints, *endpoint_events), clock_reading(FIRST + 1))
    assert update.names is None
    queries = sent_actions(connection)
    assert [query.get("Endpoint") for query in queries] == ["1001", "1002", "1003"]
    details = ['"Alice Smith" <1001>', "<unknown>", "1003 <1003>"]
    updates = [
        connection.receive_data(
            respond(query, endpoint_detail(query.get("Endpoint"), detail), "AuthDetail\r\nObjectName: x"),
            clock_reading(FIRST + 2),
        )
        for query, detail in zip(queries, details, strict=True)
    ]
    assert [update.names for update in updates] == [
        None,
        None,
        (NumberName(number="1001", kind="extension", name="Alice Smith"),),
    ]
    assert tick(connection, FIRST + NAME_SEARCH_SECONDS - 1) == []
    assert len(tick(connection, FIRST + NAME_SEARCH_SECONDS)) == 1


def test_names_wait_for_the_trunks() -> None:
    connection, searches = open_ready_connection(detect_trunks=True)
    assert tick(connection, FIRST) == []
    for search in searches:
        connection.receive_data(respond(search), clock_reading(FIRST + 1))
    (endpoints,) = tick(connection, FIRST + 2)
    assert connection.receive_data(respond(endpoints), clock_reading(FIRST + 3)).names == ()


def test_names_without_permission_are_a_log_message() -> None:
    connection, _queries = open_ready_connection()
    (endpoints,) = tick(connection, FIRST)
    update = connection.receive_data(respond(endpoints, error="Permission denied"), clock_reading(FIRST + 1))
    assert update.names is None
    assert "write = system" in update.log_messages[0]


def test_names_query_no_more_telephones_than_the_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names_module, "ENDPOINT_QUERIES_MAX", 7)
    monkeypatch.setattr(names_module, "PENDING_QUERIES_MAX", 3)
    connection, _queries = open_ready_connection()
    (endpoints,) = tick(connection, FIRST)
    endpoint_events = [f"EndpointList\r\nObjectName: {1000 + number}" for number in range(9)]
    connection.receive_data(respond(endpoints, *endpoint_events), clock_reading(FIRST + 1))
    pending, counts, names = sent_actions(connection), [], None
    while pending:
        counts.append(len(pending))
        query = pending.pop()
        detail = endpoint_detail(query.get("Endpoint"), '"Alice" <1>')
        names = connection.receive_data(respond(query, detail), clock_reading(FIRST + 2)).names
        pending += sent_actions(connection)
    assert (len(counts), max(counts)) == (7, 3)
    assert names is not None
    assert len(names) == 7


def test_names_of_a_pbx_that_no_longer_responds_end_the_connection() -> None:
    connection, _queries = open_ready_connection()
    (endpoints,) = tick(connection, FIRST)
    for _ in range(PENDING_ACTIONS_MAX - 1):
        connection._session.send_action("Ping")
    endpoint_events = [f"EndpointList\r\nObjectName: {1000 + number}" for number in range(9)]
    update = connection.receive_data(respond(endpoints, *endpoint_events), clock_reading(FIRST + 1))
    assert "no response yet" in update.end_reason
