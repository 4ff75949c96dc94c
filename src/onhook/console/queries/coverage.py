"""Coverage and alarms of PBXs, and back-fills."""

from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec

from onhook.appdb.alarms import Alarm
from onhook.cdr.coverage import Interval, complete_until, fill_gaps
from onhook.cdr.record_filter import parse_period
from onhook.cdr.sync_types import BackfillProgress, BackfillRequest, BackfillResult, PbxStatus
from onhook.console.state import AppState


class PbxCoverage(msgspec.Struct, frozen=True, kw_only=True):
    """Coverage of one PBX: `intervals` cover the requested time, by when calls ended; `complete_until` is null where
    nothing was compared yet; `has_backfill_source`: whether past calls can be fetched at all.
    """

    sn: str
    pbx: str
    has_backfill_source: bool
    complete_until: datetime | None
    pbx_status: PbxStatus | None
    intervals: list[Interval]


class NamedAlarm(Alarm, frozen=True, kw_only=True):
    """An alarm with the name of its PBX."""

    pbx: str


class Backfill(msgspec.Struct, frozen=True, kw_only=True):
    """The requested back-fill, the progress of the running one, and the result of the last one."""

    request: BackfillRequest | None
    progress: BackfillProgress | None
    result: BackfillResult | None


async def list_coverage(app_state: AppState, since: datetime, until: datetime, name: str = "") -> list[PbxCoverage]:
    """Return the coverage of all PBXs, or of one."""
    appdb = app_state.appdb
    backfill_sns = await list_backfill_sns(app_state)
    coverages = []
    for pbx in [await appdb.pbx(name)] if name else await appdb.pbxs():
        intervals = await appdb.sync_states.intervals(pbx.sn)
        coverages.append(
            PbxCoverage(
                sn=pbx.sn,
                pbx=pbx.name,
                has_backfill_source=pbx.sn in backfill_sns,
                complete_until=complete_until(intervals),
                pbx_status=await appdb.sync_states.pbx_status(pbx.sn),
                intervals=fill_gaps(intervals, since, until),
            )
        )
    return coverages


async def list_backfill_sns(app_state: AppState) -> frozenset[str]:
    """Return the serial numbers of the PBXs from which past calls can be fetched."""
    appdb = app_state.appdb
    return frozenset((await appdb.pbx_credentials.all()).keys() | (await appdb.cdr_sources.all()).keys())


async def list_named_alarms(app_state: AppState, *, only_open: bool = False) -> list[NamedAlarm]:
    """Return all alarms, or the open ones, with the names of their PBXs."""
    names = {pbx.sn: pbx.name for pbx in await app_state.appdb.pbxs()}
    alarms = app_state.appdb.alarms
    return [
        NamedAlarm(**msgspec.structs.asdict(alarm), pbx=names.get(alarm.sn, ""))
        for alarm in await (alarms.open_alarms() if only_open else alarms.all())
    ]


async def get_backfill(app_state: AppState, sn: str) -> Backfill:
    """Return the requested, the running and the last back-fill."""
    sync_states = app_state.appdb.sync_states
    return Backfill(
        request=await sync_states.backfill_request(sn),
        progress=await sync_states.backfill_progress(sn),
        result=await sync_states.backfill_result(sn),
    )


def parse_backfill_request(since: str, until: str, zone: ZoneInfo, now: datetime) -> BackfillRequest:
    """Return the request described by texts. Raises `UsageError`."""
    begin, end = parse_period(since, until, zone, now)
    return BackfillRequest(
        since=round(begin.timestamp()),
        until=round(end.timestamp()) if until else None,
        requested_at=round(now.timestamp()),
    )
