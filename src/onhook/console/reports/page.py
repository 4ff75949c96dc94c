"""`/reports` and `/reports.csv`: one report, by its name in `of`, as a page and as a file of what the page shows."""

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated
from zoneinfo import ZoneInfo

import msgspec
from litestar import Response, get
from litestar.params import QueryParameter

from onhook.cdr.aspects import ASPECT_NAMES
from onhook.cdr.cells import harmless
from onhook.cdr.filter import FILTER_NAMES, TEXT_CHARACTERS_MAX, Filter
from onhook.console.access import LIMITED
from onhook.console.page import AnyRequest, page
from onhook.console.parameters import CallsWhere, ReaderZone
from onhook.console.reports.kinds import KINDS, ReportKind
from onhook.console.reports.period import Period, before, period_of, step_for, usual_periods
from onhook.console.reports.report import Asked, Cell, Report
from onhook.console.rooms import Handed, Rooms
from onhook.console.totals import Totals, add_up
from onhook.errors import UsageError
from onhook.store.store import Spread

KIND_DEFAULT = "volume"
ROWS_SHOWN_MAX = 100
"""Of the busiest; nobody reads on, and a file has them all."""

STEPS = ("hour", "day", "week", "month")

Of = Annotated[str, QueryParameter(description="Which report", max_length=TEXT_CHARACTERS_MAX)]
Step = Annotated[str, QueryParameter(description="Steps along the time", max_length=TEXT_CHARACTERS_MAX)]


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """The totals of the period and of the one before, and where the calls of the latter are."""

    now: Totals
    then: Totals
    answer: Spread
    then_since: datetime
    then_until: datetime
    then_to_calls: str


@get("/reports", opt=LIMITED, include_in_schema=False)
async def reports_page(  # noqa: PLR0917 - what the address may say
    request: AnyRequest,
    rooms: Handed,
    calls_where: CallsWhere,
    reader_zone: ReaderZone,
    of: Of = KIND_DEFAULT,
    by: Step = "",
) -> Response[str]:
    """The report, its period compared with the one before, and the way to the others."""
    kind = _kind(of)
    texts = _texts(request)
    period = period_of(calls_where, reader_zone, rooms.clock.now())
    asked = _asked(rooms, calls_where, period, reader_zone, _step(by, kind, period), texts)
    report = await kind.make(msgspec.structs.replace(asked, rows_max=ROWS_SHOWN_MAX))
    return page(
        request,
        rooms,
        reader_zone,
        "report_page.html",
        of=of,
        kind=kind,
        groups=_groups(),
        report=report,
        heat_max=_heat_max(report),
        compared=await _compared(asked, period),
        asked=asked,
        texts=texts,
        by=by,
        steps=STEPS,
        periods=usual_periods(reader_zone, rooms.clock.now()),
        period=period,
        pbxs=rooms.settings.pbxs(),
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
    period = period_of(calls_where, reader_zone, rooms.clock.now())
    asked = _asked(rooms, calls_where, period, reader_zone, _step(by, kind, period), _texts(request))
    name = f"{of}-{period.since.astimezone(reader_zone):%Y-%m-%d}.csv"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    body = as_csv(await kind.make(asked), reader_zone)
    return Response(body, media_type="text/csv; charset=utf-8; header=present", headers=headers)


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
    names = (*FILTER_NAMES, *ASPECT_NAMES, "zone")
    return {name: text for name in names if (text := request.query_params.get(name, ""))}


def _asked(  # noqa: PLR0917 - each is another thing
    rooms: Rooms, where: Filter, period: Period, zone: ZoneInfo, by: str, texts: Mapping[str, str]
) -> Asked:
    if where.status is not None:
        raise UsageError("a report counts every outcome", where="status", todo="leave status out")
    ends = {name: at.astimezone(zone).isoformat() for name, at in (("since", period.since), ("until", period.until))}
    return Asked(
        store=rooms.store,
        where=msgspec.structs.replace(where, since=period.since, until=period.until),
        since=period.since,
        until=period.until,
        zone=zone,
        by=by,
        filters={**texts, **ends},
        plans={pbx.name: pbx.plan for pbx in rooms.settings.pbxs()},
    )


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
