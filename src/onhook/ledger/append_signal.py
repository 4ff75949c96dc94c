"""Signal from processes that append to a ledger to those that wait for its next raw event.

Each waiting process binds a datagram socket in a directory beside the ledger; each appending one sends a byte to all
sockets there after its commit. A signal is a hint that may be lost or come without a raw event: who waits looks at the
ledger, and does so from time to time without a signal too.
"""

import asyncio
import errno
import os
import socket
import time
from contextlib import suppress
from pathlib import Path
from secrets import token_hex

DIRECTORY_MODE = 0o700

WITHOUT_SIGNAL_SECONDS = 0.05
"""Longest wait where no socket can be bound: the file system has none."""

SETTLED_SECONDS = 1.0
"""A directory that was read so long after a change is not read again before the next one: two changes soon after one
another may have one time.
"""

_DISAPPEARED = frozenset({errno.ECONNREFUSED, errno.ENOENT})


class AppendSignal:
    """The sockets beside one ledger, for one event loop."""

    def __init__(self, ledger_path: Path) -> None:
        self._directory = ledger_path.with_name(ledger_path.name + "-waiters")
        self._directory_descriptor: int | None = None
        self._sender: socket.socket | None = None
        self._receiver: socket.socket | None = None
        self._receiver_name = ""
        self._can_receive = True
        self._changed_at = 0
        self._changed_before = self._listed_at = 0.0
        self._names: list[str] = []
        self._event = asyncio.Event()

    def notify(self) -> None:
        """Wake all that wait. Never raises: they look without a signal too."""
        try:
            self._list_receivers()
        except OSError:
            return  # no process has waited yet
        for name in self._names:
            self._send(name)

    def prepare(self) -> asyncio.Event:
        """Return an event that is set by the next signal, bound from now on."""
        if self._receiver is None and self._can_receive:
            try:
                self._bind()
            except OSError:
                self._can_receive = False
        return self._event

    async def wait(self, event: asyncio.Event, timeout_seconds: float) -> None:
        """Wait for the event that `prepare` returned, at most so long; without sockets at most a moment."""
        if not self._can_receive:
            timeout_seconds = min(timeout_seconds, WITHOUT_SIGNAL_SECONDS)
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                await event.wait()

    def close(self) -> None:
        """Remove the own socket."""
        if self._receiver is not None:
            asyncio.get_running_loop().remove_reader(self._receiver)
            self._receiver.close()
            with suppress(OSError):
                os.unlink(self._receiver_name, dir_fd=self._directory_descriptor)
        if self._sender is not None:
            self._sender.close()
        if self._directory_descriptor is not None:
            os.close(self._directory_descriptor)
        self._receiver = self._sender = self._directory_descriptor = None

    def _bind(self) -> None:
        self._directory.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
        receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        name = f"{os.getpid()}-{token_hex(4)}"
        try:
            receiver.bind(self._short_path(name))
        except OSError:
            receiver.close()
            raise
        asyncio.get_running_loop().add_reader(receiver, self._receive)
        self._receiver, self._receiver_name = receiver, name

    def _receive(self) -> None:
        assert self._receiver is not None, "its reader is removed before it is closed"
        with suppress(BlockingIOError):
            while True:
                self._receiver.recv(1)
        # A task that prepares from now on waits for the next signal.
        event, self._event = self._event, asyncio.Event()
        event.set()

    def _list_receivers(self) -> None:
        """Read the directory again where it has changed."""
        now, changed_at = time.monotonic(), self._directory.stat().st_mtime_ns
        if changed_at != self._changed_at:
            self._changed_at, self._changed_before = changed_at, now
        elif self._listed_at - self._changed_before > SETTLED_SECONDS:
            return
        self._names, self._listed_at = [path.name for path in self._directory.iterdir()], now

    def _send(self, name: str) -> None:
        if self._sender is None:
            self._sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            self._sender.sendto(b"\0", self._short_path(name))
        except OSError as error:
            # A full queue has a signal already. A process that ended without a stop leaves its socket.
            if error.errno in _DISAPPEARED:
                with suppress(OSError):
                    (self._directory / name).unlink()

    def _short_path(self, name: str) -> str:
        """Return a path to a socket by the descriptor of its directory: the address of a socket has 107 bytes."""
        if self._directory_descriptor is None:
            self._directory_descriptor = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return f"/proc/self/fd/{self._directory_descriptor}/{name}"
