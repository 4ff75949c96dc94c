"""Server of the PBX API: dispatches each request, sends its response and closes the connection.

Invariants: the HTTP status is 200 and `errcode` is the result, whatever happens; only invalid HTTP is answered 400. No
query is logged, because it contains a token. Every response is limited in time, and so is the number of concurrent
responses.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qsl

import msgspec
from aiohttp import web

from onhook.appdb.app_tokens import TokenGrant
from onhook.appdb.origin import Origin, set_origin
from onhook.lib.errors import OnhookError, Unavailable
from onhook.lib.task_reconciler import raise_if_cancelled
from onhook.pbx_api import downloads
from onhook.pbx_api.codes import (
    API_UNAVAILABLE,
    FILE_SIZE_EXCEEDED,
    INTERFACE_NOT_EXISTED,
    INTERNAL_SERVER_ERROR,
    OVERLOAD_TASK_RUNNING,
    PARAMETER_SYNTAX_ERROR,
    ApiRequestError,
    ApiResponse,
    parameter_error,
    response_with_code,
)
from onhook.pbx_api.connection_limiter import ConnectionLimiter
from onhook.pbx_api.downloads import open_local_file
from onhook.pbx_api.http_server import INVALID_HTTP, PbxApiHttpServer
from onhook.pbx_api.login import authenticate
from onhook.pbx_api.pass_through import RemoteFile
from onhook.pbx_api.request import ApiRequest
from onhook.pbx_api.responses import SocketResponse, StreamResponse, TextResponse
from onhook.pbx_api.routes import SUBSCRIBE_PATH, find_route, normalize_path
from onhook.pbx_api.state import ApiState

BODY_BYTES_MAX = 32 * 1024
"""Largest body: a list of five webhooks with long URLs has some 15 KiB."""

LINE_BYTES_MAX = 8 * 1024
"""Characters of a path with its query."""

PARAMETERS_MAX = 50
"""Parameters of a query: twice as many as any route has."""

CONCURRENT_RESPONSES_MAX = 8
"""Responses computed concurrently; further ones wait. Ten thousand rows take some 20 MB while they are encoded."""

UNSENT_BYTES_MAX = 64 * 1024 * 1024
"""Unread bytes of all responses together: a dozen of the largest."""

CHUNK_BYTES = 64 * 1024
"""Bytes written before waiting for the client to read."""

HANDLER_SECONDS_MAX = 30.0
"""Time to compute a response, including the wait for a slot; after that the response is `OVERLOAD_TASK_RUNNING`."""

TOKEN_CHECK_SECONDS = 0.3
"""Interval of the checks for removed and changed apps: a second later their sockets are closed, with the checks of the
sockets themselves.
"""

RECORDINGS_MAX = 8
"""Recordings sent at a time; each holds a file, or a connection to a PBX."""

RECORDING_SECONDS_MAX = 900.0
"""Time to read a recording: an hour of audio has some 60 MB."""

STOP_SECONDS_MAX = 5.0
JSON_HEADERS = {"Content-Type": "application/json"}
AUDIO_HEADERS = {"Content-Type": "application/octet-stream"}
CSV_HEADERS = {"Content-Type": "text/csv; charset=utf-8"}


class PbxApiServer:
    """Answers requests; `serve` accepts them."""

    def __init__(self, state: ApiState) -> None:
        self.state = state
        self._response_slots = asyncio.Semaphore(CONCURRENT_RESPONSES_MAX)
        self._unsent_bytes = 0
        self._recordings = 0
        self._log = logging.getLogger("pbx_api")
        self._connection_limiter: ConnectionLimiter | None = None

    @asynccontextmanager
    async def serve(
        self, server_socket: socket.socket, tls: ssl.SSLContext | None
    ) -> AsyncIterator[tuple[asyncio.Task[None], ...]]:
        """Accept requests; yield the tasks that run meanwhile. At the end all connections are closed."""
        server = PbxApiHttpServer(
            self.handle,
            access_log=None,
            logger=self._log,
            max_line_size=LINE_BYTES_MAX,
            max_field_size=LINE_BYTES_MAX,
            read_bufsize=BODY_BYTES_MAX,
        )
        self._connection_limiter = ConnectionLimiter(server, tls, self.state.trusted_proxies)
        sockets = self.state.sockets
        tasks = (
            asyncio.create_task(self._connection_limiter.accept_connections(server_socket), name="pbx_api accept"),
            asyncio.create_task(sockets.send_new_records(), name="pbx_api new records"),
            asyncio.create_task(sockets.close_expired(), name="pbx_api close expired sockets"),
            asyncio.create_task(self._drop_stale_tokens(), name="pbx_api drop tokens"),
        )
        try:
            yield tasks
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await sockets.close()
            await server.shutdown(STOP_SECONDS_MAX)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        path = normalize_path(request.path)
        if path == SUBSCRIBE_PATH and request.method == "GET":
            return await self._handle_subscribe(request)
        if path.startswith(downloads.PATH) and request.method == "GET":
            return await self._handle_download(request, path.removeprefix(downloads.PATH))
        return await self._send(request, await self.compute_response(request, self.state))

    async def compute_response(self, request: web.BaseRequest, state: ApiState) -> bytes:
        """Return the encoded response to one request; an error has a response too."""
        try:
            # Read the body before taking a slot, so that a slow client delays no other.
            body = await _read_body(request)
            self._note_request_received(request)
            async with asyncio.timeout(HANDLER_SECONDS_MAX), self._response_slots:
                response = await self._dispatch(request, body, state)
        except Exception as error:  # noqa: BLE001 - any error is answered
            response = self._error_response(request, error)
        return response if isinstance(response, bytes) else msgspec.json.encode(response)

    def _error_response(self, request: web.BaseRequest, error: Exception) -> ApiResponse:
        """Return the response for an error. An internal error is logged, without details for the client."""
        if isinstance(error, ApiRequestError):
            return error.response()
        if isinstance(error, TimeoutError):
            return response_with_code(OVERLOAD_TASK_RUNNING)
        if isinstance(error, ConnectionError):
            return response_with_code(PARAMETER_SYNTAX_ERROR)
        if isinstance(error, OnhookError) and error.permanent:
            return parameter_error(error.location or "parameters", error.message).response()
        if isinstance(error, Unavailable):
            self._log.error("request cannot be answered now", extra={"path": request.path, "error": str(error)})
            return response_with_code(OVERLOAD_TASK_RUNNING)
        self._log.error("request failed", exc_info=error, extra={"path": request.path})
        return response_with_code(INTERNAL_SERVER_ERROR)

    async def _send(
        self,
        request: web.BaseRequest,
        body: bytes,
        headers: Mapping[str, str] = JSON_HEADERS,
        *,
        grant: TokenGrant | None = None,
    ) -> web.StreamResponse:
        """Send the response as fast as the client reads; the total of unread bytes of all clients is limited. A file
        ends early when its token is revoked.
        """
        if self._unsent_bytes + len(body) > UNSENT_BYTES_MAX:
            body, headers = msgspec.json.encode(response_with_code(OVERLOAD_TASK_RUNNING)), JSON_HEADERS
        response = StreamResponse(headers={**headers, "Content-Length": str(len(body))})
        # The original closes the connection after every response.
        response.force_close()
        self._unsent_bytes += len(body)
        try:
            await response.prepare(request)
            for offset in range(0, len(body), CHUNK_BYTES):
                if grant is not None and not self.state.tokens.is_valid(grant) and request.transport is not None:
                    request.transport.abort()
                    return response
                await response.write(body[offset : offset + CHUNK_BYTES])
            await response.write_eof()
        finally:
            self._unsent_bytes -= len(body)
        return response

    async def _dispatch(self, request: web.BaseRequest, body: bytes, state: ApiState) -> ApiResponse | bytes:
        """Return the response. The order of the checks is that of the original's errors. Raises `ApiRequestError`."""
        match = find_route(request.method, normalize_path(request.path))
        if match is None:
            raise ApiRequestError(INTERFACE_NOT_EXISTED)
        version, route = match
        api_request = self._build_request(request, version, body)
        if not request.headers.get("User-Agent", "").strip():
            raise parameter_error("User-Agent", "is required; any value will do")
        if route.needs_token:
            api_request = await authenticate(state, api_request)
            set_origin(
                Origin(actor=api_request.owner.name, credential="app", address=api_request.address, way="pbx-api")
            )
            if version not in api_request.owner.behaviour.versions:
                raise ApiRequestError(INTERFACE_NOT_EXISTED)
        return await route.handler(state, api_request)

    async def _handle_subscribe(self, request: web.BaseRequest) -> web.StreamResponse:
        """Serve a socket; an invalid token is rejected before the handshake, with 10004."""
        if not SocketResponse().can_prepare(request):
            return TextResponse(status=400, text="this is a WebSocket", headers={"Connection": "close"})
        try:
            api_request = await self._authenticate(request)
            self.state.sockets.check_capacity(api_request.owner.client_id)
        except OnhookError as error:
            return await self._send(request, msgspec.json.encode(self._error_response(request, error)))
        if self._connection_limiter is not None and request.transport is not None:
            self._connection_limiter.socket_opened(request.transport)
        assert api_request.grant is not None
        return await self.state.sockets.serve(request, api_request)

    async def _handle_download(self, request: web.BaseRequest, name: str) -> web.StreamResponse:
        """Return the prepared file of this name. A browser may fetch it, so the User-Agent is not checked."""
        self._note_request_received(request)
        try:
            api_request = await self._authenticate(request)
            file = self.state.downloads.get(name, api_request.owner, self.state.clock.microseconds())
            if file is None:
                raise ApiRequestError(INTERFACE_NOT_EXISTED)
        except OnhookError as error:
            return await self._send(request, msgspec.json.encode(self._error_response(request, error)))
        assert api_request.grant is not None
        headers = {"Content-Disposition": f'attachment; filename="{file.name}"'}
        if isinstance(file.content, bytes):
            return await self._send(request, file.content, CSV_HEADERS | headers, grant=api_request.grant)
        return await self._send_recording(request, file.content, AUDIO_HEADERS | headers, api_request.grant)

    async def _send_recording(
        self, request: web.BaseRequest, file: Path | RemoteFile, headers: Mapping[str, str], grant: TokenGrant
    ) -> web.StreamResponse:
        """Send a recording as fast as the client reads; it ends early when its token is revoked."""
        if self._recordings >= RECORDINGS_MAX:
            return await self._send(request, msgspec.json.encode(response_with_code(OVERLOAD_TASK_RUNNING)))
        if self._connection_limiter is not None and request.transport is not None:
            self._connection_limiter.set_timeout(request.transport, RECORDING_SECONDS_MAX)
        response = StreamResponse(headers=headers)
        response.force_close()
        self._recordings += 1
        try:
            async with self._open_recording(file) as chunks:
                await response.prepare(request)
                async for chunk in chunks:
                    if not self.state.tokens.is_valid(grant):
                        break
                    await response.write(chunk)
                else:
                    await response.write_eof()
                    return response
        except (OnhookError, OSError) as error:
            self._log.warning("recording cannot be read", extra={"error": str(error)})
            if not response.prepared:
                return await self._send(request, msgspec.json.encode(response_with_code(API_UNAVAILABLE)))
        finally:
            self._recordings -= 1
        # A part must not pass for the whole: the connection ends without the end of the body.
        if request.transport is not None:
            request.transport.abort()
        return response

    def _open_recording(self, file: Path | RemoteFile) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        return self.state.pass_through.open_file(file) if isinstance(file, RemoteFile) else open_local_file(file)

    async def _authenticate(self, request: web.BaseRequest) -> ApiRequest:
        """Return a request for a socket or a file, with the app of its token. Raises `ApiRequestError`."""
        return await authenticate(self.state, self._build_request(request, "v1.0", b""))

    def _build_request(self, request: web.BaseRequest, version: str, body: bytes) -> ApiRequest:
        return ApiRequest(
            version=version,
            parameters=_parse_parameters(request),
            body=body,
            address=self._client_address(request),
            received_at=self.state.clock.now(),
        )

    def _client_address(self, request: web.BaseRequest) -> str:
        """Return the address of the client; behind a trusted proxy the one that it names."""
        limiter = self._connection_limiter
        peer = (limiter.client_address(request.transport) if limiter is not None else "") or request.remote or ""
        return self.state.trusted_proxies.client_address(
            peer,
            forwarded=request.headers.getall("Forwarded", []),
            x_forwarded_for=request.headers.getall("X-Forwarded-For", []),
        )

    def _note_request_received(self, request: web.BaseRequest) -> None:
        if self._connection_limiter is not None and request.transport is not None:
            self._connection_limiter.request_received(request.transport)

    async def _drop_stale_tokens(self) -> None:
        """Drop tokens that were revoked elsewhere, or with their app or its secret, when the database changes."""
        version = None
        while True:
            try:
                if version != (version := await self.state.apps.version()):
                    await self.state.tokens.drop_revoked()
                    await self.state.sockets.apply_apps(self.state.apps)
            except OnhookError as error:
                self._log.error("cannot read apps", extra={"error": str(error)})
                version = None
            raise_if_cancelled()
            await asyncio.sleep(TOKEN_CHECK_SECONDS)


def _parse_parameters(request: web.BaseRequest) -> Mapping[str, str]:
    """Return the parameters of the query; the last one of repeated names counts. Raises `ApiRequestError`."""
    try:
        return dict(parse_qsl(request.rel_url.raw_query_string, keep_blank_values=True, max_num_fields=PARAMETERS_MAX))
    except ValueError:
        raise ApiRequestError(PARAMETER_SYNTAX_ERROR) from None


async def _read_body(request: web.BaseRequest) -> bytes:
    """Return the whole body. Raises `ApiRequestError` for one that is too large, whose rest is not read, and for one
    that is not encoded as its headers say.
    """
    body = b""
    try:
        while chunk := await request.content.readany():
            body += chunk
            if len(body) > BODY_BYTES_MAX:
                raise ApiRequestError(FILE_SIZE_EXCEEDED)
    except INVALID_HTTP:
        raise ApiRequestError(PARAMETER_SYNTAX_ERROR) from None
    return body
