"""Session with a PBX's web API: requests with a shared token, over a verified connection.

Invariants: one task at a time requests a token, also among processes, and the state of the tokens is stored before and
after. Responses are limited in bytes and time. Every certificate is verified: by the system's certificate authorities,
or by its fingerprint alone if one is pinned. No error contains a token, a secret or a query.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from types import TracebackType
from typing import Literal, Protocol, Self
from zoneinfo import ZoneInfo

import aiohttp
import msgspec

from onhook.cdr.sync_types import AlarmKind
from onhook.lib.clock import Clock
from onhook.lib.errors import NotAllowed, OnhookError, Unavailable
from onhook.lib.messages import _
from onhook.pbx.client import ApiErrorKind, ClientCredentials, PbxClient, PbxRequest, PbxResponse, TokenStep
from onhook.sync.alarms import NextAttemptLater

RESPONSE_BYTES_MAX = 32 * 1024 * 1024
"""A page of 10,000 rows has some 7 MB."""

CONNECT_SECONDS_MAX = 10.0
RESPONSE_SECONDS_MAX = 60.0
"""A PBX needs seconds for a large page; the request is repeated after this time."""

PUSH_BYTES_MAX = 1024 * 1024
"""Bytes of one frame; an event has some 600."""

CONNECTIONS_MAX = 6
"""Concurrent connections to one PBX: two push channels while one replaces the other, one request of the sync, one of an
app, and two files.
"""

FORWARD_SECONDS_MAX = 15.0
"""Time for a request of an app; the app waits for it."""

FILES_MAX = 2
"""Files read at a time."""

FILE_SECONDS_MAX = 900.0
"""Time to read a file: as slowly as the app reads it."""

FILE_BYTES_MAX = 1024 * 1024 * 1024
"""A recording of sixteen hours."""

FILE_CHUNK_BYTES = 64 * 1024

TOKEN_STEPS_MAX = 6
"""Requests for one token: revoke, refresh, log in, and one in reserve; more would be a loop."""

ATTEMPTS_MAX = 3
RETRY_SECONDS = 2.0
"""Wait between attempts of one request; grows with each attempt."""

DOUBT_SECONDS = 900.0
"""Interval in which one token is replaced because of a refused push channel alone: with half an hour of validity two of
the eight tokens that a PBX allows.
"""

REVOKE_SECONDS_MAX = 4.0
"""Longest time that a stop waits for a PBX to revoke its tokens."""

USER_AGENT = "OpenAPI"
"""User-Agent, without which a PBX rejects every request (yeastar-p-series.md 6)."""

ConnectionErrorKind = Literal["", "unreachable", "credentials", "certificate"]
ALARM_KINDS: Sequence[AlarmKind] = ("unreachable", "credentials", "certificate")


class TokenRejected(Unavailable):
    """The PBX does not accept a token that should be valid: it has forgotten it. Another one can be had at once."""


class PbxEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Address and credentials of a PBX's API; `fingerprint` in hexadecimal digits, or empty."""

    url: str
    login: ClientCredentials
    fingerprint: str = ""


class TokenStore(Protocol):
    """Storage of the tokens, shared by all processes."""

    def lock(self) -> AbstractAsyncContextManager[None]:
        """Lock the tokens for a change, against all processes. Raises `Unavailable`."""
        ...

    async def load_tokens(self) -> str:
        """Return the stored tokens; empty at first. Raises `Unavailable` when the API address has changed."""
        ...

    async def save_tokens(self, text: str) -> None:
        """Store the tokens, under the lock. Raises `Unavailable` where another process has the lock by now."""
        ...


