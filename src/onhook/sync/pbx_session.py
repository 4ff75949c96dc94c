"""What we are at a PBX's web API: requests with a token that all share, and the certificate that is looked at.

Laws: a token is asked for by one at a time, also among processes, and what is known of tokens is kept before and after.
Answers are bounded in bytes and time. A certificate is checked by the authorities of the system, or by its fingerprint
alone where one is pinned; never not at all. No token, secret or query is in an error.
"""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from types import TracebackType
from typing import Literal, Protocol, Self

import aiohttp
import msgspec

from onhook.cdr.sync_types import AlarmKind
from onhook.lib.clock import Clock
from onhook.lib.errors import NotAllowed, OnhookError, Unavailable
from onhook.pbx.client import Answer, Link, Login, Request, Step

RESPONSE_BYTES_MAX = 32 * 1024 * 1024
"""A page of 10,000 rows has some 7 MB."""

CONNECT_SECONDS_MAX = 10.0
RESPONSE_SECONDS_MAX = 60.0
"""A PBX needs seconds for a large page; one that needs longer is asked again."""

PUSH_BYTES_MAX = 1024 * 1024
"""Of one frame; an event has some 600 bytes."""

CONNECTIONS_MAX = 4
"""To one PBX at once: two push channels while one takes over from the other, and requests one after the other."""

TOKEN_STEPS_MAX = 6
"""For one token: revoke, refresh, log in, and air; more would be a circle."""

ATTEMPTS_MAX = 3
RETRY_SECONDS = 2.0
"""Between tries of one request that failed for now; it grows with each."""

REVOKE_SECONDS_MAX = 5.0
"""Stopping does not wait longer for a PBX to take its tokens back."""

USER_AGENT = "OpenAPI"
"""Without it a PBX refuses everything (PROTOCOL.md 6)."""

ConnectionErrorKind = Literal["", "unreachable", "credentials", "certificate"]
ALARM_KINDS: Sequence[AlarmKind] = ("unreachable", "credentials", "certificate")


class PbxEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Where a PBX's API is and who we are there; `fingerprint` in hexadecimal digits, or empty."""

    url: str
    login: Login
    fingerprint: str = ""


class TokenStore(Protocol):
    """Where what is known of the tokens is kept, for all processes."""

    def turn(self) -> AbstractAsyncContextManager[None]:
        """Be the only one who changes it."""
        ...

    def tokens(self) -> str:
        """What was kept; empty at first. Raises `Unavailable` where the PBX is reached otherwise now."""
        ...

    def keep_tokens(self, text: str) -> None:
        """Keep this."""
        ...


