"""Syslog over TCP or TLS: a message for each notification (`syslog_message`).

Invariants: the protocol has no confirmation, so a batch has a connection of its own: Onhook ends its side after the
last message, and the batch is accepted once the server, which reads to the end before, has closed the other side. What
a server lost later, such as from a queue in memory, is not sent again.
"""

import asyncio
import json
import socket
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from urllib.parse import urlsplit

from onhook.appdb.destination_spec import OPERATIONAL, DestinationSpec
from onhook.cdr.record import Record
from onhook.config import Config
from onhook.delivery.destinations.contract import DETAIL_CHARACTERS_MAX, DeliveryResult, Notification, SendLimits
from onhook.delivery.destinations.kinds import SyslogFields, decode_fields
from onhook.delivery.destinations.socket_thread import SocketThread
from onhook.delivery.destinations.syslog_message import INFORMATIONAL, WARNING, format_message, format_record, frame
from onhook.delivery.guarded_connection import create_tls_context, describe_connection_error
from onhook.delivery.limited_socket import limit_tls
from onhook.delivery.samples import sample_for, sample_operational_event
from onhook.delivery.ssrf_guard import SsrfGuard, create_ssrf_guard
from onhook.lib.hosts import parse_url_host
from onhook.lib.messages import _

BATCH_MESSAGES = 256
"""Messages of one connection: some hundred kilobytes."""

PORT_DEFAULT, TLS_PORT_DEFAULT = 514, 6514
"""The first is what servers are configured with as a rule; the second is that of RFC 5425."""

TEST_BODY = b'{"event": "test"}'
RESPONSE_BYTES_MAX = 65_536
"""A server that sends more is none of syslog."""

_MICROSECONDS = 1_000_000


class SyslogClient:
    """See `contract.DestinationClient`."""

    limits = SendLimits(attempts_max=1, batch_count=BATCH_MESSAGES)

    def __init__(self, spec: DestinationSpec, guard: SsrfGuard) -> None:
        self._spec = spec
        self._fields: SyslogFields = decode_fields(spec, SyslogFields)
        self._is_tls = urlsplit(spec.url).scheme == "syslog+tls"
        self._guard = guard
        self._thread = SocketThread("syslog")

    def __repr__(self) -> str:
        return f"SyslogClient({self._spec.url!r})"

    def format_payload(self, record: Record) -> bytes:
        message_id = "call" if self._spec.notifies_of == "calls" else "record"
        return format_record(record, message_id, self._fields.facility)

    def format_test_payload(self) -> bytes:
        return TEST_BODY

    def format_sample_payload(self, now: datetime) -> bytes:
        if self._spec.notifies_of in OPERATIONAL:
            return sample_operational_event(self._spec.notifies_of, now)
        return self.format_payload(sample_for(self._spec, now))

    async def send(self, notifications: Sequence[Notification]) -> Sequence[DeliveryResult]:
        data = b"".join(frame(self._to_message(notification)) for notification in notifications)
        default_port = TLS_PORT_DEFAULT if self._is_tls else PORT_DEFAULT
        try:
            async with asyncio.timeout(self._spec.timeout_seconds):
                connected_socket = await self._thread.connect(
                    self._spec.url, default_port, self._guard, self._spec.timeout_seconds
                )
                await self._thread.run(partial(self._write, connected_socket, data))
            result = DeliveryResult(outcome="accepted", detail=_("read by the server"))
        except TimeoutError:
            result = self._failure(
                _("no response within {seconds:g} seconds", seconds=self._spec.timeout_seconds), notifications
            )
        except OSError as error:
            result = self._failure(describe_connection_error(error), notifications)
        self._thread.disconnect()
        return [result] * len(notifications)

    async def close(self) -> None:
        self._thread.close()

    def _to_message(self, notification: Notification) -> bytes:
        """Return the message of a notification; that of an alarm, an issue or a test is written now."""
        if not notification.body.startswith(b"{"):
            return notification.body
        is_test = notification.body == TEST_BODY
        text = json.dumps(json.loads(notification.body))
        return format_message(
            self._fields.facility * 8 + (INFORMATIONAL if is_test else WARNING),
            datetime.fromtimestamp(notification.attempted_at / _MICROSECONDS, UTC),
            "test" if is_test else self._spec.notifies_of.removesuffix("s"),
            text,
            hostname="",
            parameters={"id": notification.notification_id},
        )

    def _failure(self, detail: str, notifications: Sequence[Notification]) -> DeliveryResult:
        return DeliveryResult(
            outcome="unreachable", detail=detail[:DETAIL_CHARACTERS_MAX], is_shared=len(notifications) > 1
        )

    # In the thread

    def _write(self, connected_socket: socket.socket, data: bytes) -> None:
        """Send everything, and wait until the server has read it. Raises `OSError`."""
        if not self._is_tls:
            with connected_socket:
                connected_socket.sendall(data)
                connected_socket.shutdown(socket.SHUT_WR)
                return _wait_for_end(connected_socket)
        context = limit_tls(create_tls_context(self._spec.ca_certificates), connected_socket)
        host = parse_url_host(self._spec.url).text
        with connected_socket, context.wrap_socket(connected_socket, server_hostname=host) as tls_socket:
            tls_socket.sendall(data)
            return _end_tls(tls_socket)


def _wait_for_end(connected_socket: socket.socket) -> None:
    """Read until the server closes. Raises `OSError` where it resets the connection, or sends without an end."""
    size = 0
    while response := connected_socket.recv(4096):
        size += len(response)
        if size > RESPONSE_BYTES_MAX:
            raise OSError(_("the server sends data: this is no syslog server"))


def _end_tls(tls_socket: ssl.SSLSocket) -> None:
    """Announce the end, and wait for the server's. A server that closes without an announcement has read to the end
    too: one that has not resets the connection.
    """
    try:
        tls_socket.unwrap()
    except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
        return
    except OSError as error:
        if error.errno:
            raise


def open_client(config: Config, spec: DestinationSpec, _secrets: Sequence[str]) -> SyslogClient:
    """Open a syslog server, with the private networks of the configuration."""
    return SyslogClient(spec, create_ssrf_guard(config.private_networks, allow_private=spec.allow_private))
