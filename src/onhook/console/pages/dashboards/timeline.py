"""Calls along the time beside those of the same weekdays before.

Invariants: steps are hours, days and weeks of the wall clock, so that each has its counterpart some weeks before:
an hour that occurs twice is one step, one that a clock change skips has no calls. The sum of all steps is the number of
calls.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import msgspec

from onhook.cdr.record_filter import RecordFilter
from onhook.console.pages.dashboards.period import WEEK, DashboardPeriod
from onhook.console.pages.formatting import hour_of_day, short_day, short_time
from onhook.console.pages.reports.over_time import STEPS_MAX, step_label
from onhook.console.pages.reports.report import Chart, ReportQuery, Series, Span
from onhook.lib.errors import UsageError
from onhook.lib.messages import _

_STEP_LENGTHS = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": WEEK}

_LONGEST = ((timedelta(days=14), "hour"), (timedelta(days=120), "day"))
"""Longest period per step: some hundred points; weeks beyond."""


class TimelineStep(msgspec.Struct, frozen=True, kw_only=True):
    """An hour, day or week. `calls` is None where it is still to come, `href` is the URL of its calls, `span` its ends
    within the period.
    """

    label: str
    calls: int | None
    previous: int
    href: str
    span: Span


class Timeline(msgspec.Struct, frozen=True, kw_only=True):
    """Calls by `step`, `hour`, `day` or `week`, in order."""

    step: str
    steps: Sequence[TimelineStep]

    @property
    def chart(self) -> Chart:
        """Return the chart of the same values."""
        return Chart(
            shape="line",
            labels=[step.label for step in self.steps],
            series=[
                Series(_("Calls"), [step.calls for step in self.steps]),
                Series(_("Before"), [step.previous for step in self.steps], "plain"),
            ],
            links=[step.href for step in self.steps],
            spans=[step.span for step in self.steps],
        )


def choose_timeline_step(period: DashboardPeriod) -> str:
    """Return hours for two weeks, days for four months, else weeks."""
    length = period.charted.until - period.charted.since
    return next((step for longest, step in _LONGEST if length <= longest), "week")


async def load_timeline(query: ReportQuery, period: DashboardPeriod) -> Timeline:
    """Return the calls of each step of the period. Raises `UsageError` for one of too many steps."""
    step = choose_timeline_step(period)
    starts = list(_list_starts(step, period, query.zone))
    calls = await _count_calls(query, step, query.search_filter)
    previous = await _count_calls(
        query,
        step,
        msgspec.structs.replace(
            query.search_filter, since=period.previously_charted.since, until=period.previously_charted.until
        ),
    )
    now = _local(period.current.until, query.zone)
    spans = [_span(step, start, period, query.zone) for start in starts]
    return Timeline(
        step=step,
        steps=[
            TimelineStep(
                label=_label(step, start, query, is_one_day=len(starts) <= 24),
                calls=None if start >= now else calls.get(start, 0),
                previous=previous.get(start - period.weeks * WEEK, 0),
                href=query.calls_url(since=span.since, until=span.until),
                span=span,
            )
            for start, span in zip(starts, spans, strict=True)
        ],
    )


async def _count_calls(query: ReportQuery, step: str, search_filter: RecordFilter) -> Mapping[datetime, int]:
    """Return the calls by the local start of their step."""
    counts: dict[datetime, int] = {}
    for row in await query.store.summary(search_filter, step, query.zone.key):
        start = _floor(step, datetime.fromisoformat(row[step]).replace(tzinfo=None))
        counts[start] = counts.get(start, 0) + row["calls"]
    return counts


def _list_starts(step: str, period: DashboardPeriod, zone: ZoneInfo) -> Iterator[datetime]:
    start, end = _floor(step, _local(period.charted.since, zone)), _local(period.charted.until, zone)
    if end - start > STEPS_MAX * _STEP_LENGTHS[step]:
        raise UsageError(
            _("there are more than {limit} steps", limit=STEPS_MAX), location="since", hint=_("choose a shorter period")
        )
    while start < end:
        yield start
        start += _STEP_LENGTHS[step]


def _floor(step: str, local: datetime) -> datetime:
    """Return the start of a step. A day may begin after midnight, where the clock was put forward then."""
    if step == "hour":
        return local.replace(minute=0, second=0)
    day = local.date()
    return datetime.combine(day - timedelta(days=day.weekday() if step == "week" else 0), time())


def _label(step: str, start: datetime, query: ReportQuery, *, is_one_day: bool) -> str:
    instant = _utc(start, query.zone)
    if step == "hour" and _local(instant, query.zone) != start:
        return f"{short_day(start)} {hour_of_day(start.hour, query.zone)}"  # an hour that a clock change skips
    if step == "hour" and is_one_day:
        return short_time(instant, query.zone)
    return step_label(step, instant, query)


def _span(step: str, start: datetime, period: DashboardPeriod, zone: ZoneInfo) -> Span:
    """Return the ends of a step, cut at those of the period."""
    since, until = (_utc(boundary, zone) for boundary in (start, start + _STEP_LENGTHS[step]))
    boundaries = (max(since, period.charted.since), min(until, period.charted.until))
    return Span(*(boundary.astimezone(zone).isoformat() for boundary in boundaries))


def _utc(local: datetime, zone: ZoneInfo) -> datetime:
    return local.replace(tzinfo=zone).astimezone(UTC)


def _local(instant: datetime, zone: ZoneInfo) -> datetime:
    return instant.astimezone(zone).replace(tzinfo=None)
