"""Redis streams: an entry for each notification, with its headers and its body as fields, confirmed by its id.

Invariants: the commands of a batch are sent at once, and each has a reply of its own. A stream has no deduplication, so
a repeat is another entry with the same `onhook-id`.
"""

import asyncio
import re
from collections.abc import Sequence
from urllib.parse import unquote, urlsplit

import redis.exceptions
from redis.asyncio.connection import Connection, SSLConnection

from onhook.appdb.destination_spec import DestinationSpec
from onhook.config import Config
from onhook.delivery.destinations.broker_client import (
    BrokerClient,
    MessageOutcome,
    NameRefused,
    NotConfirmed,
)
from onhook.delivery.destinations.broker_message import BrokerMessage, fill_name, name_pattern
from onhook.delivery.destinations.contract import DeliveryResult
from onhook.delivery.destinations.kinds import RedisFields, decode_fields
from onhook.delivery.guarded_connection import create_tls_context
from onhook.delivery.ssrf_guard import create_ssrf_guard
from onhook.lib.hosts import parse_url_host
from onhook.lib.messages import _

PORT_DEFAULT = 6379

_KEY_ERROR = re.compile(r"^WRONGTYPE\b|\bpermissions to access\b")
"""What Redis says about one key: it is no stream, or the user may not use it."""

Argument = str | bytes | int


class RedisConnection:
    """See `broker_client.BrokerConnection`. Streams are shortened to `length` where it is not 0."""

    def __init__(self, connection: Connection, pattern: str, length: int) -> None:
        self._connection = connection
        self._pattern = pattern
        self._length = length

    async def publish(self, messages: Sequence[BrokerMessage], until: float) -> Sequence[MessageOutcome]:
        commands = self._connection.pack_commands([self._command(message) for message in messages])
        await self._connection.send_packed_command(commands, check_health=False)
        outcomes: list[MessageOutcome] = []
        while len(outcomes) < len(messages):
            try:
                async with asyncio.timeout_at(until):
                    entry_id = await self._connection.read_response()
                detail = _("stored as {entry_id}", entry_id=entry_id.decode())
                outcomes.append(DeliveryResult(outcome="accepted", detail=detail))
            except redis.exceptions.ResponseError as error:  # about the stream, or the state of the server
                outcomes.append(NameRefused(str(error)) if _KEY_ERROR.search(str(error)) else error)
            except TimeoutError:
                outcomes += [NotConfirmed()] * (len(messages) - len(outcomes))
            except redis.exceptions.RedisError as error:
                outcomes += [error] * (len(messages) - len(outcomes))
        return outcomes

    async def is_open(self) -> bool:
        # Between two batches the server sends nothing but the end of the connection.
        return not await self._connection.can_read()

    async def close(self) -> None:
        await self._connection.disconnect()

    def _command(self, message: BrokerMessage) -> Sequence[Argument]:
        length: Sequence[Argument] = ("MAXLEN", "~", self._length) if self._length else ()
        fields = [part for header in message.headers.items() for part in header]
        return ("XADD", fill_name(self._pattern, message), *length, "*", *fields, "body", message.body)


class RedisDriver:
    """See `broker_client.BrokerDriver`."""

    name = "redis"
    errors: tuple[type[Exception], ...] = (redis.exceptions.RedisError,)

    def __init__(self, spec: DestinationSpec) -> None:
        parts = urlsplit(spec.url)
        self._has_tls = parts.scheme == "rediss"
        self._host, self._port = parse_url_host(spec.url).text, parts.port or PORT_DEFAULT
        self._user, self._database = unquote(parts.username or ""), int(parts.path.strip("/") or 0)
        self._pattern = name_pattern(spec)
        self._length: int = decode_fields(spec, RedisFields).stream_length
        self._ca_certificates = spec.ca_certificates

    async def connect(self, password: str) -> RedisConnection:
        connection = (SSLConnection if self._has_tls else Connection)(
            host=self._host,
            port=self._port,
            db=self._database,
            username=(self._user or None) if password else None,
            password=password or None,
            socket_timeout=None,  # that of the destination covers the whole batch
            socket_connect_timeout=None,
            protocol=2,
            driver_info=None,
        )
        if isinstance(connection, SSLConnection):
            connection.ssl_context.context = create_tls_context(self._ca_certificates)
        await connection.connect()
        return RedisConnection(connection, self._pattern, self._length)

    def is_login_error(self, error: Exception) -> bool:
        return isinstance(error, redis.exceptions.AuthenticationError)


def open_client(config: Config, spec: DestinationSpec, secrets: Sequence[str]) -> BrokerClient:
    """Open a Redis server, with the private networks of the configuration."""
    guard = create_ssrf_guard(config.private_networks, allow_private=spec.allow_private)
    return BrokerClient(spec, secrets, guard, RedisDriver(spec))
