"""The webhook, as the PBX itself sends it (PROTOCOL.md 4): the event as the body, `X-Signature` over it.

Laws: any 2xx is success and nothing else is; redirects are not followed; nothing is read beyond the first kibibytes of
an answer; where the body goes with `GET` is not documented, so it is the body there too, and signed alike.
"""

import email.utils
from datetime import UTC, datetime
from http import HTTPStatus

import aiohttp
from yarl import URL

from onhook.cdr.record import Record
from onhook.delivery.destinations.contract import DeliveryResult, DestinationConfig, Notification, Outcome
from onhook.delivery.destinations.standard_webhooks import standard_headers
from onhook.delivery.ssrf_guard import SsrfGuard
from onhook.lib.signing import SIGNATURE_HEADER, sign
from onhook.pbx.dialect import Dialect

CONNECTIONS_MAX = 16
"""To one destination: twice the attempts at once, so that one that is being closed holds up none."""

RESPONSE_BYTES_MAX = 1024
"""Enough to see what an application says when it refuses."""

THROTTLE_SECONDS_DEFAULT = 30.0
"""After a 429 that does not say how long."""

UNREACHABLE_STATUSES = frozenset({HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT})
"""What a gateway answers in the place of an application that is away."""

HEADER_BYTES_MAX = 16 * 1024
"""Of one header of an answer, and of its first line."""

DETAIL_CHARACTERS_MAX = 300
"""Of what we tell a person."""

TEST_BODY = b'{"event":"test"}'
"""What receivers of the original know as its test message (PROTOCOL.md 4)."""

USER_AGENT = "Onhook"


class WebhookClient:
    """See `sink.Sink`."""

    def __init__(self, destination: DestinationConfig, dialect: Dialect, guard: SsrfGuard) -> None:
        self._to = destination
        self._url = URL(destination.url)
        self._dialect = dialect
        # Not by threads: names that nobody answers for would keep them from everybody else, and us from stopping.
        self._names = aiohttp.AsyncResolver()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=CONNECTIONS_MAX, socket_factory=guard.socket_for, resolver=self._names
            ),
            timeout=aiohttp.ClientTimeout(total=destination.timeout_seconds),
            headers={"Content-Type": "application/json", "User-Agent": USER_AGENT, **destination.headers},
            # What an application answers is looked at by people at most: never unpacked, never remembered.
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            max_line_size=HEADER_BYTES_MAX,
            max_field_size=HEADER_BYTES_MAX,
        )

    def pack(self, record: Record) -> bytes:
        return self._dialect.write(record, record.sn, self._to.profile)

    def pack_test(self) -> bytes:
        return TEST_BODY

    async def send(self, parcel: Notification) -> DeliveryResult:
        try:
            async with self._session.request(
                self._to.method,
                self._url,
                data=parcel.body,
                headers=self._signed(parcel),
                allow_redirects=False,
            ) as response:
                body = await _read_body_start(response)
                return _build_result(response, body, parcel.at)
        except TimeoutError:
            return DeliveryResult(verdict="failed", said=f"no answer within {self._to.timeout_seconds:g} seconds")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # ValueError is what a name that cannot be encoded, or a URL that only looks like one, makes of itself.
            return DeliveryResult(verdict="failed", said=_describe_error(error))

    async def close(self) -> None:
        await self._session.close()
        await self._names.close()

    def _signed(self, parcel: Notification) -> dict[str, str]:
        """The original has one signature: by the oldest secret, so that who is given a new one still knows the old."""
        headers = {SIGNATURE_HEADER: sign(self._to.secrets[0], parcel.body)} if self._to.secrets else {}
        if self._to.with_standard_webhooks:
            headers |= standard_headers(parcel.event_id, parcel.at, parcel.body, self._to.secrets)
        return headers


async def _read_body_start(answer: aiohttp.ClientResponse) -> bytes:
    """The first bytes of an answer; whatever is longer is cut off together with its connection."""
    try:
        body = await answer.content.read(RESPONSE_BYTES_MAX)
    except (aiohttp.ClientError, TimeoutError):
        # Its status has come, and that is the answer; the rest is for people to look at.
        body = b""
    if not answer.content.at_eof():
        answer.close()
    return body


def _build_result(answer: aiohttp.ClientResponse, body: bytes, at: int) -> DeliveryResult:
    """What a status means to us."""
    status = answer.status
    detail = f"answered {status} {answer.reason or ''}".rstrip()[:DETAIL_CHARACTERS_MAX]
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return DeliveryResult(verdict="taken", said=detail, status=status, body=body)
    if status == HTTPStatus.GONE:
        return DeliveryResult(verdict="gone", said=detail, status=status, body=body)
    retry_after_seconds = _parse_retry_after(answer.headers.get("Retry-After", ""), at)
    if status == HTTPStatus.TOO_MANY_REQUESTS and retry_after_seconds is None:
        retry_after_seconds = THROTTLE_SECONDS_DEFAULT
    outcome: Outcome = (
        "busy" if retry_after_seconds is not None else "failed" if status in UNREACHABLE_STATUSES else "refused"
    )
    return DeliveryResult(
        verdict=outcome, said=detail, status=status, body=body, retry_after_seconds=retry_after_seconds
    )


def _parse_retry_after(text: str, at: int) -> float | None:
    """RFC 9110, 10.2.3: seconds, or a date; None for anything else."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        retry_at = email.utils.parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    retry_at_utc = retry_at if retry_at.tzinfo else retry_at.replace(tzinfo=UTC)
    return max(0.0, (retry_at_utc - datetime.fromtimestamp(at / 1_000_000, UTC)).total_seconds())


def _describe_error(error: Exception) -> str:
    """What went wrong on the way, in one line, without the URL, which may hold a key."""
    detail = str(error) or type(error).__name__
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, PermissionError):
        detail = f"was not asked: {error.os_error.strerror}"
    elif isinstance(error, aiohttp.ClientConnectorError):
        detail = f"cannot be connected to at {error.host}:{error.port}: {error.os_error.strerror or error.os_error}"
    elif isinstance(error, aiohttp.ClientResponseError):
        detail = f"what it answers is not HTTP: {error.message}"
    elif isinstance(error, aiohttp.InvalidURL):
        detail = (
            f"its URL cannot be asked: {error.description or 'compare it with the documentation of the application'}"
        )
    return " ".join(detail.split())[:DETAIL_CHARACTERS_MAX]
