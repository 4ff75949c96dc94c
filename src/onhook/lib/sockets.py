"""Listening sockets and the limit of open files, for all servers of Onhook."""

import errno
import os
import resource
import socket

from onhook.lib.errors import UsageError
from onhook.lib.messages import _


def listening_socket(host: str, port: int, *, backlog: int, option: str) -> socket.socket:
    """Return a non-blocking socket that listens; `[::]` includes IPv4.

    `option` is the command-line option that sets the address, for the error. Raises `UsageError`.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        server_socket = socket.create_server(
            (host, port), family=family, backlog=backlog, dualstack_ipv6=family == socket.AF_INET6 and host == "::"
        )
    except OSError as error:
        raise _listen_error(error, host, port, option) from error
    server_socket.setblocking(False)
    return server_socket


def passed_socket(descriptor: int) -> socket.socket:
    """Return a listening socket that a parent process has passed, non-blocking. The parent's own stays open.

    Raises `UsageError` where it is no listening TCP socket.
    """
    duplicate = None
    try:
        duplicate = os.dup(descriptor)
        server_socket = socket.socket(fileno=duplicate)
    except OSError as error:
        if duplicate is not None:
            os.close(duplicate)
        raise _passed_error(error.strerror or str(error)) from error
    is_listening = server_socket.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
    if server_socket.family not in (socket.AF_INET, socket.AF_INET6) or not is_listening:
        server_socket.close()
        raise _passed_error(_("it does not listen on TCP"))
    server_socket.setblocking(False)
    return server_socket


def _passed_error(reason: str) -> UsageError:
    return UsageError(
        _("cannot use the socket that the service manager has passed: {reason}", reason=reason),
        location="LISTEN_FDS",
        hint=_("configure it with ListenStream=ADDRESS:PORT and without Accept"),
    )


def _listen_error(error: OSError, host: str, port: int, option: str) -> UsageError:
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if error.errno == errno.EADDRINUSE:
        return UsageError(
            _("cannot listen on {address}: the port is in use", address=address),
            location=option,
            hint=_("stop the program that uses it, or choose another address with --{option}", option=option),
        )
    return UsageError(
        _("cannot listen on {address}: {error}", address=address, error=error.strerror or error),
        location=option,
        hint=_("choose another address with --{option}", option=option),
    )


def raise_open_files_limit(needed: int) -> int:
    """Raise this process's soft limit of open files to `needed`, as far as its hard limit allows; return the limit
    or `needed`, whichever is lower.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        new_soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (new_soft, hard))
        soft = new_soft
    return needed if soft == resource.RLIM_INFINITY else min(soft, needed)
