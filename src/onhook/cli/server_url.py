"""The server that a command reads over the network: `--url` and `--token-file` before the command."""

import http.client
import ssl
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from onhook.appdb.tokens import read_token_file
from onhook.lib.errors import UsageError
from onhook.lib.messages import _

COMMANDS = frozenset({"calls", "records", "export", "sql", "quarantine"})
"""The commands that a server answers; all others work on the data directory of this machine."""

Connect = Callable[[float], http.client.HTTPConnection]
"""Returns a connection with this time-out, in seconds."""


class ServerUrl(msgspec.Struct, frozen=True, kw_only=True):
    """The address of a console, and a token."""

    url: str
    token: str

    def connect(self, timeout_seconds: float) -> http.client.HTTPConnection:
        """Return a connection. The certificate is verified."""
        parts = urlsplit(self.url)
        if parts.scheme == "http":
            return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout_seconds)
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(parts.hostname or "", parts.port, timeout=timeout_seconds, context=context)


_SERVER: ContextVar[ServerUrl | None] = ContextVar("server", default=None)


def set_server(url: str, token_file: Path | None, command: str) -> None:
    """Have this command read a server. Raises `UsageError`."""
    if command not in COMMANDS:
        raise UsageError(
            _("a server answers only the commands {names}", names=", ".join(sorted(COMMANDS))),
            location="--url",
            hint=_("run the others on a machine of the installation"),
        )
    token = read_token_file(token_file) if token_file is not None else ""
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise UsageError(
            _("there is no token in the file"),
            location="--token-file",
            hint=_("`onhook token add NAME` creates one on a machine of the installation"),
        )
    _SERVER.set(ServerUrl(url=_parse_url(url), token=token))


def get_server() -> ServerUrl | None:
    """Return the server that this command reads; None where it reads the data directory."""
    return _SERVER.get()


def _parse_url(text: str) -> str:
    """Return `https://HOST:PORT`. Raises `UsageError`."""
    try:
        parts = urlsplit(text)
        is_valid = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError as error:
        raise _address_error(text) from error
    if not is_valid or parts.scheme not in ("http", "https") or parts.path.strip("/") or parts.query or parts.username:
        raise _address_error(text)
    return f"{parts.scheme}://{parts.netloc}"


def _address_error(text: str) -> UsageError:
    return UsageError(
        _("{url} is not the address of a console", url=repr(text[:80])),
        location="--url",
        hint=_("write https://calls.example.com"),
    )
