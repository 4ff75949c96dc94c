"""Monitor of silent PBXs: each is compared with its own traffic, or with the configured minutes."""

import asyncio
import logging
from datetime import datetime, timedelta

from onhook.appdb.appdb import AppDb
from onhook.appdb.pbxs import Pbx
from onhook.cdr.merge import ROW_CHANNELS
from onhook.cdr.record_filter import RecordFilter
from onhook.cdr.silence_detection import WEEKS_COMPARED, is_suspicious_silence
from onhook.lib.clock import Clock
from onhook.lib.errors import OnhookError
from onhook.store.contract import Store

CHECK_SECONDS = 300.0
"""How often all PBXs are checked; each check reads four weeks of one PBX by the hour."""

SILENCE_MIN = timedelta(minutes=10)
"""A shorter silence is normal for any PBX, and not worth reading its weeks."""

RECENT_RECORDS_MAX = 200
"""Among so many records the last pushed one is searched: all the others were fetched."""

HINT = (
    "check whether the PBX can reach the intake, and whether its webhook is enabled; `onhook doctor` with "
    "its name helps"
)


class SilenceMonitor:
    """Created once per process. It raises alarms; it never sends a request to a PBX."""

    def __init__(self, *, appdb: AppDb, store: Store, clock: Clock) -> None:
        self._appdb = appdb
        self._store = store
        self._clock = clock

    async def run(self) -> None:
        """Check until cancelled."""
        while True:
            try:
                await self.check_all()
            except OnhookError as error:
                logging.getLogger("silence").error("silence check failed", extra={"error": str(error)})
            await asyncio.sleep(CHECK_SECONDS)

    async def check_all(self) -> None:
        """Begin and end the alarms of silence."""
        now = self._clock.now()
        for pbx in await self._appdb.pbxs():
            last_at = await self._last_pushed_at(pbx)
            if last_at is not None and await self._is_silent_too_long(pbx, last_at, now):
                detail = f"no call end event since {last_at:%Y-%m-%d %H:%M} UTC"
                await self._appdb.alarms.raise_alarm(
                    pbx.sn, "silence", detail, hint=HINT, now_us=self._clock.microseconds()
                )
            else:
                await self._appdb.alarms.end(pbx.sn, "silence", now_us=self._clock.microseconds())

    async def _last_pushed_at(self, pbx: Pbx) -> datetime | None:
        """Return the time of the last event that the PBX sent itself; None without one."""
        page = await self._store.records(RecordFilter(sn=pbx.sn), RECENT_RECORDS_MAX)
        return max((record.received_at for record in page.data if record.via not in ROW_CHANNELS), default=None)

    async def _is_silent_too_long(self, pbx: Pbx, last_at: datetime, now: datetime) -> bool:
        minutes = await self._appdb.sync_states.silence_minutes(pbx.sn)
        if minutes is not None:
            return 0 < minutes <= (now - last_at).total_seconds() / 60
        if now - last_at < SILENCE_MIN:
            return False
        since = now - timedelta(weeks=WEEKS_COMPARED + 1)
        rows = await self._store.summary(RecordFilter(sn=pbx.sn, since=since), "hour", "UTC")
        return is_suspicious_silence({_parse_hour(row["hour"]): row["calls"] for row in rows}, last_at, now)


def _parse_hour(value: str | datetime) -> datetime:
    return value if isinstance(value, datetime) else datetime.fromisoformat(value)
