"""Signal from processes that write to an SQLite file to those that wait for its next change.

Each waiting process binds a datagram socket in a directory beside the file; each writing one sends a byte to all
sockets there after its commit. A signal is a hint that may be lost or come without a change: a waiting process reads
the file afterwards. Once a second it also compares size and time of the write-ahead log, for a writer that died between
its commit and its signal; all waits of a process do so at the same moment, so that it wakes up once.
"""

import asyncio
import errno
import os
import socket
import time
from contextlib import suppress
from pathlib import Path
from secrets import token_hex

from onhook.lib.paced_event import PacedEvent, wait_for_event
from onhook.lib.ticks import seconds_until_tick

CHANGED, SKIPPED = b"\0", b"\1"
"""The signals: a change to read, and one that nothing waits for."""

DIRECTORY_MODE = 0o700

LOOK_SECONDS = 1.0
"""Time between two looks at the file without a signal."""

WITHOUT_SIGNAL_SECONDS = 0.05
"""Longest wait where no socket can be bound: the file system has none."""

SETTLED_SECONDS = 1.0
"""A directory that was read so long after a change is not read again before the next one: two changes soon after one
another may have one time.
"""

LogState = tuple[int, int, int]
"""Number, size and time of change of the write-ahead log; zeros where there is none."""

_DISAPPEARED = frozenset({errno.ECONNREFUSED, errno.ENOENT})


class ChangeSignal:
    """The sockets beside one file, for one event loop.

    Wake-ups have at least `interval_seconds` between them; what comes earlier is one wake-up at the end of that time.
    """

    def __init__(self, path: Path, *, interval_seconds: float = 0.0) -> None:
        self._directory = path.with_name(path.name + "-waiters")
        self._log_path = path.with_name(path.name + "-wal")
        self._log_state: LogState | None = None
        self._directory_descriptor: int | None = None
        self._sender: socket.socket | None = None
        self._receiver: int | None = None
        self._receiver_name = ""
        self._can_receive = True
        self._is_closed = False
        self._change_count = 0
        self._changed_at = 0
        self._changed_before = self._listed_at = 0.0
        self._names: list[str] = []
        self._event = PacedEvent(interval_seconds=interval_seconds)

    def notify(self) -> None:
        """Wake all that wait, after a commit of this process. Never raises: they look without a signal too."""
        self._log_state = self._read_log_state()
        self._note_change()
        self._send_to_all(CHANGED)

    def skip(self) -> None:
        """Wake no task of any process for the last commit of this one, which none of them waits for."""
        self._log_state = self._read_log_state()
        self._send_to_all(SKIPPED)

    def count(self) -> int | None:
        """Return how many changes were noticed until now; two calls without a commit between them, other than skipped
        ones, return the same number. None where no signal can be received.
        """
        self.prepare()
        if self._receiver is None:
            return None
        self._receive()
        return self._change_count

    def prepare(self) -> asyncio.Event:
        """Return an event that is set by the next signal, bound from now on."""
        if self._receiver is None and self._can_receive and not self._is_closed:
            try:
                self._bind()
            except OSError:
                self._can_receive = False
        self._look()
        return self._event.current()

    async def wait(self, event: asyncio.Event, timeout_seconds: float) -> None:
        """Wait for the event that `prepare` returned, at most so long; without sockets at most a moment."""
        if not self._can_receive:
            await wait_for_event(event, min(timeout_seconds, WITHOUT_SIGNAL_SECONDS))
            return
        loop_time = asyncio.get_running_loop().time
        deadline = loop_time() + timeout_seconds
        while not event.is_set() and (remaining_seconds := deadline - loop_time()) > 0:
            await wait_for_event(event, min(remaining_seconds, seconds_until_tick(loop_time(), LOOK_SECONDS)))
            self._look()

    def close(self) -> None:
        """Remove the own socket, and wake all that wait. Commits in progress are still announced."""
        self._is_closed = True
        self._event.close()
        if self._receiver is not None:
            asyncio.get_running_loop().remove_reader(self._receiver)
            os.close(self._receiver)
            with suppress(OSError):
                os.unlink(self._receiver_name, dir_fd=self._directory_descriptor)
            self._receiver = None
        self._close_sender()

    def _close_sender(self) -> None:
        if self._sender is not None:
            self._sender.close()
        if self._directory_descriptor is not None:
            os.close(self._directory_descriptor)
        self._sender = self._directory_descriptor = None

    def _bind(self) -> None:
        self._directory.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
        receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        name = f"{os.getpid()}-{token_hex(4)}"
        try:
            receiver.bind(self._short_path(name))
        except OSError:
            receiver.close()
            raise
        self._receiver, self._receiver_name = receiver.detach(), name
        asyncio.get_running_loop().add_reader(self._receiver, self._receive)

    def _receive(self) -> None:
        assert self._receiver is not None, "its reader is removed before it is closed"
        has_signal = has_changed = False
        with suppress(BlockingIOError):
            while True:
                signal, has_signal = os.read(self._receiver, 1), True
                has_changed = has_changed or signal == CHANGED
        if has_changed:
            self._note_change()
        elif has_signal:
            self._log_state = self._read_log_state()

    def _look(self) -> None:
        """Wake all tasks where the file has changed since the last signal."""
        log_state = self._read_log_state()
        if log_state != self._log_state:
            self._log_state = log_state
            self._note_change()

    def _read_log_state(self) -> LogState:
        try:
            status = self._log_path.stat()
        except OSError:
            return (0, 0, 0)
        return status.st_ino, status.st_size, status.st_mtime_ns

    def _note_change(self) -> None:
        self._change_count += 1
        self._event.set()

    def _list_receivers(self) -> None:
        """Read the directory again where it has changed."""
        now, changed_at = time.monotonic(), self._directory.stat().st_mtime_ns
        if changed_at != self._changed_at:
            self._changed_at, self._changed_before = changed_at, now
        elif self._listed_at - self._changed_before > SETTLED_SECONDS:
            return
        self._names, self._listed_at = [path.name for path in self._directory.iterdir()], now

    def _send_to_all(self, signal: bytes) -> None:
        """Send a signal to all other processes that wait."""
        try:
            self._list_receivers()
        except OSError:
            return  # no process has waited yet
        for name in self._names:
            if name != self._receiver_name:
                self._send(name, signal)
        if self._is_closed:
            self._close_sender()

    def _send(self, name: str, signal: bytes) -> None:
        if self._sender is None:
            self._sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            self._sender.sendto(signal, self._short_path(name))
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
