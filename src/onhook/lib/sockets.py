"""Listening sockets and the limit of open files, for all servers of Onhook."""

import errno
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
