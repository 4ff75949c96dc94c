"""`/api/v1/coverage`: verified complete times; `/alarms`: alarms of PBXs; back-fills."""

from datetime import datetime, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

import msgspec
from litestar import get, post
from litestar.params import BodyKwarg, QueryParameter
from prometheus_client.core import GaugeMetricFamily, Metric

from onhook.appdb.alarms import Alarm
from onhook.cdr.coverage import Interval, complete_until, fill_gaps
from onhook.cdr.record_filter import TEXT_CHARACTERS_MAX, parse_time
from onhook.cdr.sync_types import BackfillProgress, BackfillRequest, BackfillResult, PbxStatus
from onhook.console.api.pbxs import Name
from onhook.console.parameters import ReaderZone
from onhook.console.problem_documents import PROBLEMS
from onhook.console.state import AppState, AppStateDep
from onhook.lib.errors import UsageError
from onhook.lib.messages import _

DAYS_DEFAULT = 7
"""Default period of the coverage."""

TimeQuery = Annotated[str, QueryParameter(description="As `since` of the filters", max_length=TEXT_CHARACTERS_MAX)]
PbxName = Annotated[str, QueryParameter(description="Name or serial number of one PBX", max_length=TEXT_CHARACTERS_MAX)]
TimeText = Annotated[str, msgspec.Meta(max_length=TEXT_CHARACTERS_MAX)]


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


class CoverageList(msgspec.Struct, frozen=True):
    """All PBXs, by name."""

    data: list[PbxCoverage]
    next: None = None


class NamedAlarm(Alarm, frozen=True, kw_only=True):
    """An alarm with the name of its PBX."""

    pbx: str


class AlarmList(msgspec.Struct, frozen=True):
    """Open alarms first, then the latest."""

    data: list[NamedAlarm]
    next: None = None


