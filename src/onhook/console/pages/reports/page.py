"""`/reports`, `/reports.csv`, `/api/v1/reports`: one report, named by `report`, as a page, a file, and data."""

import asyncio
import csv
import io
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, ClassVar
from zoneinfo import ZoneInfo

import msgspec
from litestar import Response, get
from litestar.params import QueryParameter

from onhook.appdb.pbxs import Pbx
from onhook.appdb.report_spec import make_report_query
from onhook.cdr.call_filter import CALL_FILTER_NAMES
from onhook.cdr.csv_injection import escape_cell
from onhook.cdr.party_groups import PARTY_GROUP_KINDS, PartyGroupKind
from onhook.cdr.record_filter import FILTER_NAMES, TEXT_CHARACTERS_MAX, RecordFilter
from onhook.console.auth.access import SCOPED
from onhook.console.pages.calls import list_visible_pbxs
from onhook.console.pages.date_range import DateRange, create_date_range
from onhook.console.pages.formatting import to_api_path
from onhook.console.pages.page import render_page
from onhook.console.pages.rendering import View
from onhook.console.pages.reports.kinds import KINDS, ReportKind
from onhook.console.pages.reports.query import load_report_query
from onhook.console.pages.reports.report import Cell, Column, Report, ReportQuery
from onhook.console.pages.totals import Totals, add_up
from onhook.console.parameters import AfterSeq, Limit, ReaderZone, RowOffset, SearchFilterDep
from onhook.console.problem_documents import PROBLEMS
from onhook.console.queries.audited_reads import audit_or_log_read
from onhook.console.queries.period import Period, choose_step, compared_period, get_period
from onhook.console.state import AnyRequest, AppState, AppStateDep
from onhook.lib.errors import UsageError
from onhook.lib.messages import _
from onhook.store.contract import PAGE_MAX
from onhook.store.export.excel_csv import BYTE_ORDER_MARK, parse_excel_option, protect_number
from onhook.store.figures import DurationHistogram

KIND_DEFAULT = "volume"
STEPS = ("hour", "day", "week", "month")

ReportName = Annotated[
    str,
    QueryParameter(name="report", description=f"Which report: {', '.join(KINDS)}", max_length=TEXT_CHARACTERS_MAX),
]
ROWS_MAX = 100
"""Rows of a table on one page: thousands of extensions would be megabytes."""

ComparisonQuery = Annotated[
    str,
    QueryParameter(
        name="compare",
        description="Period to compare with: previous, year, or the first day of one of the same length",
        max_length=TEXT_CHARACTERS_MAX,
    ),
]
GroupQuery = Annotated[
    str,
    QueryParameter(
        name="group_by",
        description="A row for each department or site: extensions, agents, queues, ring-groups, pbxs",
        max_length=TEXT_CHARACTERS_MAX,
    ),
]
ExcelQuery = Annotated[
    str, QueryParameter(description="`comma` or `semicolon`: CSV for Excel, with that separator", max_length=20)
]
StepQuery = Annotated[str, QueryParameter(description="Length of a step", max_length=TEXT_CHARACTERS_MAX)]


class PeriodComparison(msgspec.Struct, frozen=True, kw_only=True):
    """The totals of the period and of the one that it is compared with, and the URL of the latter's calls."""

    current: Totals
    previous: Totals
    answer_times: DurationHistogram
    previous_since: datetime
    previous_until: datetime
    previous_calls_url: str


class ReportCell(msgspec.Struct, frozen=True, omit_defaults=True):
    """A value of the table (null where it is unknown), the URL of its calls, or empty, and the name of a number, where
    the directory has one.
    """

    value: str | float | None
    href: str
    name: str = ""


class CallReport(msgspec.Struct, frozen=True, kw_only=True):
    """A report as the page shows it. `by` is the length of its steps, if it has any; a cell belongs to the column at
    the same place. `next` is the cursor of the next rows, or null.
    """

    report: str
    title: str
    since: datetime
    until: datetime
    zone: str
    by: str
    note: str
    columns: Sequence[Column]
    data: Sequence[Sequence[ReportCell]]
    next: str | None


class ReportsView(View, frozen=True, kw_only=True):
    """Values of the page: a report, its period compared with the previous one, and links to the others."""

    template: ClassVar = "reports.html"
    report_name: str
    kind: ReportKind
    groups: Sequence[tuple[str, Sequence[tuple[str, ReportKind]]]]
    report: Report
    rows_shown: Sequence[Sequence[Cell]]
    first_row: int
    rows_max: int
    heat_max: int
    comparison: PeriodComparison
    query: ReportQuery
    texts: Mapping[str, str]
    by: str
    compare: str
    group_by: str
    steps: Sequence[str]
    date_range: DateRange
    period: Period
    pbxs: Sequence[Pbx]
    schedule_query: Callable[[Mapping[str, str]], str] = make_report_query
    """Of the form for a schedule, from the filters of this page."""
    errors: Mapping[str, str] = {}


