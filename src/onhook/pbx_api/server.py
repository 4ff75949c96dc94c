"""The exchange as a server: each request to its handler, each answer back, and the connection closed.

Laws: HTTP status 200 and `errcode`, whatever happens; only what is no request at all gets 400. No query is ever logged,
for it holds a token. Every answer is bounded in time, and only so many are made at once.
"""

import asyncio
import logging
import socket as sockets_of_system
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import parse_qsl

import msgspec
from aiohttp import web

from onhook.lib.clock import Clock
from onhook.lib.errors import OnhookError
from onhook.pbx.yeastar.payload import Yeastar
from onhook.pbx_api import downloads
from onhook.pbx_api.applications import Applications
from onhook.pbx_api.calls import Calls
from onhook.pbx_api.codes import (
    FILE_SIZE_EXCEEDED,
    INTERFACE_NOT_EXISTED,
    INTERNAL_SERVER_ERROR,
    OVERLOAD_TASK_RUNNING,
    PARAMETER_SYNTAX_ERROR,
    Answer,
    Refused,
    answer_of,
    wrong_parameter,
)
from onhook.pbx_api.connection_limiter import Door, make_room_for_connections
from onhook.pbx_api.fault_injection import NoTrouble, Spoilt, Trouble
from onhook.pbx_api.login import check_not_blocked, with_owner
from onhook.pbx_api.logins import Failures
from onhook.pbx_api.pushing import Webhooks
from onhook.pbx_api.request import Asked
from onhook.pbx_api.routes import SUBSCRIBE, route_of
from onhook.pbx_api.sockets import Sockets
from onhook.pbx_api.state import Rooms
from onhook.pbx_api.tokens import Grant, Tokens

USER_AGENT = "OpenAPI"
"""What the PBX wants to be called with (PROTOCOL.md 6)."""

BODY_BYTES_MAX = 32 * 1024
"""The largest is a list of five webhooks with long URLs, of some 15 KiB."""

LINE_BYTES_MAX = 8 * 1024
"""Of a path with its query."""

PARAMETERS_MAX = 50
"""Twice as many as any call knows."""

ANSWERS_MAX = 8
"""Made at once; more wait. Ten thousand rows are some 20 MB while they are made."""

WAITING_BYTES_MAX = 64 * 1024 * 1024
"""Of answers that are made and not yet taken, all together: a dozen of the largest."""

PIECE_BYTES = 64 * 1024
"""Written before it is seen whether the other side takes it."""

ANSWER_SECONDS_MAX = 30.0
"""So long an answer may take to be made, waiting included; then it is `OVERLOAD_TASK_RUNNING`."""

LOOK_SECONDS = 1.0
"""How soon a removed application's sockets end."""

STOP_SECONDS_MAX = 5.0
AS_JSON = {"Content-Type": "application/json"}
AS_CSV = {"Content-Type": "text/csv; charset=utf-8"}


