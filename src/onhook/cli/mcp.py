"""`onhook mcp`: calls for assistants, over standard input and output (Model Context Protocol)."""

import http.client
import ssl
import sys
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
import typer

from onhook.cli.commands import CommandGroup
from onhook.cli.mcp_session import McpSession
from onhook.cli.options import DataOption, load_config
from onhook.config import local_address, parse_address
from onhook.lib.errors import NotAllowed, OnhookError, Unavailable, UsageError
from onhook.lib.messages import _
from onhook.ops.instance_lock import read_server_info

app = CommandGroup(add_completion=False)

TIMEOUT_SECONDS = 60.0
"""As of the other commands: a report over years takes seconds."""

LINE_BYTES_MAX = 1024 * 1024
"""Of a message of the assistant."""

DOCUMENT_BYTES_MAX = 2 * 1024 * 1024
"""Of an answer: more than an assistant can read."""

TOKEN_BYTES_MAX = 4_096


@app.command(epilog="Example: onhook mcp --token-file assistant.token --url https://calls.example.com")
def mcp(
    *,
    token_file: Annotated[
        Path, typer.Option("--token-file", metavar="FILE", help=_("File with the token by which the assistant reads"))
    ],
    url: Annotated[
        str,
        typer.Option(
            "--url",
            metavar="URL",
            help=_("Address of the console. Default: the server of the data directory"),
            show_default=False,
        ),
    ] = "",
    data: DataOption = None,
) -> None:
    """Let an assistant read calls (Model Context Protocol). It reads what the token may read, over standard input and
    output, and can change nothing.
    """
    token = _read_token(token_file)
    api = ApiConnection(url or _find_server(data), token)
    # The token and the address are checked before an assistant relies on them.
    api.read("/api/v1/calls?limit=1")
    session = McpSession(api)
    while line := sys.stdin.buffer.readline(LINE_BYTES_MAX):
        if not line.strip():
            continue
        answer = session.handle_line(line)
        if answer is not None:
            sys.stdout.buffer.write(answer)
            sys.stdout.buffer.flush()


class ApiConnection:
    """The API at an address, with a token; a connection per request, since a server may be restarted between two."""

    def __init__(self, url: str, token: str) -> None:
        """Raises `UsageError` for an address that is none of a server."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError as error:
            raise _address_error(url) from error
        if not host or parts.scheme not in ("http", "https") or parts.path.strip("/") or parts.query or parts.username:
            raise _address_error(url)
        self._address = f"{parts.scheme}://{parts.netloc}"
        self._host, self._port, self._is_tls = host, port, parts.scheme == "https"
        self._headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}

    def read(self, target: str) -> bytes:
        """Return the document at path and query. Raises `OnhookError` with what the server answered."""
        connection = self._create_connection()
        try:
            connection.request("GET", target, headers=self._headers)
            with connection.getresponse() as response:
                document = response.read(DOCUMENT_BYTES_MAX + 1)
                status = response.status
        except (http.client.HTTPException, OSError) as error:
            raise Unavailable(
                _("the server does not answer ({name}: {error})", name=type(error).__name__, error=error),
                location=self._address,
            ) from error
        finally:
            connection.close()
        if status != http.client.OK:
            raise _problem_error(status, document, self._address)
        if len(document) > DOCUMENT_BYTES_MAX:
            raise UsageError(_("there is too much to read"), hint=_("use a lower limit, or a shorter period"))
        return document

    def _create_connection(self) -> http.client.HTTPConnection:
        if not self._is_tls:
            return http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_SECONDS)
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(self._host, self._port, timeout=TIMEOUT_SECONDS, context=context)


class _ProblemDocument(msgspec.Struct, frozen=True):
    """What is said of a problem document."""

    detail: str = ""
    hint: str = ""


def _address_error(url: str) -> UsageError:
    return UsageError(
        _("{url} is not the address of a console", url=repr(url[:80])),
        location="--url",
        hint=_("write one such as https://calls.example.com"),
    )


def _problem_error(status: int, document: bytes, address: str) -> OnhookError:
    """Return the error of an answer that has no data."""
    try:
        problem = msgspec.json.decode(document, type=_ProblemDocument)
    except msgspec.DecodeError:
        problem = _ProblemDocument()
    text = problem.detail or _("the server answered with status {status}", status=status)
    error_type = NotAllowed if status in (http.client.UNAUTHORIZED, http.client.FORBIDDEN) else OnhookError
    return error_type(text, location=address if not problem.detail else "", hint=problem.hint)


def _find_server(data: str | None) -> str:
    """Return the address of the running server. Raises `Unavailable`."""
    server = read_server_info(load_config(data=data))
    if server is None or server.hub is None:
        raise Unavailable(
            _("no server runs on this data directory"), hint=_("name the address of the console with --url")
        )
    return f"http://{local_address(parse_address(server.hub.address, 'running.json'))}"


def _read_token(path: Path) -> str:
    """Return the token in a file. Raises `UsageError`."""
    try:
        token = path.read_bytes()[:TOKEN_BYTES_MAX].decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            _("the token cannot be read: {error}", error=error),
            location="--token-file",
            hint=_("`onhook token add assistant --role reader` creates one"),
        ) from error
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise UsageError(
            _("there is no token in the file"),
            location=str(path),
            hint=_("`onhook token add assistant --role reader` creates one"),
        )
    return token
