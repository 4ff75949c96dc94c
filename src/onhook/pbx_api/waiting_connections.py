"""Connections whose request has not arrived: silent ones, unfinished handshakes, slow requests.

Invariants: an address has a share of them, which it can exceed only for a moment; a new connection then closes the
oldest one. So silent connections of an address keep no app out that has the same one, and those of all addresses
together keep no address out.
"""

import socket
from collections.abc import Callable
from contextlib import suppress

from onhook.lib.proxies import owner_network

WAITING_OF_ADDRESS_MAX = 256
"""Share of an address. An app whose sockets all connect again at once has more of them, for a moment."""

GRACE_SECONDS = 2.0
"""Age up to which no connection is closed for another one: a request arrives in the meantime."""


class WaitingConnections:
    """Connections by the network of their owner. `monotonic` returns seconds."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._added_at: dict[socket.socket, float] = {}  # the oldest first
        self._owner_by_connection: dict[socket.socket, str] = {}
        self._connections_by_owner: dict[str, dict[socket.socket, None]] = {}

    def add(self, connection: socket.socket, address: str) -> None:
        """Add a connection of an address, or change the address of one."""
        added_at = self._added_at.get(connection)
        if added_at is not None:
            self._remove_from_owner(connection)
        else:
            self._added_at[connection] = self._monotonic()
        owner = owner_network(address)
        self._owner_by_connection[connection] = owner
        self._connections_by_owner.setdefault(owner, {})[connection] = None

    def remove(self, connection: socket.socket) -> None:
        """Remove a connection whose request has arrived, or that has ended."""
        if self._added_at.pop(connection, None) is not None:
            self._remove_from_owner(connection)

    def is_over_share(self, address: str) -> bool:
        """Return whether an address has more than its share."""
        return len(self._connections_by_owner.get(owner_network(address), ())) > WAITING_OF_ADDRESS_MAX

    def close_oldest_of(self, address: str) -> bool:
        """Close the oldest connection of an address; return whether there was one beyond the grace time."""
        # Not in the order of their age: the owner of some became known late.
        connections = self._connections_by_owner.get(owner_network(address), {})
        return self._close(min(connections, key=self._added_at.__getitem__, default=None))

    def close_oldest(self) -> bool:
        """Close the oldest of all connections; return whether there was one beyond the grace time."""
        return self._close(next(iter(self._added_at), None))

    def _close(self, connection: socket.socket | None) -> bool:
        if connection is None or self._monotonic() - self._added_at[connection] <= GRACE_SECONDS:
            return False
        self.remove(connection)
        with suppress(OSError):
            # The task of the connection reads its end, in a handshake and in a header of a proxy too, and closes it.
            connection.shutdown(socket.SHUT_RDWR)
        return True

    def _remove_from_owner(self, connection: socket.socket) -> None:
        owner = self._owner_by_connection.pop(connection)
        del self._connections_by_owner[owner][connection]
        if not self._connections_by_owner[owner]:
            del self._connections_by_owner[owner]
