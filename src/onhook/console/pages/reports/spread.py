"""Reports of the distribution of ring, wait and talk times."""

from collections.abc import Awaitable, Callable, Sequence

import msgspec

from onhook.console.pages.formatting import minutes
from onhook.console.pages.reports.report import Cell, Chart, Column, Report, ReportQuery, Series, share
from onhook.lib.messages import _, mark

WAIT_EDGES = tuple(range(0, 301, 15))
TALK_EDGES = tuple(range(0, 1_201, 60))
"""Bounds in seconds, at equal distances, as the bars of the chart are; the last bar has all longer durations."""


def duration_report(
    duration_name: str, edges: Sequence[int], status: str = ""
) -> Callable[[ReportQuery], Awaitable[Report]]:
    """Return the report of one duration, of all calls or of those with one status."""

    async def build(query: ReportQuery) -> Report:
        search_filter = msgspec.structs.replace(query.search_filter, status=status) if status else query.search_filter
        histogram = await query.store.histogram(search_filter, duration_name, edges)
        total = sum(histogram.counts)
        ranges = list(zip(edges, [*edges[1:], None], strict=True))
        links = [
            query.calls_url(**_range_filters(duration_name, low, high), **_status_filter(status))
            for low, high in ranges
        ]
        labels = [_range_label(low, high) for low, high in ranges]
        rows = [
            (Cell(label), Cell(count, link if count else ""), Cell(share(count, total)))
            for label, count, link in zip(labels, histogram.counts, links, strict=True)
        ]
        return Report(
            columns=[Column(mark("Seconds"), "text"), Column(mark("Calls")), Column(mark("Share"), "share")],
            rows=rows,
            chart=Chart(
                shape="bar",
                labels=labels,
                series=[Series(_("Calls"), list(histogram.counts))],
                links=links,
                axis_title=_("Seconds"),
            ),
            note=_describe_durations(histogram.median, histogram.p90, histogram.longest, histogram.unknown),
        )

    return build


def _range_filters(duration_name: str, low: int, high: int | None) -> dict[str, int]:
    upper_filter = {} if high is None else {f"max_{duration_name}": high - 1}
    return {f"min_{duration_name}": low} | upper_filter


def _status_filter(status: str) -> dict[str, str]:
    return {"status": status} if status else {}


def _range_label(low: int, high: int | None) -> str:
    if high is None:
        return _("{seconds} and more", seconds=low)
    return _("{low} to {high}", low=low, high=high - 1)


def _describe_durations(median: int | None, p90: int | None, longest: int | None, unknown: int) -> str:
    if median is None:
        return _("There is no such duration in this period.")
    text = _(
        "Median {median} · P90 {p90} · maximum {longest}.",
        median=minutes(median),
        p90=minutes(p90),
        longest=minutes(longest),
    )
    return text + " " + _("{unknown} more calls have no such duration.", unknown=unknown) if unknown else text
