"""Webhook, as the PBX itself sends it (yeastar-p-series.md 4): the event as the body, `X-Signature` over it.

The place of the event in a `GET` request is not documented: it is the body there too, and signed alike.
"""

from collections.abc import Sequence
from datetime import datetime

from yarl import URL

from onhook.appdb.destination_spec import OPERATIONAL, DestinationSpec
from onhook.cdr.record import Record
from onhook.config import Config
from onhook.delivery.destinations.contract import DeliveryResult, Notification, SendLimits
from onhook.delivery.destinations.http_transport import TEST_HEADER, HttpTransport, OutgoingRequest, guard_and_proxy
from onhook.delivery.destinations.standard_webhooks import standard_headers
from onhook.delivery.samples import TEST_BODY, sample_for, sample_operational_event
from onhook.delivery.ssrf_guard import SsrfGuard
from onhook.lib.signing import SIGNATURE_HEADER, sign
from onhook.pbx.dialect import Dialect
from onhook.pbx.yeastar.payload import Yeastar


class WebhookClient:
    """See `contract.DestinationClient`."""

    limits = SendLimits()

    def __init__(
        self, spec: DestinationSpec, secrets: Sequence[str], dialect: Dialect, guard: SsrfGuard, proxy: str = ""
    ) -> None:
        self._spec = spec
        self._secrets = secrets
        self._url = URL(spec.url)
        self._dialect = dialect
        headers = {"Content-Type": "application/json", **spec.headers}
        self._transport = HttpTransport(spec, guard, proxy, headers, secrets)

    def format_payload(self, record: Record) -> bytes:
        return self._dialect.format(record, record.sn, self._spec.payload_format)

    def format_test_payload(self) -> bytes:
        return TEST_BODY

    def format_sample_payload(self, now: datetime) -> bytes:
        if self._spec.notifies_of in OPERATIONAL:
            return sample_operational_event(self._spec.notifies_of, now)
        return self.format_payload(sample_for(self._spec, now))

    async def send(self, notifications: Sequence[Notification]) -> Sequence[DeliveryResult]:
        return [await self._send_event(notification) for notification in notifications]

    async def _send_event(self, notification: Notification) -> DeliveryResult:
        request = OutgoingRequest(
            method=self._spec.method,
            url=self._url,
            headers=self._build_headers(notification),
            body=notification.body,
        )
        return await self._transport.request(request, notification.attempted_at)

    async def close(self) -> None:
        await self._transport.close()

    def _build_headers(self, notification: Notification) -> dict[str, str]:
        """Return the headers. The original has one signature: by the oldest secret, so that a receiver that does not
        have the new secret yet can verify it.
        """
        headers = {SIGNATURE_HEADER: sign(self._secrets[0], notification.body)} if self._secrets else {}
        if notification.is_test:
            headers[TEST_HEADER] = "true"
        if self._spec.with_standard_webhooks:
            headers |= standard_headers(
                notification.notification_id, notification.attempted_at, notification.body, self._secrets
            )
        return headers


def open_client(config: Config, spec: DestinationSpec, secrets: Sequence[str]) -> WebhookClient:
    """Open a webhook, with the private networks and the proxy of the configuration."""
    guard, proxy = guard_and_proxy(config, spec)
    return WebhookClient(spec, secrets, Yeastar(), guard, proxy)
