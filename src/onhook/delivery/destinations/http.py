"""HTTP requests that templates make of each event (`http_request`): for interfaces of other systems.

Invariants: a request is made when it is sent, so that a corrected template holds for failed deliveries too. An event
for which a template fails is a failed attempt of this notification alone, and the system is not asked. The newest
secret is used: the system has it, or has both.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
from yarl import URL

from onhook.appdb.destination_spec import DestinationSpec
from onhook.cdr.record import Record
from onhook.config import Config
from onhook.delivery.destinations.contract import DETAIL_CHARACTERS_MAX, DeliveryResult, Notification, SendLimits
from onhook.delivery.destinations.http_request import (
    RequestTemplates,
    find_external_id,
    sample_event,
)
from onhook.delivery.destinations.http_transport import HttpTransport, OutgoingRequest, guard_and_proxy
from onhook.delivery.destinations.kinds import HttpFields, decode_fields
from onhook.delivery.destinations.webhook_response import RESPONSE_BYTES_MAX
from onhook.delivery.samples import TEST_BODY
from onhook.delivery.template_functions import TemplateFailed
from onhook.lib.messages import _

ID_RESPONSE_BYTES_MAX = 65_536
"""Of a response in which an id is looked for: vendors answer with the object that was created."""

_MICROSECONDS = 1_000_000


class HttpClient:
    """See `contract.DestinationClient`."""

    def __init__(self, spec: DestinationSpec, secrets: Sequence[str], transport: HttpTransport) -> None:
        self._spec = spec
        self._secret = secrets[-1] if secrets else ""
        self._id_pointer = decode_fields(spec, HttpFields).id_pointer
        self._templates = RequestTemplates(spec)
        self._transport = transport
        self.limits = SendLimits(has_external_ids=bool(self._id_pointer))

    def __repr__(self) -> str:
        return f"HttpClient({self._spec!r})"

    def format_payload(self, record: Record) -> bytes:
        return msgspec.json.encode(record)

    def format_test_payload(self) -> bytes:
        return TEST_BODY

    def format_sample_payload(self, now: datetime) -> bytes:
        return sample_event(self._spec, now)

    async def send(self, notifications: Sequence[Notification]) -> Sequence[DeliveryResult]:
        return [await self._send_event(notification) for notification in notifications]

    async def close(self) -> None:
        await self._transport.close()

    async def _send_event(self, notification: Notification) -> DeliveryResult:
        body = notification.body
        if notification.is_test and body == TEST_BODY:
            body = sample_event(self._spec, datetime.fromtimestamp(notification.attempted_at / _MICROSECONDS, UTC))
        try:
            request = self._templates.render(
                body,
                notification_id=notification.notification_id,
                external_id=notification.external_id,
                secret=self._secret,
                is_test=notification.is_test,
            )
        except TemplateFailed as error:
            return DeliveryResult(
                outcome="rejected", detail=_("not sent: {reason}", reason=error)[:DETAIL_CHARACTERS_MAX]
            )
        # The first id is that of the object; later responses may have other ids, as of a note, or none.
        has_new_id = bool(self._id_pointer) and not notification.external_id
        return await self._transport.request(
            request,
            notification.attempted_at,
            ID_RESPONSE_BYTES_MAX if has_new_id else None,
            logged_request=self._render_logged(request, notification, body) if self._secret else request,
            read_response=self._with_external_id if has_new_id else None,
        )

    def _render_logged(self, request: OutgoingRequest, notification: Notification, body: bytes) -> OutgoingRequest:
        """Return the request as the log shows it. Where this fails, as with a part of the secret that the placeholder
        lacks, the log has the address alone.
        """
        try:
            return self._templates.render_logged(
                request,
                body,
                notification_id=notification.notification_id,
                external_id=notification.external_id,
                is_test=notification.is_test,
            )
        except TemplateFailed:
            return OutgoingRequest(method="", url=URL(self._spec.url), headers={}, body=None)

    def _with_external_id(self, result: DeliveryResult) -> DeliveryResult:
        """Return the result with the id in its response, and the beginning of the response alone. What has the secret
        is no id.
        """
        external_id = find_external_id(result.body, self._id_pointer) if result.outcome == "accepted" else ""
        if self._secret and self._secret in external_id:
            external_id = ""
        detail = result.detail
        if result.outcome == "accepted" and not external_id:
            detail = _("{detail}; no id at {pointer}", detail=detail, pointer=self._id_pointer)
        return msgspec.structs.replace(
            result,
            body=result.body[:RESPONSE_BYTES_MAX],
            external_id=external_id,
            detail=detail[:DETAIL_CHARACTERS_MAX],
        )


def open_client(config: Config, spec: DestinationSpec, secrets: Sequence[str]) -> HttpClient:
    """Open an interface, with the private networks and the proxy of the configuration."""
    guard, proxy = guard_and_proxy(config, spec)
    return HttpClient(spec, secrets, HttpTransport(spec, guard, proxy, {}, secrets))
