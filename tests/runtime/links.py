"""A line between two houses that can be cut: it passes bytes on, until somebody cuts it."""

import contextlib
import socket
import threading

from onhook.config import Address, parse_address

PIECE_BYTES = 65_536


class Link:
    """Listens on a port of its own, and passes each connection on to wherever the other end is just now."""

    def __init__(self, target: str) -> None:
        self.target: Address = parse_address(target, "link")
        self.is_cut = False
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listening.getsockname()[1]}/"

    def cut(self) -> None:
        """Break all that is open, in the middle of whatever it was, and refuse what comes."""
        self.is_cut = True
        for one in list(self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        self.is_cut = False

    def close(self) -> None:
        self.cut()
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._join, args=(near,), daemon=True).start()

    def _join(self, near: socket.socket) -> None:
        try:
            if self.is_cut:
                return
            far = socket.create_connection((self.target.host, self.target.port), timeout=5)
        except OSError:
            return
        else:
            far.settimeout(None)
            self._open |= {near, far}
            back = threading.Thread(target=self._pass, args=(far, near), daemon=True)
            back.start()
            self._pass(near, far)
            back.join()
            far.close()
        finally:
            near.close()
            self._open -= {near}

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(PIECE_BYTES):
                target.sendall(piece)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)
        self._open -= {source}
