"""How the servers of a ledger on NATS JetStream are: each by its page of figures, the replicas of both streams by their
leader.
"""

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from onhook.ledger.health import LedgerHealth, ServerHealth, StreamHealth
from onhook.ledger.jetstream_address import parse_jetstream_address
from onhook.ledger.jetstream_client import JetStreamClient
from onhook.ledger.jetstream_server import VERSION_MIN, read_settings, writes_before_confirming
from onhook.ledger.jetstream_streams import StreamNames
from onhook.lib.clock import Clock
from onhook.lib.errors import OnhookError
from onhook.lib.messages import _

CALL_SECONDS = 5.0
"""A person waits for it, and a leader may be elected meanwhile."""


async def read_health(url: str, clock: Clock) -> LedgerHealth:
    """Return how the servers and the streams of a ledger are. Raises `UsageError` for a URL that is none."""
    address = parse_jetstream_address(url)
    # Without their port no page can be read.
    hosts = address.hosts if address.monitor_port else ()
    servers = await asyncio.gather(*(_read_server(host, address.monitor_port, clock) for host in hosts))
    client = JetStreamClient(address, call_seconds=CALL_SECONDS)
    names = StreamNames(address.stream)
    try:
        streams = [await _read_stream(client, name) for name in (names.entries, names.state)]
    except OnhookError as error:
        return LedgerHealth(servers=servers, error=error.message, hint=error.hint)
    finally:
        await client.close()
    return LedgerHealth(servers=servers, streams=streams)


async def _read_server(host: str, port: int, clock: Clock) -> ServerHealth:
    started_at = clock.now()
    try:
        settings = await read_settings(host, port)
    except (OSError, TimeoutError, ValueError) as error:
        return ServerHealth(host=host, error=str(error) or _("no answer in time"))
    version = str(settings.get("version", ""))
    return ServerHealth(
        host=host,
        name=str(settings.get("server_name", "")),
        version=version,
        is_version_sufficient=_parse_version(version) >= VERSION_MIN,
        writes_before_it_confirms=writes_before_confirming(settings),
        clock_offset=_measure_offset(settings.get("now"), started_at, clock.now()),
    )


def _parse_version(text: str) -> tuple[int, ...]:
    numbers = text.partition("-")[0].split(".")
    return tuple(map(int, numbers)) if all(number.isdigit() for number in numbers) else ()


def _measure_offset(text: object, started_at: datetime, ended_at: datetime) -> timedelta:
    """Return by how much a clock is ahead that showed a time between two of our own: nothing where it may be equal."""
    try:
        shown_at = datetime.fromisoformat(str(text))
    except ValueError:
        return timedelta()
    return max(shown_at - ended_at, timedelta()) or min(shown_at - started_at, timedelta())


async def _read_stream(client: JetStreamClient, name: str) -> StreamHealth:
    information = await client.call(f"STREAM.INFO.{name}")
    cluster: Mapping[str, Any] = information.get("cluster") or {}
    replicas = cluster.get("replicas") or []
    away = [str(replica["name"]) for replica in replicas if replica.get("offline")]
    behind = [str(replica["name"]) for replica in replicas if not replica.get("current") and not replica.get("offline")]
    return StreamHealth(
        name=name,
        leader=str(cluster.get("leader", "")),
        configured=int(information["config"]["num_replicas"]),
        wanted=client.address.replicas,
        away=away,
        behind=behind,
    )
