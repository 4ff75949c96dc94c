"""What the console serves while the store is being rebuilt: every page says how far it is (503 with `Retry-After`)."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, ClassVar

import msgspec

from onhook.console.auth.headers import HEADERS, NO_STORE
from onhook.console.pages.rendering import View, render
from onhook.console.problem_documents import PROBLEM_TYPE, Problem
from onhook.lib.errors import RETRY_AFTER_SECONDS
from onhook.lib.messages import _

AsgiApp = Callable[[Any, Any, Any], Awaitable[None]]


class RebuildProgress(msgspec.Struct):
    """The number of the last raw event processed, and that of the last one; `reason` says why the store is rebuilt,
    `failure` why that failed, until it is tried again.
    """

    reason: str
    position: int = 0
    last_seq: int = 0
    failure: str = ""

    @property
    def percent(self) -> int:
        """The share that is done."""
        return self.position * 100 // self.last_seq if self.last_seq else 0


class RebuildView(View, frozen=True, kw_only=True):
    """See `RebuildProgress`."""

    template: ClassVar[str] = "rebuild.html"

    progress: RebuildProgress
    refresh_seconds: int = RETRY_AFTER_SECONDS


def rebuild_app(progress: RebuildProgress) -> AsgiApp:
    """Return the ASGI application. `/healthz` answers as always: the process is alive."""

    async def app(scope: Any, _receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        if scope["path"] == "/healthz":
            await _send(send, HTTPStatus.OK, "text/plain", b"ok\n")
        elif _wants_html(scope):
            page = render(RebuildView(progress=progress)).encode()
            await _send(send, HTTPStatus.SERVICE_UNAVAILABLE, "text/html; charset=utf-8", page)
        else:
            body = msgspec.json.encode(_build_problem(progress))
            await _send(send, HTTPStatus.SERVICE_UNAVAILABLE, PROBLEM_TYPE, body)

    return app


def _build_problem(progress: RebuildProgress) -> Problem:
    return Problem(
        title=HTTPStatus.SERVICE_UNAVAILABLE.phrase,
        status=HTTPStatus.SERVICE_UNAVAILABLE,
        detail=_(
            "the calls are being rebuilt from the ledger: {position} of {last_seq} events are done",
            position=progress.position,
            last_seq=progress.last_seq,
        ),
        hint=progress.failure or _("wait: new events are received meanwhile"),
        lag=progress.last_seq - progress.position,
    )


def _wants_html(scope: Any) -> bool:
    accept = next((value for name, value in scope["headers"] if name.lower() == b"accept"), b"")
    return b"text/html" in accept and not scope["path"].startswith(("/api/", "/readyz", "/metrics"))


async def _send(send: Any, status: HTTPStatus, media_type: str, body: bytes) -> None:
    headers = [(b"content-type", media_type.encode()), (b"content-length", str(len(body)).encode()), *HEADERS, NO_STORE]
    if status is not HTTPStatus.OK:
        headers.append((b"retry-after", str(RETRY_AFTER_SECONDS).encode()))
    await send({"type": "http.response.start", "status": status.value, "headers": headers})
    await send({"type": "http.response.body", "body": body})
