"""Webhook, as the PBX itself sends it (yeastar-p-series.md 4): the event as the body, `X-Signature` over it.

Invariants: redirects are not followed. Behind a proxy the guard holds too: the name is looked up here, and the proxy is
asked for the address that was checked. The place of the event in a `GET` request is not documented: it is the body
there too, and signed alike.
"""

import asyncio
import ssl
from collections.abc import Sequence
from datetime import datetime

import aiohttp
import msgspec
from yarl import URL

from onhook.appdb.destination_spec import OPERATIONAL, DestinationSpec
from onhook.cdr.record import Record
from onhook.config import Config
from onhook.delivery.destinations.contract import DeliveryResult, Notification, SendLimits
from onhook.delivery.destinations.interim_responses import LimitedResponse
from onhook.delivery.destinations.standard_webhooks import standard_headers
from onhook.delivery.destinations.webhook_response import describe_error, read_result
from onhook.delivery.samples import sample_operational_event, sample_record
from onhook.delivery.ssrf_guard import SsrfGuard, create_ssrf_guard, resolve_host
from onhook.lib.certificates import create_trust
from onhook.lib.hosts import NO_PROXY, parse_url_host
from onhook.lib.messages import _
from onhook.lib.signing import SIGNATURE_HEADER, sign
from onhook.pbx.dialect import Dialect
from onhook.pbx.yeastar.payload import Yeastar

CONNECTIONS_MAX = 16
"""Connections to one destination: twice the concurrent attempts, so that a closing connection delays none."""

HEADER_BYTES_MAX = 16 * 1024
"""Of one header of a response, and of its first line."""

TEST_BODY = b'{"event":"test"}'
"""The test message of the original (yeastar-p-series.md 4)."""

TEST_HEADER = "X-Onhook-Test"
"""Marks a test, also one with a sample event."""

USER_AGENT = "Onhook"


class WebhookClient:
    """See `contract.DestinationClient`."""

    limits = SendLimits()

    def __init__(
        self, spec: DestinationSpec, secrets: Sequence[str], dialect: Dialect, guard: SsrfGuard, proxy: str = ""
    ) -> None:
        self._spec = spec
        self._guard = guard
        self._proxy = URL(proxy) if proxy else None
        self._secrets = secrets
        self._url = URL(spec.url)
        self._dialect = dialect
        # Not by threads: slow look-ups would delay all other names, and the stop of the process.
        self._resolver = aiohttp.AsyncResolver()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=CONNECTIONS_MAX,
                # A proxy is the operator's, and in a private network as a rule.
                socket_factory=(msgspec.structs.replace(guard, allow_private=True) if proxy else guard).create_socket,
                resolver=self._resolver,
                ssl=_build_trust(spec),
            ),
            headers={"Content-Type": "application/json", "User-Agent": USER_AGENT, **spec.headers},
            # Responses are only displayed: never decompressed, never stored as cookies.
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            response_class=LimitedResponse,
            max_line_size=HEADER_BYTES_MAX,
            max_field_size=HEADER_BYTES_MAX,
        )

    def format_payload(self, record: Record) -> bytes:
        return self._dialect.format(record, record.sn, self._spec.payload_format)

    def format_test_payload(self) -> bytes:
        return TEST_BODY

    def format_sample_payload(self, now: datetime) -> bytes:
        if self._spec.notifies_of in OPERATIONAL:
            return sample_operational_event(self._spec.notifies_of, now)
        return self.format_payload(sample_record(now, self._spec.mask))

    async def send(self, notifications: Sequence[Notification]) -> Sequence[DeliveryResult]:
        return [await self._send_event(notification) for notification in notifications]

    async def _send_event(self, notification: Notification) -> DeliveryResult:
        time = asyncio.get_running_loop().time
        deadline = time() + self._spec.timeout_seconds
        try:
            async with asyncio.timeout_at(deadline):
                target = _Target(self._url) if self._proxy is None else await self._resolve_target()
            async with self._session.request(
                self._spec.method,
                target.url,
                data=notification.body,
                headers=self._build_headers(notification) | target.headers,
                server_hostname=target.server_hostname,
                proxy=self._proxy,
                timeout=aiohttp.ClientTimeout(total=deadline - time()),
                allow_redirects=False,
            ) as response:
                return await read_result(
                    response, notification.attempted_at, accept_redirects=self._spec.accept_redirects
                )
        except TimeoutError:
            return DeliveryResult(
                outcome="unreachable",
                detail=_("no response within {seconds:g} seconds", seconds=self._spec.timeout_seconds),
            )
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # aiohttp raises ValueError for a name that cannot be encoded, or an invalid URL.
            return DeliveryResult(outcome="unreachable", detail=describe_error(error))

    async def close(self) -> None:
        await self._session.close()
        await self._resolver.close()

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

    async def _resolve_target(self) -> "_Target":
        """Return the address to ask the proxy for. Raises `OSError` for a name without an address, `PermissionError`
        for an address that is not allowed.
        """
        host = parse_url_host(str(self._url))
        addresses, reason = ([host.address], "") if host.address else await resolve_host(host, self._resolver)
        if not addresses:
            raise OSError(_("{host} has no address: {reason}", host=host.text, reason=reason))
        for candidate in addresses:
            self._guard.require_allowed(candidate)
        # A proxy without IPv6 is more frequent than a receiver without IPv4.
        address = min(addresses, key=lambda candidate: candidate.version)
        return _Target(
            self._url.with_host(str(address)),
            headers={"Host": self._url.host_port_subcomponent or host.text},
            server_hostname=host.text,
        )


class _Target(msgspec.Struct, frozen=True):
    """What to request: the URL, with the address instead of the name behind a proxy, which `headers` then contain."""

    url: URL
    headers: dict[str, str] = {}
    server_hostname: str | None = None


def _build_trust(spec: DestinationSpec) -> aiohttp.Fingerprint | ssl.SSLContext | bool:
    """Return the certificates that are trusted: a pinned one, those of the destination, or the system's."""
    if spec.fingerprint:
        return aiohttp.Fingerprint(bytes.fromhex(spec.fingerprint))
    return create_trust(spec.ca_certificates) if spec.ca_certificates else True


def open_client(config: Config, spec: DestinationSpec, secrets: Sequence[str]) -> WebhookClient:
    """Open a webhook, with the private networks and the proxy of the configuration."""
    guard = create_ssrf_guard(config.private_networks, allow_private=spec.allow_private)
    proxy = spec.proxy or config.proxy
    return WebhookClient(spec, secrets, Yeastar(), guard, "" if proxy == NO_PROXY else proxy)
