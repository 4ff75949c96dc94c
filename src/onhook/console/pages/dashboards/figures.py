"""Figures of a dashboard: counts and durations of a period, each beside that of the same weekdays before.

Invariants: what no tile shows is not counted. A figure that counts calls links to exactly those calls.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import msgspec

from onhook.cdr.queue_figures import QueueCount, QueueFigures
from onhook.console.pages.dashboards.period import DashboardPeriod
from onhook.console.pages.reports.missed import RECENT_DAYS
from onhook.console.pages.reports.queues import count_visits, total_figures
from onhook.console.pages.reports.recent import cut_query
from onhook.console.pages.reports.report import ReportQuery, share
from onhook.console.pages.totals import Totals, add_up
from onhook.lib.bounded_tasks import BoundedTasks
from onhook.lib.messages import _
from onhook.store.contract import MissedCalls
from onhook.store.figures import DurationHistogram

UNRETURNED_MAX = 10
"""The latest; all are in a report."""

RECENT_CALLS_MAX = 100_000
"""Of a longer period with more calls, what is read call by call is that of the last days: a page of many tiles takes as
long as one report.
"""

Source = Literal["totals", "recent", "visits", "missed", "answer_times"]
Unit = Literal["count", "seconds", "share"]


class FigureData(msgspec.Struct, frozen=True, kw_only=True):
    """What the store counted for the figures; None is not needed by any tile. `recent_query` is that of what is read
    call by call, and `cut_note` says where it has the last days only.
    """

    by_pbx: Sequence[Mapping[str, Any]] = ()
    totals: Totals = Totals()
    previous: Totals = Totals()
    visits: Sequence[QueueCount] = ()
    queues: QueueFigures | None = None
    previous_queues: QueueFigures | None = None
    recent_query: ReportQuery | None = None
    missed: MissedCalls | None = None
    cut_note: str = ""
    answer_times: DurationHistogram | None = None


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One figure; None is unknown. `previous` is that of the same weekdays before, where it is compared; `parts` are
    the text, the URL and the number of what it consists of. `detail` says what the figure is, `note` that it leaves
    something out.
    """

    value: int | float | None
    unit: Unit = "count"
    href: str = ""
    previous: int | float | None = None
    detail: str = ""
    note: str = ""
    parts: Sequence[tuple[str, str, int]] = ()


class FigureReads:
    """The reads of the named sources, as tasks: those of single calls start once their period is known."""

    def __init__(
        self, tasks: BoundedTasks, query: ReportQuery, period: DashboardPeriod, sources: Collection[Source]
    ) -> None:
        self._tasks = tasks
        self._query = query
        self._sources = frozenset(sources)
        self._previous = _in_previous_period(query, period)
        self._recent = (query, "")
        # Totals first: what is read of single calls depends on them.
        needs_totals = not self._sources.isdisjoint({"totals", "recent"})
        self._totals = [tasks.start(partial(_sum_by_pbx, each)) for each in self._queries] if needs_totals else []
        self._visits = (
            [tasks.start(partial(count_visits, each, "queue")) for each in self._queries]
            if "visits" in self._sources
            else []
        )
        self._answer_times = (
            tasks.start(partial(_load_answer_times, query)) if "answer_times" in self._sources else None
        )
        self._missed: asyncio.Task[MissedCalls] | None = None

    @property
    def _queries(self) -> tuple[ReportQuery, ReportQuery]:
        return self._query, self._previous

    async def start_recent(self) -> ReportQuery:
        """Start what is read call by call; return its query, which of many calls has the last days."""
        if "recent" in self._sources and add_up(await self._totals[0]).calls > RECENT_CALLS_MAX:
            self._recent = cut_query(self._query, RECENT_DAYS)
        if "missed" in self._sources:
            self._missed = self._tasks.start(partial(_load_missed, self._recent[0]))
        return self._recent[0]

    def collect(self) -> FigureData:
        """Return what was read, after the block of the tasks."""
        by_pbx, previous_by_pbx = (task.result() for task in self._totals) if self._totals else ((), ())
        visits, previous_visits = (task.result() for task in self._visits) if self._visits else ((), ())
        return FigureData(
            by_pbx=by_pbx,
            totals=add_up(by_pbx),
            previous=add_up(previous_by_pbx),
            visits=visits,
            queues=total_figures(self._query, visits) if self._visits else None,
            previous_queues=total_figures(self._previous, previous_visits) if self._visits else None,
            recent_query=self._recent[0],
            cut_note=self._recent[1],
            missed=None if self._missed is None else self._missed.result(),
            answer_times=None if self._answer_times is None else self._answer_times.result(),
        )


async def _sum_by_pbx(query: ReportQuery) -> Sequence[Mapping[str, Any]]:
    return await query.store.summary(query.search_filter, "pbx", query.zone.key)


async def _load_missed(query: ReportQuery) -> MissedCalls:
    missed_filter = _inbound(query).search_filter
    return _name_callers(query, await query.store.missed_calls(missed_filter, UNRETURNED_MAX, is_returned=False))


async def _load_answer_times(query: ReportQuery) -> DurationHistogram:
    answered_filter = msgspec.structs.replace(query.search_filter, status="ANSWERED")
    return await query.store.histogram(answered_filter, "wait_duration", [0])


