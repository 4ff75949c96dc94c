"""`/reports`, `/reports.csv`, `/api/v1/reports`: one report, by its name in `of`, as a page, a file, and data of it."""

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated
from zoneinfo import ZoneInfo

import msgspec
from litestar import Response, get
from litestar.params import QueryParameter

from onhook.cdr.call_filter import ASPECT_NAMES
from onhook.cdr.csv_injection import harmless
from onhook.cdr.record_filter import FILTER_NAMES, TEXT_CHARACTERS_MAX, Filter
from onhook.console.auth.access import LIMITED
from onhook.console.pages.page import AnyRequest, page
from onhook.console.pages.reports.kinds import KINDS, ReportKind
from onhook.console.pages.reports.period import Period, before, period_of, step_for, usual_periods
from onhook.console.pages.reports.report import Asked, Cell, Column, Report, as_query
from onhook.console.pages.totals import Totals, add_up
from onhook.console.parameters import CallsWhere, ReaderZone
from onhook.console.problem_documents import PROBLEMS
from onhook.console.state import Handed, Rooms
from onhook.lib.errors import UsageError
from onhook.store.contract import Spread

KIND_DEFAULT = "volume"
STEPS = ("hour", "day", "week", "month")

Of = Annotated[str, QueryParameter(description=f"Which report: {', '.join(KINDS)}", max_length=TEXT_CHARACTERS_MAX)]
ROWS_MAX = 500
"""Of a table at once: a page of thousands of extensions would be megabytes, and nobody reads them at once."""

Row = Annotated[int, QueryParameter(description="Rows to leave out before", ge=0, le=10**9)]
Step = Annotated[str, QueryParameter(description="Steps along the time", max_length=TEXT_CHARACTERS_MAX)]


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """The totals of the period and of the one before, and where the calls of the latter are."""

    now: Totals
    then: Totals
    answer: Spread
    then_since: datetime
    then_until: datetime
    then_to_calls: str


class ReportCell(msgspec.Struct, frozen=True):
    """A value of the table (null where nobody knows it), and the address of the page of calls behind it, or empty."""

    value: str | float | None
    href: str


class CallReport(msgspec.Struct, frozen=True, kw_only=True):
    """A report as the page shows it. `by` says how long its steps are, where it has any; a cell stands under the column
    of the same place."""

    of: str
    title: str
    since: datetime
    until: datetime
    zone: str
    by: str
    note: str
    columns: Sequence[Column]
    data: Sequence[Sequence[ReportCell]]
    next: None = None


@get("/reports", opt=LIMITED, include_in_schema=False)
async def reports_page(  # noqa: PLR0917 - what the address may say
    request: AnyRequest,
    rooms: Handed,
    calls_where: CallsWhere,
    reader_zone: ReaderZone,
    of: Of = KIND_DEFAULT,
    by: Step = "",
    row: Row = 0,
) -> Response[str]:
    """The report, its period compared with the one before, and the way to the others."""
    kind = _kind(of)
    asked, period = _asked(request, rooms, calls_where, reader_zone, kind, by)
    report = await kind.make(asked)
    return page(
        request,
        rooms,
        reader_zone,
        "report_page.html",
        of=of,
        kind=kind,
        groups=_groups(),
        report=report,
        rows_shown=report.rows[row : row + ROWS_MAX],
        first_row=row,
        rows_max=ROWS_MAX,
        heat_max=_heat_max(report),
        compared=await _compared(asked, period),
        asked=asked,
        texts=_texts(request),
        by=by,
        steps=STEPS,
        periods=usual_periods(reader_zone, rooms.clock.now()),
        period=period,
        # Who may not see a PBX's calls may not learn its name.
        pbxs=[
            one for one in rooms.settings.pbxs() if asked.where.within is None or asked.where.within.is_of_pbx(one.sn)
        ],
    )


@get("/reports.csv", opt=LIMITED, include_in_schema=False)
async def reports_file(  # noqa: PLR0917 - what the address may say
    request: AnyRequest,
    rooms: Handed,
    calls_where: CallsWhere,
    reader_zone: ReaderZone,
    of: Of = KIND_DEFAULT,
    by: Step = "",
) -> Response[bytes]:
    """The table of the page: seconds whole, shares between 0 and 1, moments with their offset."""
    kind = _kind(of)
    asked, period = _asked(request, rooms, calls_where, reader_zone, kind, by)
    name = f"{of}-{period.since.astimezone(reader_zone):%Y-%m-%d}.csv"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    body = as_csv(await kind.make(asked), reader_zone)
    return Response(body, media_type="text/csv; charset=utf-8; header=present", headers=headers)