@get("/reports", opt=SCOPED, include_in_schema=False)
async def reports_page(  # noqa: PLR0917 - the parameters of the URL
    request: AnyRequest,
    app_state: AppStateDep,
    search_filter: SearchFilterDep,
    reader_zone: ReaderZone,
    report_name: ReportName = KIND_DEFAULT,
    by: StepQuery = "",
    compare: ComparisonQuery = "",
    row: RowOffset = 0,
    group_by: GroupQuery = "",
) -> Response[str]:
    """Return the page of a report, its period compared with the previous one, and links to the others."""
    kind = _get_kind(report_name)
    query, period = await _parse_query(request, app_state, search_filter, reader_zone, kind, by, compare, group_by)
    report, texts = await kind.build(query), filter_texts_of(request)
    return await render_page(
        request,
        app_state,
        reader_zone,
        ReportsView(
            report_name=report_name,
            kind=kind,
            groups=_group_kinds(),
            report=report,
            rows_shown=report.rows[row : row + ROWS_MAX],
            first_row=row,
            rows_max=ROWS_MAX,
            heat_max=_heat_max(report),
            comparison=await _compare_periods(query, compared_period(compare, period, reader_zone)),
            query=query,
            texts=texts,
            by=by,
            compare=compare,
            group_by=group_by,
            steps=STEPS,
            date_range=create_date_range(
                "/reports",
                {**texts, "report": report_name, "by": by, "compare": compare, "group_by": group_by},
                reader_zone,
                app_state.clock.now(),
                since_default=period.since,
                compare=compare,
            ),
            period=period,
            # A user who may not see a PBX's calls may not see its name.
            pbxs=await list_visible_pbxs(app_state, query.search_filter.scope),
        ),
    )


@get("/reports.csv", opt=SCOPED, include_in_schema=False)
async def reports_file(  # noqa: PLR0917 - the parameters of the URL
    request: AnyRequest,
    app_state: AppStateDep,
    search_filter: SearchFilterDep,
    reader_zone: ReaderZone,
    report_name: ReportName = KIND_DEFAULT,
    by: StepQuery = "",
    compare: ComparisonQuery = "",
    group_by: GroupQuery = "",
    excel: ExcelQuery = "",
) -> Response[bytes]:
    """Return the table of the page as CSV: whole seconds, shares between 0 and 1, times with their offset."""
    kind = _get_kind(report_name)
    query, period = await _parse_query(request, app_state, search_filter, reader_zone, kind, by, compare, group_by)
    separator = parse_excel_option(excel)
    name = f"{report_name}-{period.since.astimezone(reader_zone):%Y-%m-%d}.csv"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    # In a thread: a report has up to 100,000 rows, of which each cell has a link and a name.
    body = await asyncio.to_thread(as_csv, await kind.build(query), reader_zone, separator=separator)
    await audit_or_log_read(app_state, f"export of the report {report_name}")
    return Response(body, media_type="text/csv; charset=utf-8; header=present", headers=headers)


@get("/reports", opt=SCOPED, summary="A report over calls", tags=["calls"], responses=PROBLEMS)
async def read_call_report(  # noqa: PLR0917 - the parameters of the URL
    request: AnyRequest,
    app_state: AppStateDep,
    search_filter: SearchFilterDep,
    reader_zone: ReaderZone,
    report_name: ReportName = KIND_DEFAULT,
    by: StepQuery = "",
    compare: ComparisonQuery = "",
    group_by: GroupQuery = "",
    limit: Limit = PAGE_MAX,
    cursor: AfterSeq = "",
) -> CallReport:
    """Return the table of the page as data: whole seconds, shares between 0 and 1. `href` after `/api/v1`
    lists the calls.
    """
    kind = _get_kind(report_name)
    query, period = await _parse_query(request, app_state, search_filter, reader_zone, kind, by, compare, group_by)
    report = await kind.build(query)
    first, total = int(cursor or 0), len(report.rows)
    rows = await asyncio.to_thread(_report_cells, report.rows, first, limit, reader_zone)
    return CallReport(
        report=report_name,
        title=kind.title,
        since=period.since,
        until=period.until,
        zone=reader_zone.key,
        by=query.by if kind.has_steps else "",
        note=report.note,
        columns=report.columns,
        data=rows,
        next=str(first + limit) if first + limit < total else None,
    )


def _report_cells(rows: Sequence[Sequence[Cell]], first: int, limit: int, zone: ZoneInfo) -> list[list[ReportCell]]:
    return [[report_cell(cell, zone) for cell in row] for row in rows[first : first + limit]]