class Exchange:
    """Answers requests; `opened` lets them in."""

    def __init__(
        self,
        *,
        calls: Calls,
        applications: Applications,
        clock: Clock,
        trouble: Trouble | None = None,
        webhooks: Webhooks | None = None,
    ) -> None:
        tokens = Tokens(clock)
        self.rooms = Rooms(
            calls=calls,
            applications=applications,
            clock=clock,
            trouble=trouble or NoTrouble(),
            tokens=tokens,
            failures=Failures(),
            sockets=Sockets(calls, clock, tokens, Yeastar()),
            downloads=downloads.Downloads(),
            webhooks=webhooks,
            began_at=clock.microseconds(),
        )
        self._answers = asyncio.Semaphore(ANSWERS_MAX)
        self._waiting_bytes = 0
        self._log = logging.getLogger("exchange")
        self._door: Door | None = None

    @asynccontextmanager
    async def opened(
        self, listening: sockets_of_system.socket, tls: ssl.SSLContext | None
    ) -> AsyncIterator[tuple[asyncio.Task[None], ...]]:
        """Let requests in; yields the tasks that run until the end. Closed, it lets everybody go."""
        make_room_for_connections()
        server = web.Server(
            self.answer,
            access_log=None,
            logger=self._log,
            max_line_size=LINE_BYTES_MAX,
            max_field_size=LINE_BYTES_MAX,
            read_bufsize=BODY_BYTES_MAX,
        )
        self._door = Door(server, tls)
        sockets = self.rooms.sockets
        tasks = (
            asyncio.create_task(self._door.let_in(listening), name="exchange door"),
            asyncio.create_task(sockets.tell_news(), name="exchange news"),
            asyncio.create_task(sockets.sweep(), name="exchange sweep"),
            asyncio.create_task(self._end_tokens(), name="exchange tokens"),
        )
        try:
            yield tasks
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await sockets.close()
            await server.shutdown(STOP_SECONDS_MAX)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        if request.path == SUBSCRIBE and request.method == "GET":
            return await self._subscribed(request)
        if request.path.startswith(downloads.PATH) and request.method == "GET":
            return await self._fetched(request)
        spoilt = self.rooms.trouble.answer()
        try:
            # Read before a place among the answers is taken: who sends slowly holds up nobody.
            body = await _body_of(request)
            self._has_asked(request)
            async with asyncio.timeout(ANSWER_SECONDS_MAX), self._answers:
                answer = await self._made(request, body, spoilt)
        except Exception as error:  # noqa: BLE001 - whatever it was, it is answered
            answer = self._told(request, error)
        written = answer if isinstance(answer, bytes) else msgspec.json.encode(answer)
        if spoilt.delay_seconds:
            await asyncio.sleep(spoilt.delay_seconds)
        return await self._taken(request, written[: len(written) // 2] if spoilt.is_garbage else written)

    def _told(self, request: web.BaseRequest, error: Exception) -> Answer:
        """An error as an answer. A fault of ours is told in the log, and not to a stranger."""
        if isinstance(error, Refused):
            return error.answer()
        if isinstance(error, TimeoutError):
            return answer_of(OVERLOAD_TASK_RUNNING)
        if isinstance(error, ConnectionError):
            return answer_of(PARAMETER_SYNTAX_ERROR)
        if isinstance(error, OnhookError) and error.permanent:
            return wrong_parameter(error.where or "parameters", error.what).answer()
        self._log.error("cannot answer", exc_info=error, extra={"path": request.path})
        return answer_of(INTERNAL_SERVER_ERROR)

    async def _taken(
        self, request: web.BaseRequest, body: bytes, headers: Mapping[str, str] = AS_JSON
    ) -> web.StreamResponse:
        """The answer, written as fast as it is taken; so many bytes may wait for all who take them."""
        if self._waiting_bytes + len(body) > WAITING_BYTES_MAX:
            body, headers = msgspec.json.encode(answer_of(OVERLOAD_TASK_RUNNING)), AS_JSON
        response = web.StreamResponse(headers={**headers, "Content-Length": str(len(body))})
        # As the original does: every answer closes its connection.
        response.force_close()
        self._waiting_bytes += len(body)
        try:
            await response.prepare(request)
            for begin in range(0, len(body), PIECE_BYTES):
                await response.write(body[begin : begin + PIECE_BYTES])
            await response.write_eof()
        finally:
            self._waiting_bytes -= len(body)
        return response

    async def _made(self, request: web.BaseRequest, body: bytes, spoilt: Spoilt) -> Answer | bytes:
        """The answer. Raises `Refused`; the order of the questions is the order of the refusals."""
        found = route_of(request.method, request.path)
        if found is None:
            raise Refused(INTERFACE_NOT_EXISTED)
        version, route = found
        asked = self._asked(request, version, body, spoilt)
        check_not_blocked(self.rooms, asked.address)
        if not request.headers.get("User-Agent", "").startswith(USER_AGENT):
            raise wrong_parameter("User-Agent", f"{USER_AGENT} is expected")
        if route.needs_token:
            asked = with_owner(self.rooms, asked)
            if version not in asked.owner.manner.versions:
                raise Refused(INTERFACE_NOT_EXISTED)
        return await route.handler(self.rooms, asked)

    async def _subscribed(self, request: web.BaseRequest) -> web.StreamResponse:
        """A socket; a token that does not count is refused before there is one, with 10004 as its answer."""
        if not web.WebSocketResponse().can_prepare(request):
            return web.Response(status=400, text="this is a WebSocket", headers={"Connection": "close"})
        try:
            asked = self._asked(request, "v1.0", b"", Spoilt())
            check_not_blocked(self.rooms, asked.address)
            asked = with_owner(self.rooms, asked)
            self.rooms.sockets.check_room(asked.owner.client_id)
        except OnhookError as error:
            return await self._taken(request, msgspec.json.encode(self._told(request, error)))
        if self._door is not None and request.transport is not None:
            self._door.stay(request.transport)
        assert asked.grant is not None
        return await self.rooms.sockets.serve(request, asked.owner, asked.grant, self.rooms.trouble.silent_after())

    async def _fetched(self, request: web.BaseRequest) -> web.StreamResponse:
        """A file that was made ready; a browser may fetch it, so nobody asks for its name."""
        self._has_asked(request)
        try:
            asked = self._asked(request, "v1.0", b"", Spoilt())
            check_not_blocked(self.rooms, asked.address)
            owner = with_owner(self.rooms, asked).owner
            name = request.path.removeprefix(downloads.PATH)
            ready = self.rooms.downloads.get(name, owner.client_id, self.rooms.clock.microseconds())
            if ready is None:
                raise Refused(INTERFACE_NOT_EXISTED)
        except OnhookError as error:
            return await self._taken(request, msgspec.json.encode(self._told(request, error)))
        disposition = f'attachment; filename="{ready.name}"'
        return await self._taken(request, ready.content, AS_CSV | {"Content-Disposition": disposition})

    def _asked(self, request: web.BaseRequest, version: str, body: bytes, spoilt: Spoilt) -> Asked:
        return Asked(
            version=version,
            parameters=_parameters_of(request),
            body=body,
            address=request.remote or "",
            at=self.rooms.clock.now(),
            spoilt=spoilt,
        )

    def _has_asked(self, request: web.BaseRequest) -> None:
        if self._door is not None and request.transport is not None:
            self._door.asked(request.transport)

    async def _end_tokens(self) -> None:
        """Tokens of an application that is gone, or has another secret, end when somebody changed that."""
        version = None
        while True:
            try:
                if version != (version := self.rooms.applications.version()):
                    self.rooms.tokens.end_those(lambda grant: not _stands(self.rooms.applications, grant))
            except OnhookError as error:
                self._log.error("cannot see who may come", extra={"error": str(error)})
                version = None
            await asyncio.sleep(LOOK_SECONDS)


def _stands(applications: Applications, grant: Grant) -> bool:
    """Whether the application is still there, and its secret still the one that the token was made with."""
    found = applications.with_id(grant.client_id)
    return found is not None and found[1] == grant.seal


def _parameters_of(request: web.BaseRequest) -> Mapping[str, str]:
    """The query's parameters; of one that is there twice the last counts. Raises `Refused`."""
    try:
        return dict(parse_qsl(request.rel_url.raw_query_string, keep_blank_values=True, max_num_fields=PARAMETERS_MAX))
    except ValueError:
        raise Refused(PARAMETER_SYNTAX_ERROR) from None


async def _body_of(request: web.BaseRequest) -> bytes:
    """The whole body. Raises `Refused` for one that is too large; the rest of it is not read."""
    body = b""
    while piece := await request.content.readany():
        body += piece
        if len(body) > BODY_BYTES_MAX:
            raise Refused(FILE_SIZE_EXCEEDED)
    return body
