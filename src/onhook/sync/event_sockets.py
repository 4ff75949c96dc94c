"""Settings and alarms of each FreeSWITCH with an event socket, for the connections to it.

A FreeSWITCH drops events where it has too many, and has none for later: the time in which a connection was open is no
coverage.
"""

import shlex
from collections.abc import Sequence

from onhook.appdb.appdb import AppDb
from onhook.appdb.source_match import SOCKET_DIALECTS
from onhook.cdr.sync_types import AlarmKind
from onhook.lib.change_watcher import Version
from onhook.lib.clock import Clock
from onhook.lib.messages import _
from onhook.pbx.client import NumberName
from onhook.pbx.connection import ConnectionProtocol
from onhook.pbx.freeswitch.event_socket import EventSocketProtocol
from onhook.receiver.pbx_registry import RegisteredPbx
from onhook.sync.alarms import connection_alarm_kind
from onhook.sync.ami_connections import TLS_OFF, ConnectionSpec

_ALARM_KINDS: Sequence[AlarmKind] = ("unreachable", "credentials")


class EventSocketState:
    """See the contract, `ami_connections.ConnectionState`."""

    def __init__(self, appdb: AppDb, clock: Clock) -> None:
        self._appdb = appdb
        self._clock = clock
        self._failing_since: dict[str, float] = {}

    async def version(self) -> Version:
        return await self._appdb.version()

    async def wait_for_change(self, version: Version, seconds: float) -> Version:
        return await self._appdb.wait_for_change(version, seconds)

    async def list_specs(self) -> Sequence[ConnectionSpec]:
        """Return every FreeSWITCH with an event socket and a password, which is its newest secret."""
        connections = await self._appdb.line_connections.all()
        if not connections:
            return ()
        names = {pbx.sn: pbx.name for pbx in await self._appdb.pbxs()}
        return [
            _build_spec(credentials.sn, credentials.dialect, names[credentials.sn], address, credentials.secrets[-1])
            for credentials in await self._appdb.webhook_credentials()
            if credentials.dialect in SOCKET_DIALECTS and credentials.secrets and credentials.sn in names
            if (connection := connections.get(credentials.sn)) is not None
            for address in [(connection.host, connection.port)]
        ]

    async def record_starting(self, sn: str) -> None:
        """Nothing is stored."""

    async def record_opened(self, sn: str, now_us: int) -> None:
        self._failing_since.pop(sn, None)
        for kind in _ALARM_KINDS:
            await self._appdb.alarms.end(sn, kind, now_us=now_us)

    async def record_covered(self, sn: str, until: int) -> None:
        """Nothing is stored."""

    async def record_closed(self, sn: str, reason: str, *, is_refused: bool) -> None:
        now_us = self._clock.microseconds()
        failing_seconds = now_us / 1_000_000 - self._failing_since.setdefault(sn, now_us / 1_000_000)
        kind = connection_alarm_kind("unreachable", failing_seconds, needs_operator=is_refused)
        if kind is not None:
            hint = _("run `onhook doctor {pbx}`", pbx=shlex.quote(sn))
            await self._appdb.alarms.raise_alarm(sn, kind, reason, hint=hint, now_us=now_us)

    async def save_detected_config(self, sn: str, text: str) -> None:
        """Nothing is stored."""

    async def save_names(self, sn: str, names: Sequence[NumberName]) -> None:
        """Nothing is stored."""


def _build_spec(sn: str, dialect: str, name: str, address: tuple[str, int], password: str) -> ConnectionSpec:
    async def create_protocol() -> ConnectionProtocol:
        return EventSocketProtocol(password)

    host, port = address
    return ConnectionSpec(
        pbx=RegisteredPbx(sn=sn, dialect=dialect),
        name=name,
        host=host,
        port=port,
        tls=TLS_OFF,
        protocol_factory=create_protocol,
        # A hash, so that the password exists in no more places than needed.
        config_hash=hash((host, port, password)),
    )
