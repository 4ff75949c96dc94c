"""The bytes of all responses, rebuilt once a second because `Date` changes (RFC 9110, 6.6.1)."""

from datetime import datetime
from email.utils import format_datetime
from http import HTTPStatus

from onhook.receiver.verdict import RESPONSES_BY_VERDICT, ResponseContent, Verdict

RETRY_AFTER_SECONDS = 2
"""After a 503; PBXs that ignore it retry anyway."""

HEALTHY = ResponseContent(200, "ok")
UNHEALTHY = RESPONSES_BY_VERDICT["unavailable"]

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_EXTRA_HEADERS = {
    # A FreeSWITCH with `auth-scheme=any` sends its credentials only after this challenge (freeswitch.md 1).
    401: 'WWW-Authenticate: X-Signature\r\nWWW-Authenticate: Basic realm="onhook"\r\n',
    405: "Allow: POST, GET\r\n",
    503: f"Retry-After: {RETRY_AFTER_SECONDS}\r\n",
}


class Responses:
    """Prepared responses: look-ups only, so that a response costs next to nothing."""

    def __init__(self, now: datetime) -> None:
        self.rebuild(now)

    def rebuild(self, now: datetime) -> None:
        """Rebuild all responses with this date."""
        date = format_datetime(now, usegmt=True)
        self._closing, self._keep_alive = (
            {verdict: _format_response(content, date, connection) for verdict, content in RESPONSES_BY_VERDICT.items()}
            for connection in ("close", "keep-alive")
        )
        self._health = {
            (is_healthy, is_last): _format_response(content, date, "close" if is_last else "keep-alive")
            for is_healthy, content in ((True, HEALTHY), (False, UNHEALTHY))
            for is_last in (True, False)
        }

    def for_verdict(self, verdict: Verdict, *, is_last: bool) -> bytes:
        """Return the whole response with its text; `is_last`: the connection is closed after it."""
        return (self._closing if is_last else self._keep_alive)[verdict]

    def for_health(self, *, is_healthy: bool, is_last: bool) -> bytes:
        """Return the response to `GET /healthz`."""
        return self._health[is_healthy, is_last]


def strip_body(response: bytes) -> bytes:
    """Return the response to HEAD: `Content-Length` stays, the body is removed (RFC 9110, 9.3.2)."""
    return response[: response.index(b"\r\n\r\n") + 4]


def _format_response(content: ResponseContent, date: str, connection: str) -> bytes:
    text = f"{content.text}\n"
    return (
        f"HTTP/1.1 {content.status} {HTTPStatus(content.status).phrase}\r\n"
        f"Date: {date}\r\n"
        f"Content-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(text.encode())}\r\n"
        f"Connection: {connection}\r\n"
        f"{_EXTRA_HEADERS.get(content.status, '')}\r\n{text}"
    ).encode()
