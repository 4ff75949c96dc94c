"""Log records of OpenTelemetry by OTLP/HTTP in JSON (`otlp_log`).

Invariants: each notification is a request. A collector that accepts a part of a request does not say which, and such a
request must not be sent again; so a request with one log record is the only one whose result is exact. The newest
secret is the token: the collector has it, or has both.
"""

from collections.abc import Sequence
from datetime import datetime

import msgspec
from yarl import URL

from onhook.appdb.destination_spec import OPERATIONAL, DestinationSpec
from onhook.cdr.record import Record
from onhook.config import Config
from onhook.delivery.destinations.contract import DETAIL_CHARACTERS_MAX, DeliveryResult, Notification, SendLimits
from onhook.delivery.destinations.http_transport import HttpTransport, OutgoingRequest, guard_and_proxy
from onhook.delivery.destinations.kinds import decode_fields
from onhook.delivery.destinations.otlp_log import format_log_request, logs_url
from onhook.delivery.destinations.service_fields import OtlpFields
from onhook.delivery.destinations.webhook_response import RESPONSE_BYTES_MAX
from onhook.delivery.samples import TEST_BODY, sample_for, sample_operational_event
from onhook.lib.messages import _

PARTIAL_SUCCESS_BYTES_MAX = 8_192
"""Of a response in which the protocol says how many log records were rejected."""

AUTHORIZATION = "Authorization"


class _PartialSuccess(msgspec.Struct, frozen=True, rename="camel"):
    rejected_log_records: int = 0
    error_message: str = ""


class _ExportResponse(msgspec.Struct, frozen=True, rename="camel"):
    """Response of the protocol; numbers may be texts."""

    partial_success: _PartialSuccess | None = None


class OtlpClient:
    """See `contract.DestinationClient`."""

    limits = SendLimits()

    def __init__(self, spec: DestinationSpec, transport: HttpTransport) -> None:
        self._spec = spec
        self._service_name = decode_fields(spec, OtlpFields).service_name
        self._url = URL(logs_url(spec.url))
        self._transport = transport

    def __repr__(self) -> str:
        return f"OtlpClient({self._spec!r})"

    def format_payload(self, record: Record) -> bytes:
        return msgspec.json.encode(record)

    def format_test_payload(self) -> bytes:
        return TEST_BODY

    def format_sample_payload(self, now: datetime) -> bytes:
        if self._spec.notifies_of in OPERATIONAL:
            return sample_operational_event(self._spec.notifies_of, now)
        return self.format_payload(sample_for(self._spec, now))

    async def send(self, notifications: Sequence[Notification]) -> Sequence[DeliveryResult]:
        return [await self._send_event(notification) for notification in notifications]

    async def close(self) -> None:
        await self._transport.close()

    async def _send_event(self, notification: Notification) -> DeliveryResult:
        body = format_log_request(
            notification.body,
            notifies_of=self._spec.notifies_of,
            service_name=self._service_name,
            notification_id=notification.notification_id,
            attempted_at=notification.attempted_at,
            is_test=notification.is_test,
        )
        request = OutgoingRequest(method="POST", url=self._url, headers={}, body=body)
        return await self._transport.request(
            request,
            notification.attempted_at,
            PARTIAL_SUCCESS_BYTES_MAX,
            logged_request=request,
            read_response=_read_partial_success,
        )


def _read_partial_success(result: DeliveryResult) -> DeliveryResult:
    """Return the result with the beginning of the response alone; rejected where the collector says so, although its
    status is that of success.
    """
    result, body = msgspec.structs.replace(result, body=result.body[:RESPONSE_BYTES_MAX]), result.body
    if result.outcome != "accepted":
        return result
    try:
        partial_success = msgspec.json.decode(body, type=_ExportResponse, strict=False).partial_success
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        partial_success = None  # a collector that answers something else has accepted it
    if partial_success is None or not partial_success.rejected_log_records:
        return result
    detail = _("rejected: {reason}", reason=" ".join(partial_success.error_message.split()))
    return msgspec.structs.replace(result, outcome="rejected", detail=detail[:DETAIL_CHARACTERS_MAX])


def open_client(config: Config, spec: DestinationSpec, secrets: Sequence[str]) -> OtlpClient:
    """Open a collector, with the private networks and the proxy of the configuration."""
    guard, proxy = guard_and_proxy(config, spec)
    headers = {"Content-Type": "application/json", **spec.headers}
    if secrets and AUTHORIZATION.lower() not in {name.lower() for name in headers}:
        headers[AUTHORIZATION] = f"Bearer {secrets[-1]}"
    transport = HttpTransport(spec, guard, proxy, headers, secrets, hidden_headers=(AUTHORIZATION,))
    return OtlpClient(spec, transport)
