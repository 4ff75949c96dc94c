"""Settings, protocol and coverage of each Asterisk, for the AMI connections.

Connected times and gaps are stored in the coverage, as for any PBX; a condition that needs an operator is an alarm.
"""

import shlex
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

from onhook.appdb.appdb import AppDb
from onhook.appdb.asterisks import AsteriskPbx, Asterisks
from onhook.cdr.coverage import Interval, add_disconnection, add_interval
from onhook.cdr.sync_types import AlarmKind
from onhook.lib.change_watcher import Version
from onhook.lib.clock import Clock
from onhook.lib.messages import _
from onhook.lib.timestamps import to_datetime
from onhook.pbx.asterisk.call_collector import AsteriskParserConfig
from onhook.pbx.asterisk.connection import AsteriskProtocol, decode_parser_config
from onhook.pbx.asterisk.payload import Asterisk
from onhook.pbx.asterisk.session import AmiCredentials
from onhook.pbx.client import NumberName
from onhook.pbx.connection import ConnectionProtocol
from onhook.receiver.pbx_registry import RegisteredPbx
from onhook.sync.alarms import connection_alarm_kind
from onhook.sync.ami_connections import ConnectionSpec
from onhook.sync.name_reader import list_pbx_names

_CONNECTION_ALARM_KINDS: Sequence[AlarmKind] = ("unreachable", "credentials")

_EARLIEST_TIME = datetime.min.replace(tzinfo=UTC)

COVERAGE_SAVE_INTERVAL = timedelta(minutes=5)
"""Interval at which the connected time is stored in the coverage: each write costs an fsync."""

GAP_AGE_MAX = timedelta(days=31)
"""An older gap stays in the coverage but raises no alarm."""

GAP_FILL_GRACE = timedelta(hours=1)
"""A PBX with a CDR source fills a gap at its next call. A gap that is older than this raises an alarm."""


OnReconnected = Callable[[str], Awaitable[None]]
"""Receives the serial number of a PBX that is connected again."""


