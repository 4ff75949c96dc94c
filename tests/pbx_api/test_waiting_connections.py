"""Connections without a request, of which the oldest makes way."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from onhook.pbx_api.waiting_connections import GRACE_SECONDS, WaitingConnections

PROXY, CLIENT = "192.0.2.1", "198.51.100.1"


class Seconds:
    """Seconds that a test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def pairs() -> Iterator[list[tuple[socket.socket, socket.socket]]]:
    """Yield connected pairs: the end of the server, and that of the client."""
    with ExitStack() as stack:
        new_pairs = [socket.socketpair() for _ in range(3)]
        for connection in (each for pair in new_pairs for each in pair):
            connection.setblocking(False)
            stack.enter_context(connection)
        yield new_pairs


def is_ended(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False


def test_close_oldest_of_a_connection_whose_address_was_named_late_keeps_its_age(
    pairs: list[tuple[socket.socket, socket.socket]],
) -> None:
    """Behind a proxy; a younger one that had its address first is not closed, nor does it hide the older one."""
    monotonic = Seconds()
    waiting = WaitingConnections(monotonic)
    (old, old_client), (young, young_client), _ = pairs
    waiting.add(old, PROXY)
    monotonic.now += GRACE_SECONDS + 1
    waiting.add(young, CLIENT)
    waiting.add(old, CLIENT)
    assert waiting.close_oldest_of(CLIENT)
    assert (is_ended(old_client), is_ended(young_client)) == (True, False)
    assert not waiting.close_oldest_of(CLIENT)
    monotonic.now += GRACE_SECONDS + 1
    assert waiting.close_oldest_of(CLIENT)
    assert is_ended(young_client)


def test_close_oldest_closes_in_the_order_of_age(pairs: list[tuple[socket.socket, socket.socket]]) -> None:
    """A connection whose address changes keeps its place."""
    monotonic = Seconds()
    waiting = WaitingConnections(monotonic)
    for connection, _ in pairs:
        waiting.add(connection, PROXY)
        monotonic.now += 1
    waiting.add(pairs[0][0], CLIENT)
    monotonic.now += GRACE_SECONDS
    for _, client in pairs:
        assert waiting.close_oldest()
        assert is_ended(client)
        monotonic.now += 1
    assert not waiting.close_oldest()
