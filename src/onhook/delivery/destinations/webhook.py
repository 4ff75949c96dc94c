"""Webhook, as the PBX itself sends it (yeastar-p-series.md 4): the event as the body, `X-Signature` over it.

Invariants: any 2xx is success and nothing else is; redirects are not followed; only the first kibibytes of a response
are read. The place of the event in a `GET` request is not documented: it is the body there too, and signed alike.
"""

import email.utils
from collections.abc import Sequence
from datetime import UTC, datetime
from http import HTTPStatus

import aiohttp
from yarl import URL

from onhook.appdb.destination_spec import DestinationSpec
from onhook.cdr.record import Record
from onhook.config import Config
from onhook.delivery.destinations.contract import DeliveryResult, Notification, OpenDestination, Outcome
from onhook.delivery.destinations.standard_webhooks import standard_headers
from onhook.delivery.ssrf_guard import SsrfGuard, create_ssrf_guard
from onhook.lib.messages import _
from onhook.lib.signing import SIGNATURE_HEADER, sign
from onhook.pbx.dialect import Dialect
from onhook.pbx.yeastar.payload import Yeastar

CONNECTIONS_MAX = 16
"""Connections to one destination: twice the concurrent attempts, so that a closing connection delays none."""

RESPONSE_BYTES_MAX = 1024
"""Enough to show an endpoint's error message."""

THROTTLE_SECONDS_DEFAULT = 30.0
"""After a 429 without `Retry-After`."""

UNREACHABLE_STATUSES = frozenset({HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT})
"""Statuses of a gateway whose endpoint is unreachable."""

HEADER_BYTES_MAX = 16 * 1024
"""Of one header of a response, and of its first line."""

DETAIL_CHARACTERS_MAX = 300
"""Of the text shown to an operator."""

TEST_BODY = b'{"event":"test"}'
"""The test message of the original (yeastar-p-series.md 4)."""

USER_AGENT = "Onhook"


class WebhookClient:
    """See `contract.DestinationClient`."""

    def __init__(self, spec: DestinationSpec, secrets: Sequence[str], dialect: Dialect, guard: SsrfGuard) -> None:
        self._spec = spec
        self._secrets = secrets
        self._url = URL(spec.url)
        self._dialect = dialect
        # Not by threads: slow look-ups would delay all other names, and the stop of the process.
        self._resolver = aiohttp.AsyncResolver()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=CONNECTIONS_MAX, socket_factory=guard.create_socket, resolver=self._resolver
            ),
            timeout=aiohttp.ClientTimeout(total=spec.timeout_seconds),
            headers={"Content-Type": "application/json", "User-Agent": USER_AGENT, **spec.headers},
            # Responses are only displayed: never decompressed, never stored as cookies.
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            max_line_size=HEADER_BYTES_MAX,
            max_field_size=HEADER_BYTES_MAX,
        )

    def format_payload(self, record: Record) -> bytes:
        return self._dialect.format(record, record.sn, self._spec.payload_format)

    def format_test_payload(self) -> bytes:
        return TEST_BODY

    async def send(self, notification: Notification) -> DeliveryResult:
        try:
            async with self._session.request(
                self._spec.method,
                self._url,
                data=notification.body,
                headers=self._build_headers(notification),
                allow_redirects=False,
            ) as response:
                body = await _read_body_start(response)
                return _build_result(response, body, notification.attempted_at)
        except TimeoutError:
            return DeliveryResult(
                outcome="unreachable",
                detail=_("no response within {seconds:g} seconds", seconds=self._spec.timeout_seconds),
            )
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # aiohttp raises ValueError for a name that cannot be encoded, or an invalid URL.
            return DeliveryResult(outcome="unreachable", detail=_describe_error(error))

    async def close(self) -> None:
        await self._session.close()
        await self._resolver.close()

    def _build_headers(self, notification: Notification) -> dict[str, str]:
        """Return the headers. The original has one signature: by the oldest secret, so that a receiver that does not
        have the new secret yet can verify it.
        """
        headers = {SIGNATURE_HEADER: sign(self._secrets[0], notification.body)} if self._secrets else {}
        if self._spec.with_standard_webhooks:
            headers |= standard_headers(
                notification.notification_id, notification.attempted_at, notification.body, self._secrets
            )
        return headers


def webhook_opener(config: Config) -> OpenDestination:
    """Return the function that opens webhooks, with the private networks that the configuration allows."""

    def open_webhook(spec: DestinationSpec, secrets: Sequence[str]) -> WebhookClient:
        guard = create_ssrf_guard(config.private_networks, allow_private=spec.allow_private)
        return WebhookClient(spec, secrets, Yeastar(), guard)

    return open_webhook


async def _read_body_start(response: aiohttp.ClientResponse) -> bytes:
    """Return the first bytes of a response; a longer one is cut off and its connection closed."""
    try:
        body = await response.content.read(RESPONSE_BYTES_MAX)
    except (aiohttp.ClientError, TimeoutError):
        # The status has arrived and decides the result; the body is for display.
        body = b""
    if not response.content.at_eof():
        response.close()
    return body


def _build_result(response: aiohttp.ClientResponse, body: bytes, now_us: int) -> DeliveryResult:
    """Return the result that a status means."""
    status = response.status
    detail = f"HTTP {status} {response.reason or ''}".rstrip()[:DETAIL_CHARACTERS_MAX]
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return DeliveryResult(outcome="accepted", detail=detail, status=status, body=body)
    if status == HTTPStatus.GONE:
        return DeliveryResult(outcome="gone", detail=detail, status=status, body=body)
    retry_after_seconds = _parse_retry_after(response.headers.get("Retry-After", ""), now_us)
    if status == HTTPStatus.TOO_MANY_REQUESTS and retry_after_seconds is None:
        retry_after_seconds = THROTTLE_SECONDS_DEFAULT
    outcome: Outcome = (
        "throttled"
        if retry_after_seconds is not None
        else "unreachable"
        if status in UNREACHABLE_STATUSES
        else "rejected"
    )
    return DeliveryResult(
        outcome=outcome, detail=detail, status=status, body=body, retry_after_seconds=retry_after_seconds
    )


def _parse_retry_after(text: str, now_us: int) -> float | None:
    """Return the seconds of a `Retry-After` (RFC 9110, 10.2.3: seconds, or a date); None for anything else."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        retry_at = email.utils.parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    retry_at_utc = retry_at if retry_at.tzinfo else retry_at.replace(tzinfo=UTC)
    return max(0.0, (retry_at_utc - datetime.fromtimestamp(now_us / 1_000_000, UTC)).total_seconds())


def _describe_error(error: Exception) -> str:
    """Return the error in one line, without the URL, which may contain a key."""
    detail = str(error) or type(error).__name__
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, PermissionError):
        detail = _("not connected: {reason}", reason=error.os_error.strerror)
    elif isinstance(error, aiohttp.ClientConnectorError):
        reason = error.os_error.strerror or error.os_error
        detail = _("cannot connect to {host}:{port}: {reason}", host=error.host, port=error.port, reason=reason)
    elif isinstance(error, aiohttp.ClientResponseError):
        detail = _("the response is not HTTP: {error}", error=error.message)
    elif isinstance(error, aiohttp.InvalidURL):
        detail = _("invalid URL: {reason}", reason=error.description or _("check the receiver's documentation"))
    return " ".join(detail.split())[:DETAIL_CHARACTERS_MAX]
