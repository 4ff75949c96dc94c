"""Reports along the time: volume, ASR and ACD, concurrent calls, and the busy hours of the week."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from onhook.cdr.utc_offset import format_offset
from onhook.console.pages.formatting import (
    WEEKDAYS,
    format_date,
    format_month,
    offset_from_utc,
    short_day,
    short_hour,
    short_time,
)
from onhook.console.pages.reports.report import (
    ASR_AND_ACD,
    Cell,
    Chart,
    Column,
    Report,
    ReportQuery,
    Series,
    Span,
    mean,
    share,
)
from onhook.lib.errors import UsageError
from onhook.lib.messages import _, mark
from onhook.store.queries.time_buckets import boundaries

STEPS_MAX = 2_000
"""Rows of one report along the time: twelve weeks by the hour."""

_NO_CALLS: Mapping[str, Any] = {
    **dict.fromkeys(("calls", "answered", "missed", "voicemail", "busy", "no_answer", "abandoned", "failed"), 0),
    **dict.fromkeys(("talk_duration", "wait_duration"), None),
}


_MISSED_STATUSES: Mapping[str, str] = {
    "no_answer": "NO ANSWER",
    "busy": "BUSY",
    "voicemail": "VOICEMAIL",
    "abandoned": "ABANDONED",
    "failed": "FAILED",
}
"""Outcomes of missed calls, by the name of their count: a column each."""


class ReportStep(msgspec.Struct, frozen=True):
    """An hour, day, week or month of the period, cut at its ends, with its figures."""

    since: datetime
    until: datetime
    label: str
    counts: Mapping[str, Any]


async def volume(query: ReportQuery) -> Report:
    """Return calls by hour, day, week or month, by outcome."""
    rows, steps = [], await _list_steps(query)
    for step in steps:
        period = _period_filters(step, query)
        rows.append(
            (
                Cell(step.label, query.calls_url(**period)),
                query.count_cell(step.counts["calls"], **period),
                query.count_cell(step.counts["answered"], **period, status="ANSWERED"),
                query.count_cell(step.counts["missed"], **period, status="!ANSWERED"),
                *(
                    query.count_cell(step.counts[name], **period, status=status)
                    for name, status in _MISSED_STATUSES.items()
                ),
                Cell(step.counts["talk_duration"], query.calls_url(**period, status="ANSWERED")),
            )
        )
    titles = (
        *(mark("Calls"), mark("Answered"), mark("Missed"), mark("No answer"), mark("Busy"), mark("Voicemail")),
        *(mark("Abandoned"), mark("Failed")),
    )
    chart = Chart(
        shape="stack",
        labels=[step.label for step in steps],
        series=[
            Series(_("Answered"), [step.counts["answered"] for step in steps], "good"),
            Series(_("Missed"), [step.counts["missed"] for step in steps], "bad"),
        ],
        links=[query.calls_url(**_period_filters(step, query)) for step in steps],
        spans=_list_spans(steps, query),
    )
    columns = [Column(query.by.capitalize(), "text"), *map(Column, titles), Column(mark("Talk"), "seconds")]
    return Report(columns=columns, rows=rows, chart=chart)


async def quality(query: ReportQuery) -> Report:
    """Return ASR and ACD along the time."""
    steps = await _list_steps(query)
    rows = [
        (
            Cell(step.label, query.calls_url(**_period_filters(step, query))),
            query.count_cell(step.counts["calls"], **_period_filters(step, query)),
            query.count_cell(step.counts["answered"], **_period_filters(step, query), status="ANSWERED"),
            Cell(share(step.counts["answered"], step.counts["calls"])),
            Cell(mean(step.counts["talk_duration"], step.counts["answered"])),
        )
        for step in steps
    ]
    chart = Chart(
        shape="line",
        labels=[step.label for step in steps],
        series=[Series("ASR", [share(step.counts["answered"], step.counts["calls"]) for step in steps])],
        links=[query.calls_url(**_period_filters(step, query)) for step in steps],
        spans=_list_spans(steps, query),
        unit="share",
    )
    return Report(
        columns=[
            *(
                Column(query.by.capitalize(), "text"),
                Column(mark("Attempts")),
                Column(mark("Answered")),
                Column(mark("ASR"), "share"),
            ),
            Column(mark("ACD"), "seconds"),
        ],
        rows=rows,
        chart=chart,
        note=_(ASR_AND_ACD),
    )


async def concurrent_calls(query: ReportQuery) -> Report:
    """Return the most concurrent calls along the time, for the number of lines."""
    by = "day" if query.by == "week" else query.by
    peaks = await query.store.peaks(query.search_filter, by, query.zone.key)
    labels = [step_label(by, peak.interval_start, query) for peak in peaks]
    links = [_concurrent_calls_url(query, peak.peak_at) for peak in peaks]
    rows = [
        (
            Cell(
                title,
                query.calls_url(
                    since=peak.interval_start.isoformat(), until=_next_start(peaks, index, query).isoformat()
                ),
            ),
            Cell(peak.calls, link if peak.calls else ""),
            Cell(peak.peak_at if peak.calls else None),
        )
        for index, (title, peak, link) in enumerate(zip(labels, peaks, links, strict=True))
    ]
    chart = Chart(
        shape="bar",
        labels=labels,
        series=[Series(_("Peak"), [peak.calls for peak in peaks])],
        links=links,
        spans=[
            Span(
                peak.interval_start.astimezone(query.zone).isoformat(),
                _next_start(peaks, index, query).astimezone(query.zone).isoformat(),
            )
            for index, peak in enumerate(peaks)
        ],
    )
    return Report(
        columns=[Column(by.capitalize(), "text"), Column(mark("Peak")), Column(mark("Time of peak"), "time")],
        rows=rows,
        chart=chart,
        note=_("A call counts from its start to its end, ringing included. For one trunk, set the filter above."),
    )


async def busy_hours(query: ReportQuery) -> Report:
    """Return the week as a heat map: weekdays down, hours across."""
    summary = await query.store.summary(query.search_filter, "weekday,hour_of_day", query.zone.key)
    calls = {(row["weekday"], row["hour_of_day"]): row["calls"] for row in summary}
    rows = [
        (
            Cell(_(name), query.calls_url(weekday=day)),
            *(query.count_cell(calls.get((day, hour), 0), weekday=day, hour_of_day=hour) for hour in range(24)),
        )
        for day, name in enumerate(WEEKDAYS, 1)
    ]
    columns = [Column(mark("Weekday"), "text"), *(Column(short_hour(hour, query.zone)) for hour in range(24))]
    return Report(columns=columns, rows=rows, is_heat=True)


def step_label(by: str, begin: datetime, query: ReportQuery) -> str:
    """Return the label of a step. An hour that occurs twice has its offset."""
    local = begin.astimezone(query.zone)
    match by:
        case "hour":
            is_twice = local.utcoffset() != local.replace(fold=1 - local.fold).utcoffset()
            label = f"{short_day(local)} {short_time(local, query.zone)}"
            return f"{label} {offset_from_utc(local, query.zone)}" if is_twice else label
        case "week":
            return _("Week {number}, {day}", number=local.isocalendar().week, day=format_date(local))
        case "month":
            return format_month(local)
        case "all":
            return _("Total")
    return format_date(local)


async def _list_steps(query: ReportQuery) -> list[ReportStep]:
    """Return each step of the period, those without calls too."""
    summary = await query.store.summary(query.search_filter, query.by, query.zone.key)
    counts = {row[query.by]: row for row in summary}
    begins = [query.since]
    for second in boundaries(query.by, query.zone, int(query.since.timestamp()), int(query.until.timestamp())):
        begin = datetime.fromtimestamp(second, UTC)
        if query.since < begin < query.until:
            begins.append(begin)
        if len(begins) > STEPS_MAX:
            raise UsageError(
                _("there are more than {limit} steps", limit=STEPS_MAX),
                hint=_("choose a shorter period, or longer steps"),
            )
    return [
        ReportStep(
            begin,
            end,
            step_label(query.by, begin, query),
            counts.get(_step_key(query.by, begin, query.zone), _NO_CALLS),
        )
        for begin, end in zip(begins, [*begins[1:], query.until], strict=True)
    ]


def _step_key(by: str, instant: datetime, zone: ZoneInfo) -> str:
    """Return the first moment of the hour, day, week or month of a time, as a summary writes it."""
    local = instant.astimezone(zone)
    if by == "hour":
        # With the offset of this time: that of the full hour is another one where a clock change is within the hour.
        return f"{local:%Y-%m-%dT%H}:00:00{format_offset(local.utcoffset() or timedelta())}"
    day = local.date()
    if by == "week":
        day -= timedelta(days=day.weekday())
    if by == "month":
        day = day.replace(day=1)
    return datetime.combine(day, time(), zone).astimezone(UTC).astimezone(zone).isoformat()


def _period_filters(step: ReportStep, query: ReportQuery) -> dict[str, str]:
    return {
        name: boundary.astimezone(query.zone).isoformat()
        for name, boundary in (("since", step.since), ("until", step.until))
    }


def _list_spans(steps: Sequence[ReportStep], query: ReportQuery) -> list[Span]:
    return [Span(**_period_filters(step, query)) for step in steps]


def _concurrent_calls_url(query: ReportQuery, instant: datetime) -> str:
    """Return the URL of the concurrent calls of a time; those that began before the period too."""
    return query.calls_url(under_way_at=instant.astimezone(query.zone).isoformat(), since="")


def _next_start(peaks: Sequence[Any], index: int, query: ReportQuery) -> datetime:
    return peaks[index + 1].interval_start if index + 1 < len(peaks) else query.until
