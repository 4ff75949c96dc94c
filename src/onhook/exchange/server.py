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

from onhook.clock import Clock
from onhook.errors import OnhookError, Unavailable
from onhook.exchange import downloads
from onhook.exchange.applications import Applications
from onhook.exchange.asked import Asked
from onhook.exchange.calls import Calls
from onhook.exchange.codes import (
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
from onhook.exchange.door import Door, make_room_for_connections
from onhook.exchange.login import check_not_blocked, with_owner
from onhook.exchange.logins import Failures
from onhook.exchange.rooms import Rooms
from onhook.exchange.routes import SUBSCRIBE, route_of
from onhook.exchange.sockets import Sockets
from onhook.exchange.tokens import Tokens
from onhook.exchange.trouble import NoTrouble, Spoilt, Trouble
from onhook.pbx.yeastar.payload import Yeastar

USER_AGENT = "OpenAPI"
"""What the PBX wants to be called with (PROTOCOL.md 6)."""

BODY_BYTES_MAX = 64 * 1024
"""The largest is a list of webhooks, of some kilobytes."""

LINE_BYTES_MAX = 8 * 1024
"""Of a path with its query."""

PARAMETERS_MAX = 50
"""Twice as many as any call knows."""

ANSWERS_MAX = 16
"""Made at once; more wait. Ten thousand rows are some 20 MB while they are made."""

ANSWER_SECONDS_MAX = 30.0
"""So long an answer may take to be made, waiting included; then it is `OVERLOAD_TASK_RUNNING`."""

STOP_SECONDS_MAX = 5.0
JSON_TYPE = "application/json"


class Exchange:
    """Answers requests; `opened` lets them in."""

    def __init__(
        self, *, calls: Calls, applications: Applications, clock: Clock, trouble: Trouble | None = None
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
            began_at=clock.microseconds(),
        )
        self._answers = asyncio.Semaphore(ANSWERS_MAX)
        self._log = logging.getLogger("exchange")
        self._door: Door | None = None

    @asynccontextmanager
    async def opened(
        self, listening: sockets_of_system.socket, tls: ssl.SSLContext | None
    ) -> AsyncIterator[tuple[asyncio.Task[None], ...]]:
        """Let requests in; yields the tasks that run until the end. Closed, it lets everybody go."""
        make_room_for_connections()
        server = web.Server(self.answer, access_log=None, max_line_size=LINE_BYTES_MAX, logger=self._log)
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
        body = await self._answered(request, spoilt)
        if spoilt.delay_seconds:
            await asyncio.sleep(spoilt.delay_seconds)
        return _closing(
            web.Response(body=body[: len(body) // 2] if spoilt.is_garbage else body, content_type=JSON_TYPE)
        )

    async def _answered(self, request: web.BaseRequest, spoilt: Spoilt) -> bytes:
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX), self._answers:
                answer = await self._made(request, spoilt)
        except Refused as error:
            answer = error.answer()
        except TimeoutError:
            answer = answer_of(OVERLOAD_TASK_RUNNING)
        except Unavailable as error:
            self._log.error("cannot answer now", extra={"path": request.path, "error": str(error)})
            answer = answer_of(INTERNAL_SERVER_ERROR)
        except OnhookError as error:
            answer = wrong_parameter(error.where or "parameters", error.what).answer()
        except ConnectionError:
            answer = answer_of(PARAMETER_SYNTAX_ERROR)
        except Exception:  # noqa: BLE001 - a fault of ours is told in the log, and not to a stranger
            self._log.exception("request failed", extra={"path": request.path})
            answer = answer_of(INTERNAL_SERVER_ERROR)
        return answer if isinstance(answer, bytes) else msgspec.json.encode(answer)

    async def _made(self, request: web.BaseRequest, spoilt: Spoilt) -> Answer | bytes:
        """The answer. Raises `Refused`; the order of the questions is the order of the refusals."""
        found = route_of(request.method, request.path)
        body = await _body_of(request)
        self._has_asked(request)
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
            return _closing(web.Response(status=400, text="this is a WebSocket"))
        try:
            asked = self._asked(request, "v1.0", b"", Spoilt())
            check_not_blocked(self.rooms, asked.address)
            asked = with_owner(self.rooms, asked)
            self.rooms.sockets.check_room(asked.owner.client_id)
        except Refused as error:
            return _closing(web.Response(body=msgspec.json.encode(error.answer()), content_type=JSON_TYPE))
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
        except Refused as error:
            return _closing(web.Response(body=msgspec.json.encode(error.answer()), content_type=JSON_TYPE))
        headers = {"Content-Disposition": f'attachment; filename="{ready.name}"'}
        return _closing(web.Response(body=ready.content, content_type="text/csv", charset="utf-8", headers=headers))

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
            if version != (version := self.rooms.applications.version()):
                self.rooms.tokens.end_those(
                    lambda grant: not _stands(self.rooms.applications, grant.client_id, grant.seal)
                )
            await asyncio.sleep(1.0)


def _stands(applications: Applications, client_id: str, seal: bytes) -> bool:
    found = applications.with_id(client_id)
    return found is not None and found[1] == seal


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


def _closing(response: web.Response) -> web.Response:
    """As the original does: every answer closes its connection."""
    response.force_close()
    return response