class PbxSession:
    """Use it as a context, inside the event loop. `trouble` says what is wrong with the PBX, if anything is."""

    def __init__(
        self, *, link: Link, reached: PbxEndpoint, keeping: TokenStore, clock: Clock, chance: Callable[[], float]
    ) -> None:
        self.link = link
        self.host = reached.url.partition("://")[2]
        self.kinds = ALARM_KINDS
        self.trouble: ConnectionErrorKind = ""
        self._reached = reached
        self._keeping = keeping
        self._clock = clock
        self._chance = chance
        self._turn = asyncio.Lock()
        self._asking = asyncio.Lock()
        self._session: aiohttp.ClientSession | None = None
        self._last_known = ""
        """Of the tokens: what is kept goes when a person removes the PBX or changes how it is reached."""

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=CONNECTIONS_MAX, ssl=_tls_trust(self._reached.fingerprint))
        timeout = aiohttp.ClientTimeout(total=RESPONSE_SECONDS_MAX, sock_connect=CONNECT_SECONDS_MAX)
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=timeout,
            headers={"User-Agent": USER_AGENT},
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._session is not None
        await self._session.close()

    def now(self) -> float:
        """Unix seconds."""
        return self._clock.microseconds() / 1_000_000

    async def token(self) -> Step:
        """A token to use, and until when. Raises `NotAllowed` where only a person can help, else `Unavailable`."""
        async with self._turn, self._keeping.turn():
            for _ in range(TOKEN_STEPS_MAX):
                step = self.link.next_step(self._keeping.tokens(), self._reached.login, self.now())
                if step.act == "use":
                    self._last_known = self._keeping.tokens()
                    return step
                if step.act == "halt":
                    self.trouble = "credentials"
                    raise NotAllowed(
                        step.why,
                        where=self.host,
                        todo="mend it in the PBX, then `onhook pbx change NAME --client-id ID`",
                    )
                if step.act == "wait":
                    raise self._not_now(f"{step.why}; not before {_format_minute(step.until)}")
                await self._take(step, self._keeping.tokens())
        raise self._not_now("it gives no token")

    async def ask(self, request: Request) -> Answer:
        """Send a request with a token; what the PBX says to it at last, whatever that is. Raises as `token` does."""
        async with self._asking:
            answer = Answer(errcode=0, trouble="later")
            for attempt in range(1, ATTEMPTS_MAX + 1):
                step = await self.token()
                answer = await self._send(request, step.token)
                if answer.trouble == "token":
                    self._keeping.keep_tokens(
                        self.link.refused(self._keeping.tokens(), step.token, self.now(), self._chance())
                    )
                elif answer.trouble not in ("later", "garbage"):
                    break
                elif attempt < ATTEMPTS_MAX:
                    await asyncio.sleep(RETRY_SECONDS * attempt * (0.5 + self._chance()))
            return answer

    async def open_push(self, token: str) -> aiohttp.ClientWebSocketResponse:
        """The push channel's socket. Raises `Unavailable`."""
        assert self._session is not None
        try:
            async with asyncio.timeout(CONNECT_SECONDS_MAX):
                return await self._session.ws_connect(
                    self._reached.url + self.link.push_path,
                    params={"access_token": token},
                    max_msg_size=PUSH_BYTES_MAX,
                    autoping=True,
                )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self.trouble = _classify_error(error)
            raise self._not_now(f"the push channel cannot be opened: {_describe_error(error)}") from error

    async def release(self) -> None:
        """Revoke the token that another one has taken over from."""
        async with self._turn, self._keeping.turn():
            tokens = self._keeping.tokens()
            step = self.link.to_release(tokens)
            if step is not None:
                await self._take(step, tokens)

    async def farewell(self) -> None:
        """Revoke all tokens, as far as the PBX answers in time; those that it does not take back end by themselves."""
        try:
            async with asyncio.timeout(REVOKE_SECONDS_MAX), self._turn, self._keeping.turn():
                for step in self.link.farewell(self._last_known, self.now()):
                    await self._take(step, self._last_known)
        except TimeoutError:
            return

    async def _take(self, step: Step, kept: str) -> None:
        """Send the request of a step and keep what its answer tells, beside what was kept."""
        assert step.request is not None
        self._know(self.link.begun(kept, step, self.now()))
        answer = await self._send(step.request, "")
        self._know(self.link.heard(self._last_known, step, answer, self.now(), self._chance()))

    def _know(self, kept: str) -> None:
        self._last_known = kept
        self._keeping.keep_tokens(kept)

    async def _send(self, request: Request, token: str) -> Answer:
        assert self._session is not None
        query = {**request.query, **({"access_token": token} if token else {})}
        headers = {"Content-Type": "application/json"} if request.body else {}
        try:
            async with self._session.request(
                request.method,
                self._reached.url + request.path,
                params=query,
                data=request.body or None,
                headers=headers,
                allow_redirects=False,
            ) as response:
                body = await _read_body(response)
                answer = await asyncio.to_thread(self.link.read_answer, response.status, body)
        except (aiohttp.ClientError, TimeoutError, OSError, _ResponseTooLarge) as error:
            self.trouble = _classify_error(error)
            return Answer(
                errcode=-1, trouble="later" if _was_never_sent(error) else "garbage", text=_describe_error(error)
            )
        self.trouble = ""
        return answer

    def _not_now(self, why: str) -> OnhookError:
        return Unavailable(f"the PBX cannot be asked now: {why}", where=self.host, todo="it is tried again")


def _format_minute(moment: float) -> str:
    """
    >>> _format_minute(1_777_287_876)
    '2026-04-27 11:04 UTC'
    """
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M} UTC"


class _ResponseTooLarge(Exception):
    """An answer beyond all bounds."""


async def _read_body(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_chunked(64 * 1024):
        body += chunk
        if len(body) > RESPONSE_BYTES_MAX:
            raise _ResponseTooLarge
    return bytes(body)


def _tls_trust(fingerprint: str) -> aiohttp.Fingerprint | ssl.SSLContext:
    return aiohttp.Fingerprint(bytes.fromhex(fingerprint)) if fingerprint else ssl.create_default_context()


def _was_never_sent(error: Exception) -> bool:
    """Whether the PBX surely never saw the request."""
    return isinstance(error, aiohttp.ClientConnectorError | aiohttp.ServerFingerprintMismatch)


def _classify_error(error: Exception) -> ConnectionErrorKind:
    is_untrusted = isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ServerFingerprintMismatch)
    return "certificate" if is_untrusted else "unreachable"


def _describe_error(error: Exception) -> str:
    """What went wrong, without addresses that hold a token."""
    if isinstance(error, aiohttp.ServerFingerprintMismatch):
        return "it shows another certificate than the one that is trusted"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"its certificate is vouched for by nobody ({error.certificate_error})"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"cannot connect ({error.os_error.strerror or error.os_error})"
    if isinstance(error, aiohttp.WSServerHandshakeError):
        return f"HTTP status {error.status}"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return "an answer beyond all bounds" if isinstance(error, _ResponseTooLarge) else type(error).__name__