@get("/reports", opt=LIMITED, summary="A report over calls", tags=["calls"], responses=PROBLEMS)
async def read_call_report(  # noqa: PLR0917 - what the address may say
    request: AnyRequest,
    rooms: Handed,
    calls_where: CallsWhere,
    reader_zone: ReaderZone,
    of: Of = KIND_DEFAULT,
    by: Step = "",
) -> CallReport:
    """The table of the page: seconds whole, shares between 0 and 1. `href` behind `/api/v1` lists the calls."""
    kind = _kind(of)
    asked, period = _asked(request, rooms, calls_where, reader_zone, kind, by)
    report = await kind.make(asked)
    return CallReport(
        of=of,
        title=kind.title,
        since=period.since,
        until=period.until,
        zone=reader_zone.key,
        by=asked.by if kind.has_steps else "",
        note=report.note,
        columns=report.columns,
        data=[[_as_told(cell, reader_zone) for cell in row] for row in report.rows],
    )


def as_csv(report: Report, zone: ZoneInfo) -> bytes:
    """A report's table as CSV (RFC 4180, UTF-8); what a spreadsheet would take for a formula is made harmless."""
    text = io.StringIO(newline="")
    written = csv.writer(text, lineterminator="\r\n")
    written.writerow([column.title for column in report.columns])
    written.writerows([_written(cell, zone) for cell in row] for row in report.rows)
    return text.getvalue().encode()


def _written(cell: Cell, zone: ZoneInfo) -> str:
    match cell.value:
        case None:
            return ""
        case datetime() as moment:
            return moment.astimezone(zone).isoformat()
        case float() as share:
            return f"{share:.4f}"
        case value:
            return harmless(str(value))


def _as_told(cell: Cell, zone: ZoneInfo) -> ReportCell:
    value = cell.value.astimezone(zone).isoformat() if isinstance(cell.value, datetime) else cell.value
    return ReportCell(value, cell.href)


def _kind(of: str) -> ReportKind:
    kind = KINDS.get(of)
    if kind is None:
        raise UsageError(f"there is no report {of!r}", where="of", todo=f"use one of {', '.join(KINDS)}")
    return kind


def _groups() -> list[tuple[str, list[tuple[str, ReportKind]]]]:
    """The kinds by their groups, in the order of the table."""
    groups = dict.fromkeys(kind.group for kind in KINDS.values())
    return [(group, [(name, kind) for name, kind in KINDS.items() if kind.group == group]) for group in groups]


def _step(by: str, kind: ReportKind, period: Period) -> str:
    if by and by not in STEPS:
        raise UsageError(f"there are no steps of a {by!r}", where="by", todo=f"use one of {', '.join(STEPS)}")
    return by if by and kind.has_steps else step_for(period)


def _texts(request: AnyRequest) -> Mapping[str, str]:
    """The filters as they were asked for."""
    names = (*FILTER_NAMES, *ASPECT_NAMES, "tag", "note", "q", "zone")
    return {name: text for name in names if (text := request.query_params.get(name, ""))}


def _asked(  # noqa: PLR0917 - each is another thing
    request: AnyRequest, rooms: Rooms, where: Filter, zone: ZoneInfo, kind: ReportKind, by: str
) -> tuple[Asked, Period]:
    """What the address asks for, and of which period."""
    if where.status is not None:
        raise UsageError("a report counts every outcome", where="status", todo="leave status out")
    texts, period = _texts(request), period_of(where, zone, rooms.clock.now())
    ends = {name: at.astimezone(zone).isoformat() for name, at in (("since", period.since), ("until", period.until))}
    asked = Asked(
        store=rooms.store,
        where=msgspec.structs.replace(where, since=period.since, until=period.until),
        since=period.since,
        until=period.until,
        zone=zone,
        by=_step(by, kind, period),
        filters=as_query({**texts, **ends}),
        zone_asked=texts.get("zone", ""),
        plans={pbx.name: pbx.plan for pbx in rooms.settings.pbxs()},
    )
    return asked, period


async def _compared(asked: Asked, period: Period) -> Compared:
    earlier = before(period, asked.zone)
    where = msgspec.structs.replace(asked.where, since=earlier.since, until=earlier.until)
    answered = msgspec.structs.replace(asked.where, status="ANSWERED")
    ends = {name: getattr(earlier, name).astimezone(asked.zone).isoformat() for name in ("since", "until")}
    return Compared(
        now=add_up(await asked.store.summary(asked.where, "pbx", asked.zone.key)),
        then=add_up(await asked.store.summary(where, "pbx", asked.zone.key)),
        answer=await asked.store.spread(answered, "wait_duration", [0]),
        then_since=earlier.since,
        then_until=earlier.until,
        then_to_calls=asked.to_calls(**ends),
    )


def _heat_max(report: Report) -> int:
    cells: Sequence[Cell] = [cell for row in report.rows for cell in row[1:]] if report.is_heat else []
    return max((cell.value for cell in cells if isinstance(cell.value, int)), default=0)
