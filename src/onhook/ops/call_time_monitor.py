"""Monitor of PBXs whose clock is wrong, by their calls: a call is reported when it ends, so its end is about now.

Invariants: only channels that report calls as they end count; back-fill and files bring old calls. One call decides
nothing: three in a row are an alarm, and one that is right ends it. A call without evidence of its offset from UTC is
compared with the offset that other calls of the PBX have shown in the hours before; later ones are not judged, because
daylight saving time may have begun or ended. A line is written at once and says nothing about its zone: there each
quarter of an hour counts, where twenty in a row agree.
"""

import logging
import shlex
from collections import deque
from collections.abc import Sequence
from datetime import datetime, timedelta

from onhook.appdb.appdb import AppDb
from onhook.cdr.merge import LATE_CHANNELS, LINE
from onhook.cdr.record import Record
from onhook.cdr.utc_offset import OFFSET_SECONDS_MAX, OFFSET_STEP_SECONDS, format_offset, parse_offset
from onhook.lib.clock import Clock
from onhook.lib.messages import _
from onhook.lib.periodic_job import run_periodically
from onhook.lib.transition_log import TransitionLog
from onhook.store.contract import Store

CHECK_SECONDS = 10.0
"""How often new records are looked at."""

DIFFERENCE_MAX = timedelta(hours=1)
"""A webhook is retried for some seconds, an agent's notes may delay an event by minutes."""

ZONE_DIFFERENCE_MAX = timedelta(seconds=OFFSET_SECONDS_MAX) + DIFFERENCE_MAX
"""No time zone explains more."""

OFFSET_MAX_AGE = timedelta(hours=3)
"""An offset from UTC is used for calls of the same working day; clocks are changed at night."""

CALLS_IN_A_ROW = 3
LINES_IN_A_ROW = 20
"""A line that arrives late, as after a broken connection, is no evidence of a zone."""

_QUARTER = timedelta(seconds=OFFSET_STEP_SECONDS)
RECORDS_MAX = 1_000
"""Read at once, and looked back at the start."""


