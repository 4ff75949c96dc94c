"""The service manager that has started this process, such as systemd: what it passes, and what is reported to it.

The protocols are those of systemd's sd_notify(3), sd_watchdog_enabled(3) and sd_listen_fds(3).
"""

import logging
import socket
from collections.abc import Mapping

import msgspec

from onhook.lib.errors import UsageError
from onhook.lib.messages import _
from onhook.lib.transition_log import TransitionLog

SERVICE_VARIABLES = frozenset(
    {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID", "LISTEN_PIDFDID"}
)
"""Variables of the environment that are for the first process of a service alone."""

PASSED_FD_FIRST = 3
"""Descriptor of the first socket that is passed."""

DIGITS_MAX = 18
"""Of a number in a variable: microseconds of some thousand years."""


class ServiceManager(msgspec.Struct, frozen=True, kw_only=True):
    """What a service manager has passed; nothing where a person has started the process."""

    notify_socket: str = ""
    """Path of the socket that receives notifications; one that begins with `@` is abstract."""
    watchdog_seconds: float = 0.0
    """The manager kills the process after so long without `WATCHDOG=1`; 0: it does not."""
    listen_fd: int | None = None
    """Descriptor of the listening socket of the intake."""


def parse_service_manager(environ: Mapping[str, str], process_id: int) -> ServiceManager:
    """Return what the variables of the process with this id say. Raises `UsageError` for more than one socket.

    >>> parse_service_manager({"LISTEN_FDS": "1", "LISTEN_PID": "7"}, 7).listen_fd
    3
    >>> parse_service_manager({"LISTEN_FDS": "1", "LISTEN_PID": "6"}, 7).listen_fd  # of the parent process
    """
    socket_count = _parse_number(environ, "LISTEN_FDS") if _parse_number(environ, "LISTEN_PID") == process_id else 0
    if socket_count > 1:
        raise UsageError(
            _("the service manager has passed {count} sockets", count=socket_count),
            location="LISTEN_FDS",
            hint=_("configure a single one, that of the intake"),
        )
    is_watched = _parse_number(environ, "WATCHDOG_PID") in (0, process_id)
    return ServiceManager(
        notify_socket=environ.get("NOTIFY_SOCKET", ""),
        watchdog_seconds=_parse_number(environ, "WATCHDOG_USEC") / 1_000_000 if is_watched else 0.0,
        listen_fd=PASSED_FD_FIRST if socket_count else None,
    )


def _parse_number(environ: Mapping[str, str], name: str) -> int:
    """Return the number in a variable; 0 where there is none."""
    text = environ.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= DIGITS_MAX else 0


class ServiceNotifier:
    """Sends notifications to the service manager; does nothing without one."""

    def __init__(self, notify_socket: str) -> None:
        self._address = f"\0{notify_socket[1:]}" if notify_socket.startswith("@") else notify_socket
        self._errors = TransitionLog(
            logging.getLogger("serve"),
            begins="cannot notify the service manager",
            ends="the service manager is notified again",
        )

    def notify(self, *assignments: str) -> None:
        """Send assignments, such as `READY=1`, as one notification. An error is logged once: the manager acts on what
        it misses.
        """
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                # A manager that reads nothing must not stop the event loop.
                sender.setblocking(False)
                sender.connect(self._address)
                sender.send("\n".join(assignments).encode())
        except OSError as error:
            self._errors.begin(error=str(error))
        else:
            self._errors.end()
