"""`/report-schedules`: reports that are mailed regularly: list, form, test; users have their own ones."""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, ClassVar
from urllib.parse import parse_qsl, urlencode
from zoneinfo import ZoneInfo

import msgspec
from litestar import Response, get, post
from litestar.params import PathParameter, QueryParameter
from litestar.response import Redirect

from onhook.appdb.report_schedules import ReportSchedule
from onhook.appdb.report_spec import (
    FILE_FORMATS,
    FREQUENCIES,
    QUERY_CHARACTERS_MAX,
    REPORT_CHARACTERS_MAX,
    FileFormat,
    ReportSpec,
)
from onhook.appdb.saved_searches import SavedSearch
from onhook.cdr.record_filter import KNOWN_TYPES
from onhook.console.auth.access import PERSONAL, SCOPED, get_access_scope, get_principal
from onhook.console.invitation_mails import has_mail_server
from onhook.console.pages.calls import list_visible_pbxs, list_visible_searches
from onhook.console.pages.filter_chips import describe_filters
from onhook.console.pages.formatting import WEEKDAYS, hour_of_day, url
from onhook.console.pages.page import FORM_BODY, MESSAGE_CHARACTERS_MAX, Message, render_page
from onhook.console.pages.rendering import View
from onhook.console.parameters import SEQ_MAX, ReaderZone
from onhook.console.queries.directory import load_names
from onhook.console.report_mails.changes import (
    add_schedule,
    change_schedule,
    find_schedule,
    get_owner,
    list_schedules,
    parse_page_path,
)
from onhook.console.report_mails.mails import describe_recurrence
from onhook.console.report_mails.pdf import is_pdf_available
from onhook.console.report_mails.recipients import may_mail_others
from onhook.console.report_mails.subjects import MISSED_DIGEST, SUBJECTS, Subject
from onhook.console.state import AnyRequest, AppState, AppStateDep
from onhook.lib.errors import OnhookError, UsageError
from onhook.lib.messages import _
from onhook.lib.recurrence import Recurrence
from onhook.lib.text import split_list

DIGITS_MAX = 3
"""Of a number in the form."""

ScheduleNumber = Annotated[int, PathParameter(ge=1, le=SEQ_MAX)]
ReportQuery = Annotated[str, QueryParameter(name="report", max_length=REPORT_CHARACTERS_MAX)]
FiltersQuery = Annotated[str, QueryParameter(max_length=QUERY_CHARACTERS_MAX)]


class ScheduleForm(msgspec.Struct, frozen=True):
    """Content of the form; addresses are separated by commas or lines. A choice is `yes`, or empty. `query` has the
    filters without a field of their own.
    """

    name: str = ""
    user: str = ""
    report: str = MISSED_DIGEST
    pbx: str = ""
    type: str = ""
    query: str = ""
    frequency: str = "daily"
    hour: str = "7"
    weekday: str = "1"
    day: str = "1"
    zone: str = ""
    to_user: str = ""
    addresses: str = ""
    csv: str = ""
    csv_comma: str = ""
    csv_semicolon: str = ""
    xlsx: str = ""
    pdf: str = ""


class SchedulesView(View, frozen=True, kw_only=True):
    """Values of the page; `schedules` are shown with the addresses that have unsubscribed."""

    template: ClassVar = "report_schedules.html"
    schedules: Sequence[tuple[ReportSchedule, Sequence[str]]]
    subjects: Mapping[str, Subject] = SUBJECTS
    describe: Callable[[Recurrence], str] = describe_recurrence
    has_mail_server: bool
    email: str
    message: str = ""
    error: str = ""


class ScheduleView(View, frozen=True, kw_only=True):
    """Values of the page of one schedule, or of a new one: `error` is about the field `invalid_field`, or no field."""

    template: ClassVar = "report_schedule.html"
    schedule: ReportSchedule | None
    form: ScheduleForm
    filters: Sequence[str]
    pbxs: Sequence[str]
    types: Sequence[str] = KNOWN_TYPES
    groups: Sequence[tuple[str, Sequence[tuple[str, str]]]]
    hours: Sequence[tuple[int, str]]
    weekdays: Sequence[str] = WEEKDAYS
    users: Sequence[str]
    saved_searches: Sequence[tuple[SavedSearch, str]]
    email: str
    may_mail: bool
    has_pdf: bool
    error: str = ""
    invalid_field: str = ""


@get("/report-schedules", opt=SCOPED, include_in_schema=False)
async def schedules_page(
    request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone, message: Message = ""
) -> Response[str]:
    """Return the page with the scheduled reports of the user; for an administrator those of all users."""
    return await _render_list(request, app_state, reader_zone, message=message)


@get("/report-schedules/new", opt=SCOPED, include_in_schema=False)
async def new_schedule_page(
    request: AnyRequest,
    app_state: AppStateDep,
    reader_zone: ReaderZone,
    report: ReportQuery = MISSED_DIGEST,
    filters: FiltersQuery = "",
) -> Response[str]:
    """Return the form for a new schedule, of the report and with the filters of a page."""
    report = report if report in SUBJECTS else MISSED_DIGEST
    form = _fill_filters(
        ScheduleForm(name=_(SUBJECTS[report].title), report=report, zone=reader_zone.key, to_user="yes"), filters
    )
    return await _render_form(request, app_state, reader_zone, form)


