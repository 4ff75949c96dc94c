"""Trunks of an Asterisk with more endpoints than are queried at a time."""

import pytest

from onhook.pbx.asterisk import trunks as trunks_module
from onhook.pbx.asterisk.connection import decode_parser_config
from onhook.pbx.asterisk.trunks import PENDING_QUERIES_MAX
from tests.pbx.asterisk.test_connection import clock_reading, open_connection, respond, sent_actions

TRUNK_COUNT = 3 * PENDING_QUERIES_MAX + 7


def find_trunks(count: int) -> tuple[tuple[str, ...], list[int]]:
    """Answer all queries, the newest first; return the trunks, and how many queries had no response at each time."""
    connection = open_connection(detect_trunks=True)
    registrations, endpoints = sent_actions(connection)[-2:]
    names = [f"trunk-{number:04}" for number in range(count)]
    connection.receive_data(respond(registrations), clock_reading(1))
    list_events = [f"EndpointList\r\nObjectName: {name}\r\nOutboundAuths: provider" for name in names]
    connection.receive_data(respond(endpoints, *list_events), clock_reading(1))
    pending, pending_counts, detected_config = sent_actions(connection), [], ""
    while pending:
        pending_counts.append(len(pending))
        action = pending.pop()
        details = f"EndpointDetail\r\nObjectName: {action.get('Endpoint')}\r\nContext: from-outside"
        update = connection.receive_data(respond(action, details), clock_reading(2))
        detected_config = update.detected_config or detected_config
        pending += sent_actions(connection)
    return decode_parser_config(detected_config).trunks, pending_counts


def test_connection_detects_more_trunks_than_are_queried_at_a_time() -> None:
    """Each is found, and the PBX never has more queries to answer than the limit."""
    trunks, pending_counts = find_trunks(TRUNK_COUNT)
    assert trunks == tuple(f"trunk-{number:04}" for number in range(TRUNK_COUNT))
    assert len(pending_counts) == TRUNK_COUNT
    assert max(pending_counts) == PENDING_QUERIES_MAX


def test_connection_queries_no_more_endpoints_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trunks_module, "ENDPOINT_QUERIES_MAX", PENDING_QUERIES_MAX + 1)
    trunks, pending_counts = find_trunks(TRUNK_COUNT)
    assert len(trunks) == len(pending_counts) == PENDING_QUERIES_MAX + 1