def as_csv(report: Report, zone: ZoneInfo, *, separator: str | None = None) -> bytes:
    """Return a report's table as CSV (RFC 4180, UTF-8); cells that a spreadsheet would take for a formula
    are escaped. With a `separator` it is for Excel, as exports are: with a byte order mark, and numbers of telephones
    that stay texts.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n", delimiter=separator or ",")
    writer.writerow([column.title for column in report.columns])
    is_for_excel = separator is not None
    writer.writerows([_csv_text(cell, zone, is_for_excel=is_for_excel) for cell in row] for row in report.rows)
    return (BYTE_ORDER_MARK if is_for_excel else b"") + text.getvalue().encode()


def _csv_text(cell: Cell, zone: ZoneInfo, *, is_for_excel: bool) -> str:
    match cell.value:
        case None:
            return ""
        case datetime() as time:
            return time.astimezone(zone).isoformat()
        case float() as share:
            return f"{share:.4f}"
        case str() if is_for_excel and (protected := protect_number(cell.label)) != cell.label:
            return protected
        case _value:
            return escape_cell(cell.label)


def report_cell(cell: Cell, zone: ZoneInfo) -> ReportCell:
    """Return a cell as data: a time with the offset of the zone."""
    value = cell.value.astimezone(zone).isoformat() if isinstance(cell.value, datetime) else cell.value
    return ReportCell(value, to_api_path(cell.href), cell.name)


def _get_kind(report_name: str) -> ReportKind:
    kind = KINDS.get(report_name)
    if kind is None:
        raise UsageError(
            _("there is no report {name}", name=repr(report_name)),
            location="report",
            hint=_("use one of {kinds}", kinds=", ".join(KINDS)),
        )
    return kind


def _group_kinds() -> list[tuple[str, list[tuple[str, ReportKind]]]]:
    """Return the kinds by their groups, in the order of the registry."""
    groups = dict.fromkeys(kind.group for kind in KINDS.values())
    return [(group, [(name, kind) for name, kind in KINDS.items() if kind.group == group]) for group in groups]


def _choose_step(by: str, kind: ReportKind, period: Period) -> str:
    if by and by not in STEPS:
        raise UsageError(
            _("there is no step {step}", step=repr(by)),
            location="by",
            hint=_("use one of {steps}", steps=", ".join(STEPS)),
        )
    return by if by and kind.has_steps else choose_step(period)


def _parse_group_kind(text: str) -> PartyGroupKind | None:
    for kind in PARTY_GROUP_KINDS:
        if text == kind:
            return kind
    if not text:
        return None
    raise UsageError(
        _("reports are not by {value}", value=repr(text[:40])),
        location="group_by",
        hint=_("use one of {kinds}", kinds=", ".join(PARTY_GROUP_KINDS)),
    )


def filter_texts_of(request: AnyRequest) -> Mapping[str, str]:
    """Return the filters of the request as texts."""
    names = (*FILTER_NAMES, *CALL_FILTER_NAMES, "tag", "note", "q", "zone")
    return {name: text for name in names if (text := request.query_params.get(name, ""))}


async def _parse_query(  # noqa: PLR0917 - independent values
    request: AnyRequest,
    app_state: AppState,
    search_filter: RecordFilter,
    zone: ZoneInfo,
    kind: ReportKind,
    by: str,
    compare: str,
    group_by: str,
) -> tuple[ReportQuery, Period]:
    """Return the query of the URL, and its period."""
    if search_filter.status is not None:
        raise UsageError(_("a report counts every outcome"), location="status", hint=_("leave status out"))
    texts, period = filter_texts_of(request), get_period(search_filter, zone, app_state.clock.now())
    period_texts = {
        name: boundary.astimezone(zone).isoformat()
        for name, boundary in (("since", period.since), ("until", period.until))
    }
    query = await load_report_query(
        app_state,
        msgspec.structs.replace(search_filter, since=period.since, until=period.until),
        period,
        zone,
        by=_choose_step(by, kind, period),
        texts={**texts, **period_texts},
        compared=compared_period(compare, period, zone) if compare else None,
        group_by=_parse_group_kind(group_by),
    )
    return query, period


async def _compare_periods(query: ReportQuery, previous: Period) -> PeriodComparison:
    previous_filter = msgspec.structs.replace(query.search_filter, since=previous.since, until=previous.until)
    answered_filter = msgspec.structs.replace(query.search_filter, status="ANSWERED")
    period_texts = {name: getattr(previous, name).astimezone(query.zone).isoformat() for name in ("since", "until")}
    return PeriodComparison(
        current=add_up(await query.store.summary(query.search_filter, "pbx", query.zone.key)),
        previous=add_up(await query.store.summary(previous_filter, "pbx", query.zone.key)),
        answer_times=await query.store.histogram(answered_filter, "wait_duration", [0]),
        previous_since=previous.since,
        previous_until=previous.until,
        previous_calls_url=query.calls_url(**period_texts),
    )


def _heat_max(report: Report) -> int:
    cells: Sequence[Cell] = [cell for row in report.rows for cell in row[1:]] if report.is_heat else []
    return max((cell.value for cell in cells if isinstance(cell.value, int)), default=0)