@post("/report-schedules", opt=PERSONAL, include_in_schema=False, status_code=200)
async def add_report_schedule(
    request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone, data: Annotated[ScheduleForm, FORM_BODY]
) -> Response[str] | Redirect:
    """Add a schedule."""
    owner = get_owner(get_principal(request.scope), data.user)
    try:
        schedule = await add_schedule(
            app_state.appdb, app_state.clock, owner, data.name, _parse_form(data, reader_zone)
        )
    except UsageError as error:
        return await _render_form(request, app_state, reader_zone, data, error=error)
    return _redirect(_("{name} is scheduled. Send a test to see it.", name=schedule.name))


@get("/report-schedules/{number:int}", opt=SCOPED, include_in_schema=False)
async def schedule_page(
    request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone, number: ScheduleNumber
) -> Response[str]:
    """Return the form of a schedule."""
    schedule = await find_schedule(app_state, get_principal(request.scope), number)
    return await _render_form(request, app_state, reader_zone, _fill_form(schedule), schedule=schedule)


@post("/report-schedules/{number:int}", opt=PERSONAL, include_in_schema=False, status_code=200)
async def change_report_schedule(
    request: AnyRequest,
    app_state: AppStateDep,
    reader_zone: ReaderZone,
    number: ScheduleNumber,
    data: Annotated[ScheduleForm, FORM_BODY],
) -> Response[str] | Redirect:
    """Change a schedule."""
    schedule = await find_schedule(app_state, get_principal(request.scope), number)
    try:
        spec = _parse_form(data, reader_zone)
        schedule = await change_schedule(app_state.appdb, app_state.clock, number, data.name, spec)
    except UsageError as error:
        return await _render_form(request, app_state, reader_zone, data, schedule=schedule, error=error)
    return _redirect(_("{name} is changed.", name=schedule.name))


@post("/report-schedules/{number:int}/pause", opt=PERSONAL, include_in_schema=False, status_code=200)
async def pause_schedule(request: AnyRequest, app_state: AppStateDep, number: ScheduleNumber) -> Redirect:
    """Send a report no longer until it is resumed."""
    schedule = await _set_paused(request, app_state, number, is_paused=True)
    return _redirect(_("{name} is paused.", name=schedule.name))


@post("/report-schedules/{number:int}/resume", opt=PERSONAL, include_in_schema=False, status_code=200)
async def resume_schedule(request: AnyRequest, app_state: AppStateDep, number: ScheduleNumber) -> Redirect:
    """Send a report again, from its next time on."""
    schedule = await _set_paused(request, app_state, number, is_paused=False)
    return _redirect(_("{name} is sent again.", name=schedule.name))


@post("/report-schedules/{number:int}/test", opt=PERSONAL, include_in_schema=False, status_code=200)
async def test_schedule(
    request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone, number: ScheduleNumber
) -> Response[str] | Redirect:
    """Have the report of the last period sent within seconds."""
    await find_schedule(app_state, get_principal(request.scope), number)
    try:
        schedule = await app_state.appdb.report_schedules.request_test(number, now_us=app_state.clock.microseconds())
    except UsageError as error:
        return await _render_list(request, app_state, reader_zone, error=str(error))
    return _redirect(_("{name} is sent as a test within seconds: load this page again.", name=schedule.name))


@post("/report-schedules/{number:int}/remove", opt=PERSONAL, include_in_schema=False, status_code=200)
async def remove_schedule(request: AnyRequest, app_state: AppStateDep, number: ScheduleNumber) -> Redirect:
    """Remove a schedule."""
    schedule = await find_schedule(app_state, get_principal(request.scope), number)
    await app_state.appdb.report_schedules.remove(number)
    return _redirect(_("{name} is removed.", name=schedule.name))


ROUTES: tuple[Any, ...] = (
    schedules_page,
    new_schedule_page,
    add_report_schedule,
    schedule_page,
    change_report_schedule,
    pause_schedule,
    resume_schedule,
    test_schedule,
    remove_schedule,
)


async def _set_paused(request: AnyRequest, app_state: AppState, number: int, *, is_paused: bool) -> ReportSchedule:
    await find_schedule(app_state, get_principal(request.scope), number)
    now_us = app_state.clock.microseconds()
    return await app_state.appdb.report_schedules.set_paused(number, is_paused=is_paused, now_us=now_us)


def _parse_form(form: ScheduleForm, zone: ZoneInfo) -> ReportSpec:
    """Return the spec of a form. Raises `UsageError`."""
    if form.frequency not in FREQUENCIES:
        raise UsageError(_("choose daily, weekly or monthly"), location="frequency")
    recurrence = Recurrence(
        frequency=form.frequency,
        hour=_parse_number(form.hour, "hour"),
        weekday=_parse_number(form.weekday, "weekday"),
        day=_parse_number(form.day, "day"),
        zone=form.zone.strip() or zone.key,
    )
    files: list[FileFormat] = [name for name in FILE_FORMATS if getattr(form, name.replace("-", "_"))]
    addresses = [part for line in form.addresses.splitlines() for part in split_list(line)]
    return ReportSpec(
        report=form.report,
        query=_make_query(form),
        recurrence=recurrence,
        to_user=bool(form.to_user),
        addresses=addresses,
        files=files,
    )