class NewBackfill(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Calls to fetch from the PBX, by when they began; times as in the filters, and an empty `until` is now."""

    since: TimeText
    until: TimeText = ""


class Backfill(msgspec.Struct, frozen=True, kw_only=True):
    """The requested back-fill, the progress of the running one, and the result of the last one."""

    request: BackfillRequest | None
    progress: BackfillProgress | None
    result: BackfillResult | None


@get("/coverage", summary="Read the coverage", tags=["coverage"], responses=PROBLEMS)
async def read_coverage(
    app_state: AppStateDep, reader_zone: ReaderZone, pbx: PbxName = "", since: TimeQuery = "", until: TimeQuery = ""
) -> CoverageList:
    """Read the coverage, by when calls ended: `complete` was compared with the PBX, `connected` was received live, else
    `gap`.
    """
    now = app_state.clock.now()
    begin = parse_time(since, reader_zone, now, name="since") if since else now - timedelta(days=DAYS_DEFAULT)
    end = parse_time(until, reader_zone, now, name="until") if until else now
    if begin >= end:
        raise UsageError(_("since is not before until"), hint=_("exchange the two"))
    return CoverageList(list_coverage(app_state, begin, end, pbx))


@get("/alarms", summary="List alarms", tags=["coverage"], responses=PROBLEMS)
async def list_alarms(app_state: AppStateDep) -> AlarmList:
    """List alarms of PBXs. `ended_at` is null while an alarm is open."""
    return AlarmList(list_named_alarms(app_state))


@post("/pbxs/{name:str}/backfill", summary="Request a back-fill", tags=["coverage"], responses=PROBLEMS)
async def request_backfill(
    app_state: AppStateDep, reader_zone: ReaderZone, name: Name, data: Annotated[NewBackfill, BodyKwarg()]
) -> Backfill:
    """Request a back-fill. It starts within a second, and replaces a request that has not started."""
    pbx = app_state.appdb.pbx(name)
    app_state.appdb.require_backfill_source(pbx)
    app_state.appdb.sync_states.save_backfill_request(
        pbx.sn, parse_backfill_request(data.since, data.until, reader_zone, app_state.clock.now())
    )
    return get_backfill(app_state, pbx.sn)


@get("/pbxs/{name:str}/backfill", summary="Read the progress of a back-fill", tags=["coverage"], responses=PROBLEMS)
async def read_backfill(app_state: AppStateDep, name: Name) -> Backfill:
    """Read the requested, the running and the last back-fill."""
    return get_backfill(app_state, app_state.appdb.pbx(name).sn)


def parse_backfill_request(since: str, until: str, zone: ZoneInfo, now: datetime) -> BackfillRequest:
    """Return the request described by texts. Raises `UsageError`."""
    begin = parse_time(since, zone, now, name="since")
    end = parse_time(until, zone, now, name="until") if until else None
    if begin >= (end or now):
        raise UsageError(_("since is not before until"), hint=_("exchange the two"))
    return BackfillRequest(
        since=round(begin.timestamp()),
        until=None if end is None else round(end.timestamp()),
        requested_at=round(now.timestamp()),
    )


def list_coverage(app_state: AppState, since: datetime, until: datetime, name: str = "") -> list[PbxCoverage]:
    """Return the coverage of all PBXs, or of one."""
    appdb = app_state.appdb
    backfill_sns = appdb.pbx_credentials.all().keys() | appdb.cdr_sources.all().keys()
    coverages = []
    for pbx in [appdb.pbx(name)] if name else appdb.pbxs():
        intervals = appdb.sync_states.intervals(pbx.sn)
        coverages.append(
            PbxCoverage(
                sn=pbx.sn,
                pbx=pbx.name,
                has_backfill_source=pbx.sn in backfill_sns,
                complete_until=complete_until(intervals),
                pbx_status=appdb.sync_states.pbx_status(pbx.sn),
                intervals=fill_gaps(intervals, since, until),
            )
        )
    return coverages


def list_named_alarms(app_state: AppState) -> list[NamedAlarm]:
    """Return all alarms, with the names of their PBXs."""
    names = {pbx.sn: pbx.name for pbx in app_state.appdb.pbxs()}
    return [
        NamedAlarm(**msgspec.structs.asdict(alarm), pbx=names.get(alarm.sn, ""))
        for alarm in app_state.appdb.alarms.all()
    ]


def coverage_metrics(app_state: AppState) -> list[Metric]:
    """Return the metrics of open alarms, coverage and clocks."""
    alarm_gauge = GaugeMetricFamily("onhook_alarms", "Open alarms", labels=["pbx", "kind"])
    for alarm in list_named_alarms(app_state):
        if alarm.ended_at is None:
            alarm_gauge.add_metric([alarm.pbx, alarm.kind], 1)
    complete_gauge = GaugeMetricFamily(
        "onhook_pbx_complete_until_seconds", "Until when calls are verified complete, Unix seconds", labels=["pbx"]
    )
    skew_gauge = GaugeMetricFamily(
        "onhook_pbx_clock_skew_seconds", "The PBX's clock minus this server's", labels=["pbx"]
    )
    now = app_state.clock.now()
    for coverage in list_coverage(app_state, now - timedelta(days=1), now):
        if coverage.complete_until is not None:
            complete_gauge.add_metric([coverage.pbx], coverage.complete_until.timestamp())
        if coverage.pbx_status is not None and coverage.pbx_status.skew_seconds is not None:
            skew_gauge.add_metric([coverage.pbx], coverage.pbx_status.skew_seconds)
    return [alarm_gauge, complete_gauge, skew_gauge]


def get_backfill(app_state: AppState, sn: str) -> Backfill:
    """Return the requested, the running and the last back-fill."""
    sync_states = app_state.appdb.sync_states
    return Backfill(
        request=sync_states.backfill_request(sn),
        progress=sync_states.backfill_progress(sn),
        result=sync_states.backfill_result(sn),
    )
