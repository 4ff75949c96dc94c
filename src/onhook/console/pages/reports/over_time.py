"""Reports along the time: volume, ASR and ACD, calls at once, and the week as a map of its hours."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from onhook.console.pages.reports.report import (
    ASR_AND_ACD,
    Cell,
    Chart,
    Column,
    Report,
    ReportQuery,
    Series,
    mean,
    share,
)
from onhook.lib.errors import UsageError
from onhook.store.queries.time_buckets import boundaries

STEPS_MAX = 2_000
"""Rows of one report along the time: twelve weeks by the hour."""

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

_NO_CALLS: Mapping[str, Any] = {
    **dict.fromkeys(("calls", "answered", "missed", "voicemail", "busy", "no_answer", "abandoned", "failed"), 0),
    **dict.fromkeys(("talk_duration", "wait_duration"), None),
}


class ReportStep(msgspec.Struct, frozen=True):
    """An hour, day, week or month of the period, cut where the period begins and ends; what was counted in it."""

    since: datetime
    until: datetime
    label: str
    counts: Mapping[str, Any]


async def volume(asked: ReportQuery) -> Report:
    """Calls by hour, day, week or month, by how they ended."""
    rows, steps = [], await _list_steps(asked)
    for step in steps:
        period = _period_filters(step, asked)
        names_by_status = {"ANSWERED": "answered", "NO ANSWER": "no_answer", "BUSY": "busy", "VOICEMAIL": "voicemail"}
        rows.append(
            (
                Cell(step.label, asked.to_calls(**period)),
                asked.counted(step.counts["calls"], **period),
                asked.counted(step.counts["answered"], **period, status="ANSWERED"),
                asked.counted(step.counts["missed"], **period, status="!ANSWERED"),
                *(
                    asked.counted(step.counts[name], **period, status=status)
                    for status, name in list(names_by_status.items())[1:]
                ),
                Cell(step.counts["talk_duration"], asked.to_calls(**period, status="ANSWERED")),
            )
        )
    titles = ("Calls", "Answered", "Missed", "No answer", "Busy", "Voicemail")
    chart = Chart(
        shape="stack",
        labels=[step.label for step in steps],
        series=[
            Series("Answered", [step.counts["answered"] for step in steps], "good"),
            Series("Missed", [step.counts["missed"] for step in steps], "bad"),
        ],
        links=[asked.to_calls(**_period_filters(step, asked)) for step in steps],
    )
    columns = [Column(asked.by.capitalize(), "text"), *map(Column, titles), Column("Talk", "seconds")]
    return Report(columns=columns, rows=rows, chart=chart)


async def quality(asked: ReportQuery) -> Report:
    """ASR and ACD along the time."""
    steps = await _list_steps(asked)
    rows = [
        (
            Cell(step.label, asked.to_calls(**_period_filters(step, asked))),
            asked.counted(step.counts["calls"], **_period_filters(step, asked)),
            asked.counted(step.counts["answered"], **_period_filters(step, asked), status="ANSWERED"),
            Cell(share(step.counts["answered"], step.counts["calls"])),
            Cell(mean(step.counts["talk_duration"], step.counts["answered"])),
        )
        for step in steps
    ]
    chart = Chart(
        shape="line",
        labels=[step.label for step in steps],
        series=[Series("ASR", [share(step.counts["answered"], step.counts["calls"]) for step in steps])],
        links=[asked.to_calls(**_period_filters(step, asked)) for step in steps],
        unit="share",
    )
    return Report(
        columns=[
            *(Column(asked.by.capitalize(), "text"), Column("Attempts"), Column("Answered"), Column("ASR", "share")),
            Column("ACD", "seconds"),
        ],
        rows=rows,
        chart=chart,
        note=ASR_AND_ACD,
    )


async def concurrent_calls(asked: ReportQuery) -> Report:
    """The most calls that were under way at once, along the time: what lines are paid for."""
    by = "day" if asked.by == "week" else asked.by
    peaks = await asked.store.peaks(asked.where, by, asked.zone.key)
    labels = [step_label(by, peak.begins_at, asked) for peak in peaks]
    links = [_concurrent_calls_url(asked, peak.reached_at) for peak in peaks]
    rows = [
        (
            Cell(
                title,
                asked.to_calls(since=peak.begins_at.isoformat(), until=_next_start(peaks, index, asked).isoformat()),
            ),
            Cell(peak.calls, link if peak.calls else ""),
            Cell(peak.reached_at if peak.calls else None),
        )
        for index, (title, peak, link) in enumerate(zip(labels, peaks, links, strict=True))
    ]
    chart = Chart(
        shape="bar",
        labels=labels,
        series=[Series("At once, at most", [peak.calls for peak in peaks])],
        links=links,
    )
    return Report(
        columns=[Column(by.capitalize(), "text"), Column("At once, at most"), Column("First reached", "moment")],
        rows=rows,
        chart=chart,
        note="A call is under way from its start to its end, ringing included. For one trunk, name it above.",
    )


async def busy_hours(asked: ReportQuery) -> Report:
    """The week as a map: weekdays down, hours across."""
    summary = await asked.store.summary(asked.where, "weekday,hour_of_day", asked.zone.key)
    calls = {(row["weekday"], row["hour_of_day"]): row["calls"] for row in summary}
    rows = [
        (
            Cell(name, asked.to_calls(weekday=day)),
            *(asked.counted(calls.get((day, hour), 0), weekday=day, hour_of_day=hour) for hour in range(24)),
        )
        for day, name in enumerate(WEEKDAYS, 1)
    ]
    columns = [Column("Weekday", "text"), *(Column(f"{hour:02}") for hour in range(24))]
    return Report(columns=columns, rows=rows, is_heat=True)


def step_label(by: str, begin: datetime, asked: ReportQuery) -> str:
    """How a stretch is called. An hour that comes twice has its offset."""
    local = begin.astimezone(asked.zone)
    day = f"{local:%a} {local.day} {local:%b}"
    match by:
        case "hour":
            is_twice = local.utcoffset() != local.replace(fold=1 - local.fold).utcoffset()
            return f"{day} {local:%H:%M}" + (f" {local:%z}" if is_twice else "")
        case "week":
            return f"Week {local.isocalendar().week}, {day} {local.year}"
        case "month":
            return f"{local:%b} {local.year}"
        case "all":
            return "In all"
    return f"{day} {local.year}"


async def _list_steps(asked: ReportQuery) -> list[ReportStep]:
    """Each stretch of the period, those without a call too."""
    summary = await asked.store.summary(asked.where, asked.by, asked.zone.key)
    counts = {row[asked.by]: row for row in summary}
    begins = [asked.since]
    for second in boundaries(asked.by, asked.zone, int(asked.since.timestamp()), int(asked.until.timestamp())):
        begin = datetime.fromtimestamp(second, UTC)
        if asked.since < begin < asked.until:
            begins.append(begin)
        if len(begins) > STEPS_MAX:
            raise UsageError(
                f"there are more than {STEPS_MAX} {asked.by}s", todo="ask for less time, or for longer steps"
            )
    return [
        ReportStep(
            begin,
            end,
            step_label(asked.by, begin, asked),
            counts.get(_step_key(asked.by, begin, asked.zone), _NO_CALLS),
        )
        for begin, end in zip(begins, [*begins[1:], asked.until], strict=True)
    ]


def _step_key(by: str, at: datetime, zone: ZoneInfo) -> str:
    """The first moment of the hour, day, week or month in which this moment is, as a summary writes it."""
    local = at.astimezone(zone)
    if by == "hour":
        return local.replace(minute=0, second=0, microsecond=0).isoformat()
    day = local.date()
    if by == "week":
        day -= timedelta(days=day.weekday())
    if by == "month":
        day = day.replace(day=1)
    return datetime.combine(day, time(), zone).astimezone(UTC).astimezone(zone).isoformat()


def _period_filters(one: ReportStep, asked: ReportQuery) -> dict[str, str]:
    return {
        name: boundary.astimezone(asked.zone).isoformat()
        for name, boundary in (("since", one.since), ("until", one.until))
    }


def _concurrent_calls_url(asked: ReportQuery, at: datetime) -> str:
    """The calls that were under way then; those that began before the period too."""
    return asked.to_calls(under_way_at=at.astimezone(asked.zone).isoformat(), since="")


def _next_start(peaks: Sequence[Any], place: int, asked: ReportQuery) -> datetime:
    return peaks[place + 1].begins_at if place + 1 < len(peaks) else asked.until