def _parse_number(text: str, field: str) -> int:
    text = text.strip()
    if not (text.isascii() and text.isdigit() and len(text) <= DIGITS_MAX):
        raise UsageError(_("{text} is not a number", text=repr(text[:20])), location=field)
    return int(text)


def _fill_form(schedule: ReportSchedule) -> ScheduleForm:
    spec, recurrence = schedule.spec, schedule.spec.recurrence
    form = ScheduleForm(
        name=schedule.name,
        user=schedule.user_name,
        report=spec.report,
        frequency=recurrence.frequency,
        hour=str(recurrence.hour),
        weekday=str(recurrence.weekday),
        day=str(recurrence.day),
        zone=recurrence.zone,
        to_user="yes" if spec.to_user else "",
        addresses=", ".join(spec.addresses),
        **{name.replace("-", "_"): "yes" for name in spec.files},
    )
    return _fill_filters(form, spec.query)


def _fill_filters(form: ScheduleForm, query: str) -> ScheduleForm:
    """Return a form with the filters of a query, those that have a field of their own in it."""
    texts = dict(parse_qsl(query))
    own = {"pbx": texts.pop("pbx", "")}
    if texts.get("type", "").casefold() in map(str.casefold, KNOWN_TYPES):
        own["type"] = texts.pop("type").capitalize()
    return msgspec.structs.replace(form, **own, query=urlencode(texts))


def _make_query(form: ScheduleForm) -> str:
    """Return the filters of a form as one query; one that is in it twice is found by the rules of queries."""
    own = urlencode({name: text for name in ("pbx", "type") if (text := getattr(form, name).strip())})
    return "&".join(filter(None, (own, form.query.strip().removeprefix("?"))))


def _redirect(message: str) -> Redirect:
    return Redirect(url("/report-schedules", message=message[:MESSAGE_CHARACTERS_MAX]), status_code=303)


async def _render_list(
    request: AnyRequest, app_state: AppState, zone: ReaderZone, *, message: str = "", error: str = ""
) -> Response[str]:
    principal, repository = get_principal(request.scope), app_state.appdb.report_schedules
    schedules = []
    all_optouts = await repository.all_optouts()
    for schedule in await list_schedules(app_state, principal):
        optouts = all_optouts.get(schedule.schedule_id, frozenset())
        ended = [address for address in schedule.spec.addresses if address.casefold() in optouts]
        schedules.append((schedule, ended))
    user = await app_state.appdb.users.find(principal.name) if principal is not None and principal.is_user else None
    view = SchedulesView(
        schedules=schedules,
        has_mail_server=await has_mail_server(app_state.appdb),
        email="" if user is None else user.email,
        message=message,
        error=error,
    )
    return await render_page(request, app_state, zone, view)


async def _render_form(
    request: AnyRequest,
    app_state: AppState,
    zone: ReaderZone,
    form: ScheduleForm,
    *,
    schedule: ReportSchedule | None = None,
    error: OnhookError | None = None,
) -> Response[str]:
    principal = get_principal(request.scope)
    is_administrator = principal is not None and principal.role == "administrator"
    owner_name = schedule.user_name if schedule is not None else principal.name if principal else ""
    has_owner = schedule is not None or (principal is not None and principal.is_user)
    owner = await app_state.appdb.users.find(owner_name) if has_owner else None
    groups = dict.fromkeys(subject.group for subject in SUBJECTS.values())
    scope = get_access_scope(request.scope)
    pbx_names = [pbx.name for pbx in await list_visible_pbxs(app_state, scope)]
    view = ScheduleView(
        schedule=schedule,
        form=form,
        filters=describe_filters(dict(parse_qsl(form.query)), await load_names(app_state), scope),
        # One that was removed meanwhile stays chosen until another one is.
        pbxs=list(dict.fromkeys([*pbx_names, *([form.pbx] if form.pbx else [])])),
        groups=[
            (group, [(name, subject.title) for name, subject in SUBJECTS.items() if subject.group == group])
            for group in groups
        ],
        hours=[(hour, hour_of_day(hour, zone)) for hour in range(24)],
        users=[user.name for user in await app_state.appdb.users.all()] if is_administrator else [],
        saved_searches=[(search, _new_url(search.path)) for search in await list_visible_searches(request, app_state)],
        email="" if owner is None else owner.email,
        may_mail=is_administrator if owner is None else may_mail_others(owner),
        has_pdf=is_pdf_available(),
        error="" if error is None else str(error),
        invalid_field="" if error is None else error.location,
    )
    return await render_page(request, app_state, zone, view)


def _new_url(path: str) -> str:
    report, query = parse_page_path(path)
    return url("/report-schedules/new", report=report, filters=query)
