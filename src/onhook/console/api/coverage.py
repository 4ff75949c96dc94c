"""`/api/v1/coverage`: verified complete times; `/alarms`: alarms of PBXs; back-fills."""

from typing import Annotated

import msgspec
from litestar import get, post
from litestar.params import BodyKwarg, QueryParameter

from onhook.cdr.record_filter import TEXT_CHARACTERS_MAX, parse_period
from onhook.console.parameters import PbxNameOrSn, ReaderZone
from onhook.console.problem_documents import PROBLEMS
from onhook.console.queries.coverage import (
    Backfill,
    NamedAlarm,
    PbxCoverage,
    get_backfill,
    list_coverage,
    list_named_alarms,
    parse_backfill_request,
)
from onhook.console.state import AppStateDep

SINCE_DEFAULT = "7d"
"""Default begin of the coverage."""

TimeQuery = Annotated[str, QueryParameter(description="As `since` of the filters", max_length=TEXT_CHARACTERS_MAX)]
PbxName = Annotated[str, QueryParameter(description="Name or serial number of one PBX", max_length=TEXT_CHARACTERS_MAX)]
TimeText = Annotated[str, msgspec.Meta(max_length=TEXT_CHARACTERS_MAX)]


class CoverageList(msgspec.Struct, frozen=True):
    """All PBXs, by name."""

    data: list[PbxCoverage]
    next: None = None


class AlarmList(msgspec.Struct, frozen=True):
    """Open alarms first, then the latest."""

    data: list[NamedAlarm]
    next: None = None


class NewBackfill(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Calls to fetch from the PBX, by when they began; times as in the filters, and an empty `until` is now."""

    since: TimeText
    until: TimeText = ""


@get("/coverage", summary="Read the coverage", tags=["coverage"], responses=PROBLEMS)
async def read_coverage(
    app_state: AppStateDep, reader_zone: ReaderZone, pbx: PbxName = "", since: TimeQuery = "", until: TimeQuery = ""
) -> CoverageList:
    """Read the coverage, by when calls ended: `complete` was compared with the PBX, `connected` was received live, else
    `gap`.
    """
    now = app_state.clock.now()
    begin, end = parse_period(since or SINCE_DEFAULT, until, reader_zone, now)
    return CoverageList(await list_coverage(app_state, begin, end, pbx))


@get("/alarms", summary="List alarms", tags=["coverage"], responses=PROBLEMS)
async def list_alarms(app_state: AppStateDep) -> AlarmList:
    """List alarms of PBXs. `ended_at` is null while an alarm is open."""
    return AlarmList(await list_named_alarms(app_state))


@post("/pbxs/{name:str}/backfill", summary="Request a back-fill", tags=["coverage"], responses=PROBLEMS)
async def request_backfill(
    app_state: AppStateDep, reader_zone: ReaderZone, name: PbxNameOrSn, data: Annotated[NewBackfill, BodyKwarg()]
) -> Backfill:
    """Request a back-fill. It starts within a second, and replaces a request that has not started."""
    pbx = await app_state.appdb.pbx(name)
    await app_state.appdb.require_backfill_source(pbx)
    await app_state.appdb.sync_states.save_backfill_request(
        pbx.sn, parse_backfill_request(data.since, data.until, reader_zone, app_state.clock.now())
    )
    return await get_backfill(app_state, pbx.sn)


@get("/pbxs/{name:str}/backfill", summary="Read the progress of a back-fill", tags=["coverage"], responses=PROBLEMS)
async def read_backfill(app_state: AppStateDep, name: PbxNameOrSn) -> Backfill:
    """Read the requested, the running and the last back-fill."""
    return await get_backfill(app_state, (await app_state.appdb.pbx(name)).sn)