class CallTimeMonitor:
    """Created once per process. It raises and ends alarms of the kind `clock`."""

    def __init__(self, *, appdb: AppDb, store: Store, clock: Clock) -> None:
        self._appdb = appdb
        self._store = store
        self._clock = clock
        self._position: int | None = None
        self._differences: dict[str, deque[timedelta]] = {}
        self._offsets: dict[str, tuple[timedelta, datetime]] = {}
        self._assumed_sns: set[str] = set()
        self._last_call_ids: dict[str, str] = {}
        self._line_offsets: dict[str, timedelta] = {}
        """Offsets from UTC by which the latest lines were read."""

    async def run(self) -> None:
        """Check until cancelled."""
        log = logging.getLogger("call_times")
        failure_log = TransitionLog(log, begins="call times cannot be checked", ends="call times can be checked again")
        await run_periodically(self.check, CHECK_SECONDS, failure_log)

    async def check(self) -> None:
        """Look at the records that came since the last check."""
        if self._position is None:
            self._position = max(0, await self._store.position() - RECORDS_MAX)
        while records := await self._store.records_after(self._position, RECORDS_MAX):
            changed_sns = {record.sn for record in records if self._add(record)}
            for sn in sorted(changed_sns):
                await self._set_alarm(sn)
            self._position = records[-1].seq

    def _add(self, record: Record) -> bool:
        """Add a record that was reported live; return whether it is another call than the last one, and is judged."""
        if record.via in LATE_CHANNELS or record.call_id == self._last_call_ids.get(record.sn):
            return False
        self._last_call_ids[record.sn] = record.call_id
        calls_max = LINES_IN_A_ROW if record.via == LINE else CALLS_IN_A_ROW
        differences = self._differences.setdefault(record.sn, deque(maxlen=calls_max))
        difference = (record.ended_at or record.started_at) - record.received_at
        if record.via == LINE:
            self._line_offsets[record.sn] = parse_offset(record.utc_offset)
            differences.append(round(difference / _QUARTER) * _QUARTER)
            return True
        if record.offset_from == "ids":
            self._offsets[record.sn] = parse_offset(record.utc_offset), record.received_at
        is_assumed = record.offset_from == "assumed"
        if is_assumed and record.sn in self._offsets:
            offset, seen_at = self._offsets[record.sn]
            if record.received_at - seen_at > OFFSET_MAX_AGE:
                return False
            # Its times are the wall clock of the PBX, read as UTC.
            difference, is_assumed = difference - offset, False
        differences.append(difference)
        (self._assumed_sns.add if is_assumed else self._assumed_sns.discard)(record.sn)
        return True

    async def _set_alarm(self, sn: str) -> None:
        """Raise or end the alarm of one PBX."""
        differences = self._differences[sn]
        if sn in self._line_offsets:
            await self._set_line_alarm(sn, differences)
            return
        now_us = self._clock.microseconds()
        if abs(differences[-1]) <= DIFFERENCE_MAX:
            await self._appdb.alarms.end(sn, "clock", now_us=now_us)
        elif len(differences) == CALLS_IN_A_ROW and all(abs(item) > DIFFERENCE_MAX for item in differences):
            may_be_zone = sn in self._assumed_sns and abs(differences[-1]) <= ZONE_DIFFERENCE_MAX
            pbx = await self._appdb.find_pbx_by_sn(sn)
            hint = _hint(sn if pbx is None else pbx.name, may_be_zone=may_be_zone)
            await self._appdb.alarms.raise_alarm(
                sn, "clock", describe_difference(differences[-1]), hint=hint, now_us=now_us
            )

    async def _set_line_alarm(self, sn: str, differences: Sequence[timedelta]) -> None:
        """Raise or end the alarm of a PBX that writes lines."""
        now_us = self._clock.microseconds()
        if not differences[-1]:
            await self._appdb.alarms.end(sn, "clock", now_us=now_us)
        elif len(differences) == LINES_IN_A_ROW and len(set(differences)) == 1:
            pbx = await self._appdb.find_pbx_by_sn(sn)
            offset = self._line_offsets[sn] + differences[-1]
            hint = _line_hint(sn if pbx is None else pbx.name, offset)
            detail = describe_difference(differences[-1], count=LINES_IN_A_ROW)
            await self._appdb.alarms.raise_alarm(sn, "clock", detail, hint=hint, now_us=now_us)


def describe_difference(difference: timedelta, count: int = CALLS_IN_A_ROW) -> str:
    """Return what is wrong, with the difference in whole seconds.

    >>> describe_difference(timedelta(days=-2, hours=-1))
    "the PBX's last 3 calls ended 2 days, 1:00:00 before they were received"
    """
    whole = timedelta(seconds=abs(round(difference.total_seconds())))
    if difference < timedelta():
        return _(
            "the PBX's last {count} calls ended {difference} before they were received",
            count=count,
            difference=whole,
        )
    return _(
        "the PBX's last {count} calls ended {difference} after they were received",
        count=count,
        difference=whole,
    )


def _line_hint(name: str, offset: timedelta) -> str:
    if abs(offset) > timedelta(seconds=OFFSET_SECONDS_MAX):
        return _hint(name, may_be_zone=False)
    return _(
        "set the zone to one at UTC{offset}: `onhook pbx change {name} --zone ZONE`, then run `onhook rebuild`; or set"
        " the clock of the PBX",
        offset=format_offset(offset),
        name=shlex.quote(name),
    )


def _hint(name: str, *, may_be_zone: bool) -> str:
    if may_be_zone:
        return _(
            "its calls do not contain its time zone, and UTC is assumed: set it with"
            " `onhook pbx change {name} --zone ZONE`, then run `onhook rebuild`; or set the clock of the PBX",
            name=shlex.quote(name),
        )
    return _("set the time and the time zone of the PBX, preferably by NTP; its calls are stored with the wrong times")
