"""A TCP proxy between two servers, which can be disconnected."""

import contextlib
import socket
import threading

from onhook.config import Address, parse_address

CHUNK_BYTES = 65_536


class TcpProxy:
    """Listens on a port of its own, and passes each connection on to the current address of the other end."""

    def __init__(self, target: str) -> None:
        self.target: Address = parse_address(target, "link")
        self.is_disconnected = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open_sockets: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}/"

    def disconnect(self) -> None:
        """Abort all open connections, and reject new ones."""
        self.is_disconnected = True
        for open_socket in list(self._open_sockets):
            with contextlib.suppress(OSError):
                open_socket.shutdown(socket.SHUT_RDWR)

    def reconnect(self) -> None:
        self.is_disconnected = False

    def close(self) -> None:
        self.disconnect()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client_socket, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._forward, args=(client_socket,), daemon=True).start()

    def _forward(self, client_socket: socket.socket) -> None:
        try:
            if self.is_disconnected:
                return
            target_socket = socket.create_connection((self.target.host, self.target.port), timeout=5)
        except OSError:
            return
        else:
            target_socket.settimeout(None)
            self._open_sockets |= {client_socket, target_socket}
            return_thread = threading.Thread(target=self._copy, args=(target_socket, client_socket), daemon=True)
            return_thread.start()
            self._copy(client_socket, target_socket)
            return_thread.join()
            target_socket.close()
        finally:
            client_socket.close()
            self._open_sockets -= {client_socket}

    def _copy(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(CHUNK_BYTES):
                target.sendall(chunk)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)
        self._open_sockets -= {source}