class AsteriskConnectionState:
    """See the contract, `ami_connections.ConnectionState`. `on_reconnected` receives each PBX that is
    connected again.
    """

    def __init__(self, appdb: AppDb, clock: Clock, on_reconnected: OnReconnected) -> None:
        self._appdb = appdb
        self._clock = clock
        self._on_reconnected = on_reconnected
        self._asterisks: Asterisks = appdb.asterisks
        self._coverage_saved_until: dict[str, datetime] = {}
        self._failing_since: dict[str, float] = {}
        self.save_detected_config = self._asterisks.set_detected_config

    async def save_names(self, sn: str, names: Sequence[NumberName]) -> None:
        await self._appdb.directory.put_pbx_names(sn, list_pbx_names(sn, names))

    async def version(self) -> Version:
        return await self._appdb.version()

    async def wait_for_change(self, version: Version, seconds: float) -> Version:
        return await self._appdb.wait_for_change(version, seconds)

    async def record_starting(self, sn: str) -> None:
        await self._asterisks.reset_connection(sn)

    async def record_opened(self, sn: str, now_us: int) -> None:
        previous_state = await self._asterisks.get(sn)
        await self._save_connected_interval(previous_state)
        await self._asterisks.set_connected(sn, now_us)
        if previous_state.covered_until is not None:
            reason = _("not connected: {reason}", reason=previous_state.error or _("Onhook was not running"))
            disconnected_at, connected_at = previous_state.covered_until, to_datetime(now_us)
            await self._appdb.sync_states.change_intervals(
                sn, lambda intervals: add_disconnection(intervals, disconnected_at, connected_at, reason)
            )
        self._failing_since.pop(sn, None)
        for kind in _CONNECTION_ALARM_KINDS:
            await self._appdb.alarms.end(sn, kind, now_us=now_us)
        await self._update_gap_alarm(sn)
        await self._on_reconnected(sn)

    async def record_covered(self, sn: str, until: int) -> None:
        await self._asterisks.set_covered_until(sn, until)
        if to_datetime(until) - self._coverage_saved_until.get(sn, _EARLIEST_TIME) >= COVERAGE_SAVE_INTERVAL:
            await self._save_connected_interval(await self._asterisks.get(sn))
            await self._update_gap_alarm(sn)

    async def record_closed(self, sn: str, reason: str, *, is_refused: bool) -> None:
        await self._save_connected_interval(await self._asterisks.get(sn))
        await self._asterisks.set_disconnected(sn, reason)
        now = self._clock.microseconds()
        failing_seconds = now / 1_000_000 - self._failing_since.setdefault(sn, now / 1_000_000)
        kind = connection_alarm_kind("unreachable", failing_seconds, needs_operator=is_refused)
        if kind is not None:
            hint = _("run `onhook doctor {pbx}`", pbx=shlex.quote(sn))
            await self._appdb.alarms.raise_alarm(sn, kind, reason, hint=hint, now_us=now)

    async def _save_connected_interval(self, asterisk: AsteriskPbx) -> None:
        """Store the connected time since the last call of this method; results of a back-fill are not overwritten."""
        if asterisk.connected_at is None or asterisk.covered_until is None:
            return
        since = max(asterisk.connected_at, self._coverage_saved_until.get(asterisk.sn, _EARLIEST_TIME))
        if since >= asterisk.covered_until:
            return
        self._coverage_saved_until[asterisk.sn] = asterisk.covered_until
        connected_interval = Interval(since, asterisk.covered_until, "connected", _("the connection was open"))
        await self._appdb.sync_states.change_intervals(
            asterisk.sn, lambda intervals: add_interval(intervals, connected_interval)
        )

    async def _update_gap_alarm(self, sn: str) -> None:
        """Raise an alarm for a gap that is not filled, or that has no CDR source; end it when there is none."""
        now, source = self._clock.now(), await self._appdb.cdr_sources.get(sn)
        gaps = await find_open_gaps(self._appdb, sn, now)
        if source is not None:
            gaps = [gap for gap in gaps if gap.until < now - GAP_FILL_GRACE]
        if not gaps:
            await self._appdb.alarms.end(sn, "gap", now_us=self._clock.microseconds())
            return
        detail = _(
            "calls may be missing from {since} to {until} UTC: {reason}", reason=gaps[0].reason, **gap_times(gaps[0])
        )
        hint = (
            _("set its CDR source with `onhook pbx change {pbx} --cdr FILE`", pbx=shlex.quote(sn))
            if source is None
            else _("run `onhook doctor {pbx}`", pbx=shlex.quote(sn))
        )
        await self._appdb.alarms.raise_alarm(sn, "gap", detail, hint=hint, now_us=self._clock.microseconds())

    async def list_specs(self) -> Sequence[ConnectionSpec]:
        names = {pbx.sn: pbx.name for pbx in await self._appdb.pbxs()}
        return [
            await self._build_spec(asterisk, names.get(asterisk.sn, asterisk.sn))
            for asterisk in await self._asterisks.all()
        ]

    async def _build_spec(self, asterisk: AsteriskPbx, name: str) -> ConnectionSpec:
        secret = await self._asterisks.get_secret(asterisk.sn)
        config_values = (
            asterisk.host,
            asterisk.port,
            asterisk.user,
            asterisk.tls,
            asterisk.trunks,
            asterisk.inbound,
            asterisk.has_pins,
        )
        return ConnectionSpec(
            pbx=RegisteredPbx(sn=asterisk.sn, dialect=Asterisk.name),
            name=name,
            host=asterisk.host,
            port=asterisk.port,
            tls=asterisk.tls,
            protocol_factory=partial(self._create_protocol, asterisk.sn, AmiCredentials(asterisk.user, secret)),
            # A hash, so that the secret exists in no more places than needed.
            config_hash=hash((*config_values, secret)),
        )

    async def _create_protocol(self, sn: str, login: AmiCredentials) -> ConnectionProtocol:
        """Return a protocol with the stored configuration."""
        asterisk = await self._asterisks.get(sn)
        return AsteriskProtocol(login, build_parser_config(asterisk), detect_trunks=asterisk.trunks is None)


async def find_open_gaps(appdb: AppDb, sn: str, now: datetime) -> list[Interval]:
    """Return the unfilled gaps of the last month."""
    intervals = await appdb.sync_states.intervals(sn)
    return [interval for interval in intervals if interval.state == "gap" and interval.until > now - GAP_AGE_MAX]


def gap_times(gap: Interval) -> dict[str, str]:
    """Return the times of a gap in UTC, `since` and `until`, as `2026-11-24 12:00:05`, for a sentence with both."""
    return {"since": f"{gap.since:%Y-%m-%d %H:%M:%S}", "until": f"{gap.until:%Y-%m-%d %H:%M:%S}"}


def build_parser_config(asterisk: AsteriskPbx) -> AsteriskParserConfig:
    """Return the configuration for parsing the CDRs of an Asterisk: configured or detected."""
    if asterisk.trunks is None:
        detected_config = decode_parser_config(asterisk.detected_config)
        inbound = tuple(dict.fromkeys([*asterisk.inbound, *detected_config.inbound_contexts]))
        return AsteriskParserConfig(trunks=detected_config.trunks, inbound_contexts=inbound, has_pins=asterisk.has_pins)
    return AsteriskParserConfig(trunks=asterisk.trunks, inbound_contexts=asterisk.inbound, has_pins=asterisk.has_pins)
