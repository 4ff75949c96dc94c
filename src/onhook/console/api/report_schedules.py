"""`/api/v1/report-schedules`: reports that are mailed at times that come again; users have their own ones."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Annotated, Literal

import msgspec
from litestar import delete, get, post, put
from litestar.params import BodyKwarg, PathParameter

from onhook.appdb.pbxs import NAME_CHARACTERS_MAX
from onhook.appdb.report_schedules import ReportSchedule, RunOutcome
from onhook.appdb.report_spec import (
    ADDRESSES_MAX,
    FILE_FORMATS,
    QUERY_CHARACTERS_MAX,
    REPORT_CHARACTERS_MAX,
    FileFormat,
    ReportSpec,
)
from onhook.console.auth.access import PERSONAL, SCOPED, get_principal
from onhook.console.parameters import SEQ_MAX, Label
from onhook.console.problem_documents import PROBLEMS
from onhook.console.report_mails.changes import (
    add_schedule,
    change_schedule,
    find_schedule,
    get_owner,
    list_schedules,
)
from onhook.console.state import AnyRequest, AppState, AppStateDep
from onhook.lib.mail_addresses import ADDRESS_CHARACTERS_MAX
from onhook.lib.recurrence import Frequency, Recurrence

ZONE_CHARACTERS_MAX = 64

ScheduleNumber = Annotated[int, PathParameter(description="`schedule_id` of a schedule", ge=1, le=SEQ_MAX)]
Address = Annotated[str, msgspec.Meta(min_length=1, max_length=ADDRESS_CHARACTERS_MAX)]


class NewReportSchedule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A report to send: `report` is one of the page Reports, `calls` or `missed-digest`, `query` its filters as in the
    address of the page. `weekday` (1 is Monday) is that of a weekly report, `day` that of the month of a monthly one.
    An empty zone is that of the installation. An administrator may name the `user` whose report it is.
    """

    name: Label
    user: Annotated[str, msgspec.Meta(max_length=NAME_CHARACTERS_MAX)] = ""
    report: Annotated[str, msgspec.Meta(max_length=REPORT_CHARACTERS_MAX)]
    query: Annotated[str, msgspec.Meta(max_length=QUERY_CHARACTERS_MAX)] = ""
    frequency: Frequency = "daily"
    hour: Annotated[int, msgspec.Meta(ge=0, le=23)] = 7
    weekday: Annotated[int, msgspec.Meta(ge=1, le=7)] = 1
    day: Annotated[int, msgspec.Meta(ge=1, le=31)] = 1
    zone: Annotated[str, msgspec.Meta(max_length=ZONE_CHARACTERS_MAX)] = ""
    to_user: bool = True
    addresses: Annotated[list[Address], msgspec.Meta(max_length=ADDRESSES_MAX)] = []
    files: Annotated[list[FileFormat], msgspec.Meta(max_length=len(FILE_FORMATS))] = []

    def to_spec(self, zone: str) -> ReportSpec:
        """Return the spec, with the zone of the installation where none is given."""
        recurrence = Recurrence(
            frequency=self.frequency, hour=self.hour, weekday=self.weekday, day=self.day, zone=self.zone or zone
        )
        return ReportSpec(
            report=self.report,
            query=self.query,
            recurrence=recurrence,
            to_user=self.to_user,
            addresses=tuple(self.addresses),
            files=tuple(self.files),
        )


class ReportScheduleInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule; `outcome` and `detail` are those of the last run, `unsubscribed` the addresses that get no further
    mails.
    """

    schedule_id: int
    name: str
    user: str
    report: str
    query: str
    frequency: Frequency
    hour: int
    weekday: int
    day: int
    zone: str
    to_user: bool
    addresses: Sequence[str]
    files: Sequence[FileFormat]
    state: Literal["active", "paused"]
    next_at: datetime
    ran_at: datetime | None
    outcome: RunOutcome
    detail: str
    unsubscribed: Sequence[str]


class ReportScheduleList(msgspec.Struct, frozen=True):
    """Schedules, by name."""

    data: list[ReportScheduleInfo]
    next: None = None


@get("/report-schedules", opt=SCOPED, summary="List scheduled reports", tags=["reports"], responses=PROBLEMS)
async def list_report_schedules(request: AnyRequest, app_state: AppStateDep) -> ReportScheduleList:
    """List the scheduled reports of the user; for an administrator those of all users."""
    schedules = await list_schedules(app_state, get_principal(request.scope))
    all_optouts = await app_state.appdb.report_schedules.all_optouts()
    return ReportScheduleList(
        [_make_info(schedule, all_optouts.get(schedule.schedule_id, frozenset())) for schedule in schedules]
    )


@post("/report-schedules", opt=PERSONAL, summary="Schedule a report", tags=["reports"], responses=PROBLEMS)
async def add_report_schedule(
    request: AnyRequest, app_state: AppStateDep, data: Annotated[NewReportSchedule, BodyKwarg()]
) -> ReportScheduleInfo:
    """Schedule a report of the user, with the calls that the user may see when it is sent."""
    owner = get_owner(get_principal(request.scope), data.user)
    spec = data.to_spec(app_state.config.zone)
    return await _describe(app_state, await add_schedule(app_state.appdb, app_state.clock, owner, data.name, spec))


@get(
    "/report-schedules/{number:int}",
    opt=SCOPED,
    summary="Read a scheduled report",
    tags=["reports"],
    responses=PROBLEMS,
)
async def read_report_schedule(
    request: AnyRequest, app_state: AppStateDep, number: ScheduleNumber
) -> ReportScheduleInfo:
    """Return a scheduled report with the result of its last run."""
    return await _describe(app_state, await find_schedule(app_state, get_principal(request.scope), number))


@put(
    "/report-schedules/{number:int}",
    opt=PERSONAL,
    summary="Change a scheduled report",
    tags=["reports"],
    responses=PROBLEMS,
)
async def change_report_schedule(
    request: AnyRequest,
    app_state: AppStateDep,
    number: ScheduleNumber,
    data: Annotated[NewReportSchedule, BodyKwarg()],
) -> ReportScheduleInfo:
    """Set all of it but the user, who stays; what is left out has its usual value."""
    await find_schedule(app_state, get_principal(request.scope), number)
    spec = data.to_spec(app_state.config.zone)
    return await _describe(app_state, await change_schedule(app_state.appdb, app_state.clock, number, data.name, spec))


@post(
    "/report-schedules/{number:int}/pause",
    opt=PERSONAL,
    summary="Pause a scheduled report",
    tags=["reports"],
    responses=PROBLEMS,
    status_code=200,
)
async def pause_report_schedule(
    request: AnyRequest, app_state: AppStateDep, number: ScheduleNumber
) -> ReportScheduleInfo:
    """Send a report no longer until it is resumed."""
    return await _set_paused(request, app_state, number, is_paused=True)


@post(
    "/report-schedules/{number:int}/resume",
    opt=PERSONAL,
    summary="Resume a scheduled report",
    tags=["reports"],
    responses=PROBLEMS,
    status_code=200,
)
async def resume_report_schedule(
    request: AnyRequest, app_state: AppStateDep, number: ScheduleNumber
) -> ReportScheduleInfo:
    """Send a report again, from its next time on."""
    return await _set_paused(request, app_state, number, is_paused=False)


@post(
    "/report-schedules/{number:int}/test",
    opt=PERSONAL,
    summary="Send a scheduled report as a test",
    tags=["reports"],
    responses=PROBLEMS,
    status_code=200,
)
async def test_report_schedule(
    request: AnyRequest, app_state: AppStateDep, number: ScheduleNumber
) -> ReportScheduleInfo:
    """Have the report of the last period sent within seconds: to the user alone, where the user has an address."""
    await find_schedule(app_state, get_principal(request.scope), number)
    now_us = app_state.clock.microseconds()
    return await _describe(app_state, await app_state.appdb.report_schedules.request_test(number, now_us=now_us))


@delete(
    "/report-schedules/{number:int}",
    opt=PERSONAL,
    summary="Remove a scheduled report",
    tags=["reports"],
    responses=PROBLEMS,
)
async def remove_report_schedule(request: AnyRequest, app_state: AppStateDep, number: ScheduleNumber) -> None:
    """Send a report no longer."""
    await find_schedule(app_state, get_principal(request.scope), number)
    await app_state.appdb.report_schedules.remove(number)


ROUTES = (
    list_report_schedules,
    add_report_schedule,
    read_report_schedule,
    change_report_schedule,
    pause_report_schedule,
    resume_report_schedule,
    test_report_schedule,
    remove_report_schedule,
)


async def _set_paused(request: AnyRequest, app_state: AppState, number: int, *, is_paused: bool) -> ReportScheduleInfo:
    await find_schedule(app_state, get_principal(request.scope), number)
    schedule = await app_state.appdb.report_schedules.set_paused(
        number, is_paused=is_paused, now_us=app_state.clock.microseconds()
    )
    return await _describe(app_state, schedule)


async def _describe(app_state: AppState, schedule: ReportSchedule) -> ReportScheduleInfo:
    return _make_info(schedule, await app_state.appdb.report_schedules.list_optouts(schedule.schedule_id))


def _make_info(schedule: ReportSchedule, optouts: Collection[str]) -> ReportScheduleInfo:
    spec, recurrence = schedule.spec, schedule.spec.recurrence
    return ReportScheduleInfo(
        schedule_id=schedule.schedule_id,
        name=schedule.name,
        user=schedule.user_name,
        report=spec.report,
        query=spec.query,
        frequency=recurrence.frequency,
        hour=recurrence.hour,
        weekday=recurrence.weekday,
        day=recurrence.day,
        zone=recurrence.zone,
        to_user=spec.to_user,
        addresses=spec.addresses,
        files=spec.files,
        state="paused" if schedule.is_paused else "active",
        next_at=schedule.next_at,
        ran_at=schedule.ran_at,
        outcome=schedule.outcome,
        detail=schedule.detail,
        unsubscribed=[address for address in spec.addresses if address.casefold() in optouts],
    )