class PbxSession:
    """Asynchronous context manager, used inside the event loop. `error_kind` is the kind of the current connection
    problem, or empty.
    """

    def __init__(
        self,
        *,
        client: PbxClient,
        endpoint: PbxEndpoint,
        token_store: TokenStore,
        clock: Clock,
        jitter: Callable[[], float],
    ) -> None:
        self.client = client
        self.host = endpoint.url.partition("://")[2]
        self.alarm_kinds = ALARM_KINDS
        self.error_kind: ConnectionErrorKind = ""
        self._endpoint = endpoint
        self._token_store = token_store
        self._clock = clock
        self._jitter = jitter
        self._token_lock = asyncio.Lock()
        self._request_lock = asyncio.Lock()
        self._forward_lock = asyncio.Lock()
        self._file_slots = asyncio.Semaphore(FILES_MAX)
        self._token_tasks: set[asyncio.Task[TokenStep]] = set()
        self._session: aiohttp.ClientSession | None = None
        self._doubt_until = 0.0
        self._last_tokens = ""
        """Copy of the stored tokens, which are deleted when an operator removes the PBX or changes its API settings."""

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=CONNECTIONS_MAX, ssl=create_tls_trust(self._endpoint.fingerprint))
        timeout = aiohttp.ClientTimeout(total=RESPONSE_SECONDS_MAX, sock_connect=CONNECT_SECONDS_MAX)
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=timeout,
            headers={"User-Agent": USER_AGENT},
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._session is not None
        try:
            if tasks := set(self._token_tasks):
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)  # they give their turn back, or others would wait until it runs out
        finally:
            await self._session.close()

    def now(self) -> float:
        """Return the Unix seconds."""
        return self._clock.microseconds() / 1_000_000

    async def token(self) -> TokenStep:
        """Return a token and the time until which it is valid. Raises `NotAllowed` when only an operator can help, else
        `Unavailable`.

        A login goes on when its caller gives up: else the PBX would have issued a token that no session knows.
        """
        task = asyncio.create_task(self._obtain_token())
        self._token_tasks.add(task)
        task.add_done_callback(self._end_token_task)
        return await asyncio.shield(task)

    def _end_token_task(self, task: asyncio.Task[TokenStep]) -> None:
        self._token_tasks.discard(task)
        if not task.cancelled():
            task.exception()  # that its caller has, unless it gave up

    async def _obtain_token(self) -> TokenStep:
        async with self._token_lock:
            # Most requests use the stored token: they need no lock, and wait for no process that has it.
            step, _tokens = await self._next_step()
            if step.action == "use":
                return step
            async with self._token_store.lock():
                return await self._request_token()

    async def _next_step(self) -> tuple[TokenStep, str]:
        """Return the next step for a token, and the stored tokens."""
        tokens = await self._token_store.load_tokens()
        step = self.client.next_step(tokens, self._endpoint.login, self.now())
        if step.action == "use":
            self._last_tokens = tokens
        return step, tokens

    async def _request_token(self) -> TokenStep:
        """Run steps until there is a token, under the lock."""
        for _unused in range(TOKEN_STEPS_MAX):
            step, tokens = await self._next_step()
            if step.action == "use":
                return step
            if step.action == "halt":
                self.error_kind = "credentials"
                raise NotAllowed(
                    step.reason,
                    location=self.host,
                    hint=_("correct it in the PBX, then set its client id again with `onhook pbx change --client-id`"),
                )
            if step.action == "wait":
                raise NextAttemptLater(
                    _("the PBX is unreachable: {reason}", reason=step.reason),
                    _format_minute(step.until),
                    location=self.host,
                    hint=_("Onhook retries automatically"),
                    attempt_at=datetime.fromtimestamp(step.until, UTC),
                )
            await self._run_token_step(step, tokens)
        raise self._unavailable(_("the PBX issues no token"))

    async def send_request(self, request: PbxRequest) -> PbxResponse:
        """Send a request with a token; return the PBX's final response, which may be an error. Raises like `token`."""
        async with self._request_lock:
            answer = PbxResponse(errcode=0, error_kind="temporary")
            for attempt in range(1, ATTEMPTS_MAX + 1):
                step = await self.token()
                answer = await self._send_once(request, step.token)
                if answer.error_kind == "token_expired":
                    await self._forget_token(step.token)
                elif answer.error_kind not in ("temporary", "invalid_response"):
                    break
                elif attempt < ATTEMPTS_MAX:
                    await asyncio.sleep(RETRY_SECONDS * attempt * (0.5 + self._jitter()))
            return answer

    async def forward(self, request: PbxRequest) -> PbxResponse:
        """Send a request of an app with the token of the session; return the PBX's response, which may be an error.

        Sent again only after the PBX rejected the token: then it was not executed. Raises like `token`, and
        `Unavailable` without a response.
        """
        try:
            async with asyncio.timeout(FORWARD_SECONDS_MAX), self._forward_lock:
                answer = await self._forward_once(request)
                if answer.error_kind == "token_expired":
                    answer = await self._forward_once(request)
        except TimeoutError:
            raise self._unavailable(_("no response in time")) from None
        if not answer.members:
            raise self._unavailable(answer.error_text)
        return answer

    async def _forward_once(self, request: PbxRequest) -> PbxResponse:
        step = await self.token()
        answer = await self._send_once(request, step.token)
        if answer.error_kind == "token_expired":
            await self._forget_token(step.token)
        return answer

    @asynccontextmanager
    async def open_file(self, path: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open a file under a path of the PBX; its chunks are read inside. Raises like `token`, and `Unavailable` when
        the PBX does not have it.
        """
        assert self._session is not None
        async with self._file_slots:
            step = await self.token()
            try:
                async with self._session.get(
                    self._endpoint.url + path,
                    params={"access_token": step.token},
                    allow_redirects=False,
                    timeout=aiohttp.ClientTimeout(total=FILE_SECONDS_MAX, sock_connect=CONNECT_SECONDS_MAX),
                ) as response:
                    if response.status != 200 or response.content_type == "application/json":
                        raise self._unavailable(_("it does not have the file"))
                    yield _limited_chunks(response)
            except (aiohttp.ClientError, TimeoutError) as error:
                raise self._unavailable(describe_connection_error(error)) from error

    async def open_push(self, token: str) -> aiohttp.ClientWebSocketResponse:
        """Return the open socket of the push channel. Raises `TokenRejected` if the PBX no longer knows the token, else
        `Unavailable`.
        """
        assert self._session is not None
        try:
            async with asyncio.timeout(CONNECT_SECONDS_MAX):
                return await self._session.ws_connect(
                    self._endpoint.url + self.client.push_path,
                    params={"access_token": token},
                    max_msg_size=PUSH_BYTES_MAX,
                    autoping=True,
                )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            # The PBX refuses a handshake with a token that it has forgotten, as after a restart, without a reason.
            if isinstance(error, aiohttp.WSServerHandshakeError) and await self._is_rejected(token):
                raise TokenRejected(_("the PBX no longer knows the token"), location=self.host) from error
            self.error_kind = classify_error(error)
            raise self._unavailable(
                _("the push channel cannot be opened: {error}", error=describe_connection_error(error))
            ) from error

    async def _is_rejected(self, token: str) -> bool:
        """Ask the PBX whether it accepts a token; forget one that it does not. Where its answers do not say, it
        counts as forgotten, once in `DOUBT_SECONDS`.
        """
        async with self._request_lock:
            error_kind: ApiErrorKind | None = "temporary"
            for request in self.client.token_check_requests():
                error_kind = (await self._send_once(request, token)).error_kind
                if error_kind in (None, "token_expired"):
                    break
            # A PBX that cannot answer now is asked again with the next attempt.
            is_unclear = error_kind not in (None, "token_expired", "temporary") and not self.error_kind
            if is_unclear and self.now() >= self._doubt_until:
                self._doubt_until = self.now() + DOUBT_SECONDS
            elif error_kind != "token_expired":
                return False
            await self._forget_token(token)
            return True

    async def _forget_token(self, token: str) -> None:
        """Store that the PBX rejected a token, so that the next one is requested at once."""
        async with self._token_lock, self._token_store.lock():
            tokens = self.client.reject_token(await self._token_store.load_tokens(), token, self.now(), self._jitter())
            await self._token_store.save_tokens(tokens)

    async def revoke_replaced_token(self) -> None:
        """Revoke the token that was replaced."""
        if self.client.replaced_token_revocation(await self._token_store.load_tokens()) is None:
            return
        async with self._token_lock, self._token_store.lock():
            tokens = await self._token_store.load_tokens()
            step = self.client.replaced_token_revocation(tokens)
            if step is not None:
                await self._run_token_step(step, tokens)

    async def revoke_tokens(self) -> None:
        """Revoke all tokens, as far as the PBX answers in time; others expire."""
        try:
            async with asyncio.timeout(REVOKE_SECONDS_MAX), self._token_lock, self._token_store.lock():
                for step in self.client.revocation_steps(self._last_tokens, self.now()):
                    await self._run_token_step(step, self._last_tokens)
        except TimeoutError:
            return

    async def _run_token_step(self, step: TokenStep, tokens: str) -> None:
        """Send the request of a step and store its result with the tokens."""
        assert step.request is not None
        await self._save_tokens(self.client.begin_step(tokens, step, self.now()))
        answer = await self._send_once(step.request, "")
        await self._save_tokens(self.client.finish_step(self._last_tokens, step, answer, self.now(), self._jitter()))

    async def _save_tokens(self, tokens: str) -> None:
        self._last_tokens = tokens
        await self._token_store.save_tokens(tokens)

    async def _send_once(self, request: PbxRequest, token: str) -> PbxResponse:
        assert self._session is not None
        query = {**request.query, **({"access_token": token} if token else {})}
        headers = {"Content-Type": "application/json"} if request.body else {}
        try:
            async with self._session.request(
                request.method,
                self._endpoint.url + request.path,
                params=query,
                data=request.body or None,
                headers=headers,
                allow_redirects=False,
            ) as response:
                body = await read_body(response)
                answer = await asyncio.to_thread(self.client.parse_response, response.status, body)
        except (aiohttp.ClientError, TimeoutError, OSError, ResponseTooLarge) as error:
            self.error_kind = classify_error(error)
            return PbxResponse(
                errcode=-1,
                error_kind="temporary" if _was_never_sent(error) else "invalid_response",
                error_text=describe_connection_error(error),
            )
        self.error_kind = ""
        return answer

    def _unavailable(self, reason: str) -> OnhookError:
        return Unavailable(
            _("the PBX is unreachable: {reason}", reason=reason),
            location=self.host,
            hint=_("Onhook retries automatically"),
        )


def _format_minute(seconds: float) -> str:
    """
    >>> _format_minute(1_777_287_876)
    '2026-04-27 11:04 UTC'
    """
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"


class ResponseTooLarge(Exception):
    """A response over the size limit."""


async def read_body(response: aiohttp.ClientResponse) -> bytes:
    """Return the body of a response. Raises `ResponseTooLarge`."""
    body = bytearray()
    async for chunk in response.content.iter_chunked(64 * 1024):
        body += chunk
        if len(body) > RESPONSE_BYTES_MAX:
            raise ResponseTooLarge
    return bytes(body)


async def _limited_chunks(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    size = 0
    async for chunk in response.content.iter_chunked(FILE_CHUNK_BYTES):
        size += len(chunk)
        if size > FILE_BYTES_MAX:
            raise Unavailable(_("the file of the PBX is too large"))
        yield chunk


def create_tls_trust(fingerprint: str) -> aiohttp.Fingerprint | ssl.SSLContext:
    """Return what verifies a certificate: its fingerprint, or the system's authorities."""
    return aiohttp.Fingerprint(bytes.fromhex(fingerprint)) if fingerprint else ssl.create_default_context()


def _was_never_sent(error: Exception) -> bool:
    """Return whether the request certainly never reached the PBX."""
    return isinstance(error, aiohttp.ClientConnectorError | aiohttp.ServerFingerprintMismatch)


def classify_error(error: Exception) -> ConnectionErrorKind:
    """Return the kind of a problem of the connection."""
    is_untrusted = isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ServerFingerprintMismatch)
    return "certificate" if is_untrusted else "unreachable"


def describe_error_at(error: OnhookError, zone: ZoneInfo, now: datetime) -> str:
    """Return the message of an error of a session; the time of its next attempt is in this zone, and left out once it
    has passed.
    """
    return error.describe(zone, now) if isinstance(error, NextAttemptLater) else error.message


def describe_connection_error(error: Exception) -> str:
    """Return the error without URLs, which contain tokens."""
    if isinstance(error, aiohttp.ServerFingerprintMismatch):
        return _("the certificate is not the pinned one")
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return _("the certificate is not trusted ({error})", error=error.certificate_error)
    if isinstance(error, aiohttp.ClientConnectorError):
        return _("cannot connect ({error})", error=error.os_error.strerror or error.os_error)
    if isinstance(error, aiohttp.WSServerHandshakeError):
        return _("HTTP status {status}", status=error.status)
    if isinstance(error, TimeoutError):
        return _("no response in time")
    return _("the response is too large") if isinstance(error, ResponseTooLarge) else type(error).__name__
