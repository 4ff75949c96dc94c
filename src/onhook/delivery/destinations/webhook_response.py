"""Responses of webhooks, and errors of connections, as results of an attempt.

Invariants: any 2xx is success, a redirect where the destination says so, and nothing else is; only the first kibibytes
of a response are read. No result contains a URL, which may contain a key.
"""

import email.utils
import ssl
from datetime import UTC, datetime
from http import HTTPStatus

import aiohttp
import msgspec
from yarl import URL

from onhook.delivery.destinations.contract import DETAIL_CHARACTERS_MAX, DeliveryResult, Outcome
from onhook.lib.certificates import format_fingerprint
from onhook.lib.messages import _

RESPONSE_BYTES_MAX = 1024
"""Enough to show an endpoint's error message."""

THROTTLE_SECONDS_DEFAULT = 30.0
"""After a 429 without `Retry-After`."""

UNREACHABLE_STATUSES = frozenset({HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT})
"""Statuses of a gateway whose endpoint is unreachable."""

REDIRECT_STATUSES = frozenset({301, 302, 303, 307, 308})


async def _read_body_start(response: aiohttp.ClientResponse, bytes_max: int | None) -> bytes:
    """Return the first bytes of a response, as far as they have arrived, or up to `bytes_max` to its end; a longer one
    is cut off and its connection closed.
    """
    body = b""
    try:
        body = await response.content.read(RESPONSE_BYTES_MAX if bytes_max is None else bytes_max)
        while bytes_max is not None and len(body) < bytes_max and not response.content.at_eof():
            body += await response.content.read(bytes_max - len(body))
    except (aiohttp.ClientError, TimeoutError):
        # The status has arrived and decides the result; the body is for display.
        body = b""
    if not response.content.at_eof():
        response.close()
    return body


async def read_result(
    response: aiohttp.ClientResponse,
    now_us: int,
    *,
    accept_redirects: bool,
    body_bytes_max: int | None = None,
) -> DeliveryResult:
    """Return the result that a response means; a redirect counts as accepted where the destination says so. Its body is
    the beginning of the response, or all of it up to `body_bytes_max`.
    """
    result = _result_of_status(response, await _read_body_start(response, body_bytes_max), now_us)
    if response.status not in REDIRECT_STATUSES:
        return result
    redirect_host = _parse_location_host(response) or response.url.host or ""
    detail = _("{result}, a redirect to {host}", result=result.detail, host=redirect_host)
    return msgspec.structs.replace(
        result,
        outcome="accepted" if accept_redirects else result.outcome,
        detail=detail[:DETAIL_CHARACTERS_MAX],
        redirect_host=redirect_host,
    )


def _parse_location_host(response: aiohttp.ClientResponse) -> str:
    """Return the host of a redirect without the rest of its URL, which may contain a key; empty for a relative one."""
    try:
        return URL(response.headers.get("Location", "")).host or ""
    except ValueError:
        return ""


def _result_of_status(response: aiohttp.ClientResponse, body: bytes, now_us: int) -> DeliveryResult:
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


def describe_error(error: Exception) -> str:
    """Return the error in one line, without the URL, which may contain a key."""
    detail = str(error) or type(error).__name__
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, PermissionError):
        detail = _("not connected: {reason}", reason=error.os_error.strerror)
    elif isinstance(error, PermissionError):
        detail = _("not connected: {reason}", reason=error.strerror)
    elif isinstance(error, aiohttp.ClientHttpProxyError):
        detail = _(
            "the proxy refused the connection: HTTP {status} {reason}", status=error.status, reason=error.message
        )
    elif isinstance(error, aiohttp.ServerFingerprintMismatch):
        fingerprint = format_fingerprint(error.got.hex())
        detail = _("the certificate is not the pinned one: {fingerprint}", fingerprint=fingerprint)
    elif isinstance(error, aiohttp.ClientConnectorCertificateError):
        detail = _("the certificate is not trusted: {reason}", reason=_certificate_reason(error.certificate_error))
    elif isinstance(error, aiohttp.ClientProxyConnectionError):
        reason = error.os_error.strerror or error.os_error
        detail = _(
            "cannot connect to the proxy {host}:{port}: {reason}", host=error.host, port=error.port, reason=reason
        )
    elif isinstance(error, aiohttp.ClientConnectorError):
        reason = error.os_error.strerror or error.os_error
        detail = _("cannot connect to {host}:{port}: {reason}", host=error.host, port=error.port, reason=reason)
    elif isinstance(error, aiohttp.ClientResponseError):
        detail = _("the response is not HTTP: {error}", error=error.message)
    elif isinstance(error, aiohttp.InvalidURL):
        detail = _("invalid URL: {reason}", reason=error.description or _("check the receiver's documentation"))
    return " ".join(detail.split())[:DETAIL_CHARACTERS_MAX]


def _certificate_reason(error: Exception) -> str:
    return error.verify_message if isinstance(error, ssl.SSLCertVerificationError) else str(error)