def _in_previous_period(query: ReportQuery, period: DashboardPeriod) -> ReportQuery:
    since, until = period.previous.since, period.previous.until
    search_filter = msgspec.structs.replace(query.search_filter, since=since, until=until)
    return msgspec.structs.replace(query, since=since, until=until, search_filter=search_filter)


def _inbound(query: ReportQuery) -> ReportQuery:
    """Return the query of inbound calls, unless another type was chosen."""
    if query.search_filter.type:
        return query
    return msgspec.structs.replace(query, search_filter=msgspec.structs.replace(query.search_filter, type="inbound"))


def _name_callers(query: ReportQuery, result: MissedCalls) -> MissedCalls:
    """Return missed calls whose callers have names: they are inbound calls, unless another type was chosen."""
    is_outside = not query.search_filter.type
    named = [
        msgspec.structs.replace(
            call, call_from=query.directory.name_party(call.sn, call.call_from, is_outside=is_outside)
        )
        for call in result.data
    ]
    return msgspec.structs.replace(result, data=named)


def calls(query: ReportQuery, data: FigureData) -> Figure:
    """Return the number of calls."""
    return Figure(value=data.totals.calls, href=query.calls_url(), previous=data.previous.calls)


def answer_rate(query: ReportQuery, data: FigureData) -> Figure:
    """Return the share of calls that a person answered."""
    totals = data.totals
    return Figure(
        value=share(totals.answered, totals.calls),
        unit="share",
        href=query.calls_url(status="ANSWERED"),
        previous=share(data.previous.answered, data.previous.calls),
        detail=_("{answered} of {calls}", answered=totals.answered, calls=totals.calls),
    )


def missed(query: ReportQuery, data: FigureData) -> Figure:
    """Return the number of unanswered calls, by outcome."""
    totals = data.totals
    outcomes = [(text, query.calls_url(status=status), number) for text, status, number in totals.missed_by_outcome]
    return Figure(
        value=totals.missed, href=query.calls_url(status="!ANSWERED"), previous=data.previous.missed, parts=outcomes
    )


def unreturned(query: ReportQuery, data: FigureData) -> Figure:
    """Return the number of missed inbound calls that were not returned."""
    result = data.missed
    return Figure(
        value=None if result is None else result.unreturned,
        href=report_url(query, "unreturned"),
        detail="" if result is None else _("{returned} returned", returned=result.returned),
        note=data.cut_note.strip(),
    )


def talk(query: ReportQuery, data: FigureData) -> Figure:
    """Return the sum of the talk with persons."""
    return Figure(
        value=data.totals.talk_duration,
        unit="seconds",
        href=query.calls_url(min_talk_duration=1),
        previous=data.previous.talk_duration,
    )


def time_to_answer(query: ReportQuery, data: FigureData) -> Figure:
    """Return the median of the wait of answered calls."""
    histogram = data.answer_times
    return Figure(
        value=None if histogram is None else histogram.median,
        unit="seconds",
        href=report_url(query, "answer"),
        detail=_("median: half of the calls were answered within it"),
    )


def p90_wait(query: ReportQuery, data: FigureData) -> Figure:
    """Return the wait that nine of ten answered calls did not exceed."""
    histogram = data.answer_times
    return Figure(
        value=None if histogram is None else histogram.p90,
        unit="seconds",
        href=report_url(query, "answer"),
        detail=_("nine of ten answered calls waited no longer"),
    )


def longest_wait(query: ReportQuery, data: FigureData) -> Figure:
    """Return the longest wait of all calls."""
    waits = [row["wait_duration_max"] for row in data.by_pbx if row["wait_duration_max"] is not None]
    return Figure(
        value=max(waits, default=None),
        unit="seconds",
        href=query.calls_url(sort="-wait_duration"),
    )


def offered(query: ReportQuery, data: FigureData) -> Figure:
    """Return the number of visits to queues."""
    return _queue_figure(query, data, lambda figures: figures.offered)


def service_level(query: ReportQuery, data: FigureData) -> Figure:
    """Return the share of visits to queues that were answered in time."""
    return _queue_figure(query, data, lambda figures: figures.service_level, "share")


def abandon_rate(query: ReportQuery, data: FigureData) -> Figure:
    """Return the share of visits to queues that were abandoned, short ones left out."""
    return _queue_figure(query, data, lambda figures: figures.abandon_rate, "share")


def asa(query: ReportQuery, data: FigureData) -> Figure:
    """Return the average wait of answered visits to queues."""
    return _queue_figure(query, data, lambda figures: figures.wait_average, "seconds")


def queue_p90_wait(query: ReportQuery, data: FigureData) -> Figure:
    """Return the wait that nine of ten answered visits to queues did not exceed."""
    return _queue_figure(query, data, lambda figures: figures.wait_p90, "seconds")


def _queue_figure(
    query: ReportQuery,
    data: FigureData,
    read: Callable[[QueueFigures], int | float | None],
    unit: Unit = "count",
) -> Figure:
    value, previous = (None if figures is None else read(figures) for figures in (data.queues, data.previous_queues))
    return Figure(value=value, unit=unit, previous=previous, href=report_url(query, "queues"))


def report_url(query: ReportQuery, name: str) -> str:
    """Return the URL of a report with the same filters."""
    return "/reports?" + "&".join([f"report={name}", *filter(None, query.filters.values())])
