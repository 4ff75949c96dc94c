"""Reads a PBX's own list of calls over HTTP, by the steps of its client (`pbx.call_list`).

Invariants: responses are limited in bytes and time. Every certificate is verified, or pinned. No error has a query, a
password, a token or a cookie. One request at a time; memory holds one page, of a 3CX the report of a day.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, suppress
from datetime import tzinfo

import aiohttp
from aiohttp import ClientMiddlewareType, DigestAuthMiddleware

from onhook.cdr.sync_types import AlarmKind
from onhook.lib.clock import Clock
from onhook.lib.errors import OnhookError, Unavailable
from onhook.lib.messages import _
from onhook.pbx.call_list import CallListClient, CallListSettings, CallListSteps, ListReply, ListRequest, ListWait
from onhook.pbx.client import ListingPage, ListingResult, TimeWindow
from onhook.sync.pbx_session import (
    ALARM_KINDS,
    CONNECT_SECONDS_MAX,
    RESPONSE_SECONDS_MAX,
    ConnectionErrorKind,
    PbxEndpoint,
    ResponseTooLarge,
    classify_error,
    create_tls_trust,
    describe_connection_error,
    read_body,
)

CONNECTIONS_MAX = 1
"""A UCM has a small processor."""


class CallListReader:
    """See the contract, `sync.contract.PbxAccess`. `zone` is that of the PBX's clock, None where it is not set."""

    alarm_kinds: Sequence[AlarmKind] = ALARM_KINDS

    def __init__(
        self, *, client: CallListClient, endpoint: PbxEndpoint, clock: Clock, zone: tzinfo | None = None
    ) -> None:
        self.settle_seconds = client.settle_seconds
        self.host = endpoint.url.partition("://")[2]
        self.error_kind: ConnectionErrorKind = ""
        self._client = client
        self._endpoint = endpoint
        self._clock = clock
        self._zone = zone

    def now(self) -> float:
        """Return the Unix seconds."""
        return self._clock.microseconds() / 1_000_000

    async def read(self, window: TimeWindow) -> AsyncGenerator[ListingPage | ListingResult]:
        """Yield the pages of the calls that began in a window, and the result last. Raises `OnhookError`."""
        steps = self._client.list_calls(CallListSettings(login=self._endpoint.login, window=window, zone=self._zone))
        reply: ListReply | None = None
        async with self._open_session() as session:
            while True:
                step = await asyncio.to_thread(_next_step, steps, reply)
                reply = None
                if isinstance(step, ListRequest):
                    reply = await self._send(session, step)
                elif isinstance(step, ListWait):
                    await asyncio.sleep(step.seconds)
                else:
                    yield step
                    if isinstance(step, ListingResult):
                        return

    async def count_first_page(self, window: TimeWindow) -> int:
        """Return how many calls the first page of a window has. Raises `OnhookError`."""
        async with aclosing(self.read(window)) as steps:
            step = await anext(steps)
        return len(step.rows) if isinstance(step, ListingPage) else step.row_count

    def _open_session(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(limit=CONNECTIONS_MAX, ssl=create_tls_trust(self._endpoint.fingerprint))
        timeout = aiohttp.ClientTimeout(total=RESPONSE_SECONDS_MAX, sock_connect=CONNECT_SECONDS_MAX)
        return aiohttp.ClientSession(connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar())

    async def _send(self, session: aiohttp.ClientSession, request: ListRequest) -> ListReply:
        """Send a request. Raises `Unavailable` without a reply."""
        login = self._endpoint.login
        middlewares: Sequence[ClientMiddlewareType] = (
            (DigestAuthMiddleware(login.client_id, login.client_secret),) if request.is_digest else ()
        )
        try:
            async with session.request(
                request.method,
                self._endpoint.url + request.path,
                params=request.query,
                data=request.body or None,
                headers=request.headers,
                allow_redirects=False,
                middlewares=middlewares,
            ) as response:
                body = await read_body(response)
        except (aiohttp.ClientError, TimeoutError, OSError, ResponseTooLarge) as error:
            self.error_kind = classify_error(error)
            raise self._unavailable(describe_connection_error(error)) from error
        self.error_kind = ""
        return ListReply(status=response.status, body=body, retry_seconds=_read_retry_after(response.headers))

    def _unavailable(self, reason: str) -> OnhookError:
        return Unavailable(
            _("the PBX is unreachable: {reason}", reason=reason),
            location=self.host,
            hint=_("Onhook retries automatically"),
        )


def _next_step(steps: CallListSteps, reply: ListReply | None) -> ListRequest | ListWait | ListingPage | ListingResult:
    """Return the next step of reading the list, or its result."""
    try:
        return steps.send(reply)
    except StopIteration as end:
        result: ListingResult = end.value
        return result


def _read_retry_after(headers: Mapping[str, str]) -> float:
    """Return the seconds in `Retry-After`; 0 without them, and for a date."""
    with suppress(ValueError):
        return max(0.0, float(int(headers.get("Retry-After", ""))))
    return 0.0
