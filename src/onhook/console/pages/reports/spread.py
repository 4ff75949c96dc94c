"""Reports of how long calls rang, waited and talked."""

from collections.abc import Awaitable, Callable, Sequence

import msgspec

from onhook.console.pages.reports.report import Asked, Cell, Chart, Column, Report, Series, share

WAITS = (0, 5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 300, 600)
TALKS = (0, 10, 30, 60, 120, 180, 300, 600, 900, 1_800, 3_600)
"""Edges in seconds: fine where most calls are."""

_NOTE = "Half of the calls took no longer than {median}, 9 of 10 no longer than {p90}; the longest took {longest}."


def spread_of(of: str, edges: Sequence[int], status: str = "") -> Callable[[Asked], Awaitable[Report]]:
    """The kind of report that spreads one duration, of all calls or of those with one status."""

    async def made(asked: Asked) -> Report:
        where = msgspec.structs.replace(asked.where, status=status) if status else asked.where
        found = await asked.store.spread(where, of, edges)
        whole = sum(found.counts)
        steps = list(zip(edges, [*edges[1:], None], strict=True))
        links = [asked.to_calls(**_between(of, low, high), **_status(status)) for low, high in steps]
        labels = [_label(low, high) for low, high in steps]
        rows = [
            (Cell(label), Cell(count, link if count else ""), Cell(share(count, whole)))
            for label, count, link in zip(labels, found.counts, links, strict=True)
        ]
        return Report(
            columns=[Column("Seconds", "text"), Column("Calls"), Column("Share", "share")],
            rows=rows,
            chart=Chart(shape="bar", labels=labels, series=[Series("Calls", list(found.counts))], links=links),
            note=_said(found.median, found.p90, found.longest, found.unknown),
        )

    return made


def _between(of: str, low: int, high: int | None) -> dict[str, int]:
    until = {} if high is None else {f"max_{of}": high - 1}
    return {f"min_{of}": low} | until


def _status(status: str) -> dict[str, str]:
    return {"status": status} if status else {}


def _label(low: int, high: int | None) -> str:
    return f"{low} and more" if high is None else f"{low} to {high - 1}"


def _said(median: int | None, p90: int | None, longest: int | None, unknown: int) -> str:
    if median is None:
        return "Nobody reported such a duration in this period."
    said = _NOTE.format(median=_seconds(median), p90=_seconds(p90), longest=_seconds(longest))
    return f"{said} Of {unknown} more nobody reported it." if unknown else said


def _seconds(number: int | None) -> str:
    return f"{number} s" if number is None or number < 120 else f"{number // 60} min {number % 60} s"
