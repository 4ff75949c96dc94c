"""Monitor of silent PBXs: each is compared with its own traffic, or with the configured minutes."""

import logging
import shlex
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from onhook.appdb.appdb import AppDb
from onhook.appdb.pbxs import Pbx
from onhook.appdb.source_match import FILE_DIALECTS, LINE_DIALECTS
from onhook.cdr.merge import LATE_CHANNELS
from onhook.cdr.record_filter import RecordFilter
from onhook.cdr.silence_detection import WEEKS_COMPARED, is_suspicious_silence
from onhook.lib.clock import Clock
from onhook.lib.messages import _
from onhook.lib.periodic_job import run_periodically
from onhook.lib.timestamps import format_time
from onhook.lib.transition_log import TransitionLog
from onhook.store.contract import Store

_UTC = ZoneInfo("UTC")

CHECK_SECONDS = 300.0
"""How often all PBXs are checked; each check reads four weeks of one PBX by the hour."""

SILENCE_MIN = timedelta(minutes=10)
"""A shorter silence is normal for any PBX, and not worth reading its weeks."""


class SilenceMonitor:
    """Created once per process. It raises alarms; it never sends a request to a PBX."""

    def __init__(self, *, appdb: AppDb, store: Store, clock: Clock, zone: ZoneInfo = _UTC) -> None:
        """Times in the texts of alarms are shown in `zone`; hours are those of it where a PBX has none of its own."""
        self._appdb = appdb
        self._store = store
        self._clock = clock
        self._zone = zone

    async def run(self) -> None:
        """Check until cancelled."""
        log = logging.getLogger("silence")
        failure_log = TransitionLog(log, begins="silence cannot be checked", ends="silence can be checked again")
        await run_periodically(self.check_all, CHECK_SECONDS, failure_log)

    async def check_all(self) -> None:
        """Begin and end the alarms of silence."""
        now = self._clock.now()
        # By the time of receipt: the time of a call is by the PBX's clock, which may be or have been wrong.
        last_pushed_at = await self._store.last_received_at(sorted(LATE_CHANNELS))
        for pbx in await self._appdb.pbxs():
            last_at = last_pushed_at.get(pbx.sn)
            if last_at is not None and await self._is_silent_too_long(pbx, last_at, now):
                detail = _("no call end event since {last_at}", last_at=format_time(last_at, self._zone))
                hint = _hint(pbx)
                await self._appdb.alarms.raise_alarm(
                    pbx.sn, "silence", detail, hint=hint, now_us=self._clock.microseconds()
                )
            else:
                await self._appdb.alarms.end(pbx.sn, "silence", now_us=self._clock.microseconds())

    async def _is_silent_too_long(self, pbx: Pbx, last_at: datetime, now: datetime) -> bool:
        minutes = await self._appdb.sync_states.silence_minutes(pbx.sn)
        if minutes is not None:
            return 0 < minutes <= (now - last_at).total_seconds() / 60
        if now - last_at < SILENCE_MIN:
            return False
        since = now - timedelta(weeks=WEEKS_COMPARED + 1)
        zone = pbx.zone_info or self._zone
        rows = await self._store.summary(RecordFilter(sn=pbx.sn, since=since), "hour", zone.key)
        return is_suspicious_silence({_parse_hour(row["hour"]): row["calls"] for row in rows}, last_at, now, zone)


def _hint(pbx: Pbx) -> str:
    command = f"`onhook doctor {shlex.quote(pbx.name)}`"
    if pbx.dialect in LINE_DIALECTS:
        return _("check whether the PBX is connected, and still writes its lines; {command} helps", command=command)
    if pbx.dialect in FILE_DIALECTS:
        return _("check whether the PBX still delivers its files to the folder; {command} helps", command=command)
    return _(
        "check whether the PBX can reach the intake, and whether its webhook is enabled; {command} helps",
        command=command,
    )


def _parse_hour(value: str | datetime) -> datetime:
    return value if isinstance(value, datetime) else datetime.fromisoformat(value)
