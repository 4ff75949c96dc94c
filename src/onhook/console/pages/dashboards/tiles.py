"""Kinds of tiles: a line for each, by its name in the address of a dashboard.

Every report can be a tile too, under the name of the report.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Literal

import msgspec

from onhook.cdr.access_scope import AccessScope
from onhook.console.pages.dashboards import figures
from onhook.console.pages.dashboards.figures import Figure, FigureData, Source
from onhook.console.pages.reports.kinds import KINDS
from onhook.console.pages.reports.report import ReportQuery
from onhook.lib.messages import mark

WIDTHS = (2, 3, 4, 6, 8, 12)
"""Widths of a tile, in twelfths of a row."""

Shape = Literal[
    "figure", "timeline", "unreturned", "table", "chart", "pbx_totals", "health", "issues", "calls", "queues_now"
]

REPORT_COLUMNS: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        "queues": ("Queue", "Offered", "Answered", "Abandoned", "Service level", "Abandon rate", "ASA", "P90 wait"),
        "ring-groups": ("Ring group", "Offered", "Answered", "Abandoned", "ASA", "P90 wait"),
        "agents": ("Agent", "Answered", "Missed rings", "Queue", "Talk"),
        "callers": ("Caller", "PBX", "Calls", "Missed", "Talk"),
        "dialled": ("Dialled", "PBX", "Calls", "Missed", "Talk"),
        "extensions": ("Extension", "PBX", "Received", "Answered", "Outgoing", "Talk time"),
        "trunks": ("Trunk", "PBX", "Calls", "ASR", "Peak"),
        "dids": ("DID", "Calls", "Missed", "Talk"),
        "pbxs": ("PBX", "Calls", "Missed", "Talk"),
    }
)
"""Columns in a tile, of reports whose tile is a table; others have a chart, or all of their columns."""

RECENT_REPORTS = frozenset({"callers", "dialled", "repeat-callers", "returned"})
"""Reports that read each call: of a long period with many calls their tile has the last days."""

_CHART_REPORTS = frozenset(
    {"volume", "concurrent", "quality", "outcomes", "answer", "wait", "ring", "talk", "queue-hours", "queue-weekdays"}
)


class TileKind(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of tile: its title, its shape, its usual width, and what it needs. `report` is the name of a report.
    `needs_all`: it is for readers without a scope.
    """

    title: str
    group: str
    shape: Shape
    width: int = 2
    sources: tuple[Source, ...] = ()
    figure: Callable[[ReportQuery, FigureData], Figure] | None = None
    report: str = ""
    needs_all: bool = False

    def is_visible(self, scope: AccessScope | None) -> bool:
        """Return whether a reader may see such a tile."""
        if self.shape == "health":
            # The state of a whole PBX is more than a reader of some extensions may know.
            return scope is None or not scope.limits_numbers
        return scope is None or not self.needs_all


class Tile(msgspec.Struct, frozen=True):
    """A tile of a dashboard: the name of its kind, and its width."""

    kind: str
    width: int


def _figure(title: str, group: str, figure: Callable[[ReportQuery, FigureData], Figure], *sources: Source) -> TileKind:
    return TileKind(title=title, group=group, shape="figure", sources=sources, figure=figure)


_CALLS, _QUEUES, _OPERATION, _REPORTS = mark("Calls"), mark("Queues"), mark("Operation"), mark("Reports")

TILE_KINDS: Mapping[str, TileKind] = MappingProxyType(
    {
        "calls": _figure(mark("Calls"), _CALLS, figures.calls, "totals"),
        "answer-rate": _figure(mark("Answer rate"), _CALLS, figures.answer_rate, "totals"),
        "missed": _figure(mark("Missed"), _CALLS, figures.missed, "totals"),
        "unreturned-count": _figure(mark("Unreturned"), _CALLS, figures.unreturned, "recent", "missed"),
        "talk-time": _figure(mark("Talk"), _CALLS, figures.talk, "totals"),
        "time-to-answer": _figure(mark("Time to answer"), _CALLS, figures.time_to_answer, "answer_times"),
        "p90-answer": _figure(mark("P90 wait"), _CALLS, figures.p90_wait, "answer_times"),
        "longest-wait": _figure(mark("Longest wait"), _CALLS, figures.longest_wait, "totals"),
        "timeline": TileKind(title=mark("Calls over time"), group=_CALLS, shape="timeline", width=8),
        "unreturned-calls": TileKind(
            title=mark("Unreturned missed calls"),
            group=_CALLS,
            shape="unreturned",
            width=4,
            sources=("recent", "missed"),
        ),
        "latest-calls": TileKind(title=mark("Latest calls"), group=_CALLS, shape="calls", width=12),
        "pbx-totals": TileKind(
            title=mark("Totals by PBX"), group=_CALLS, shape="pbx_totals", width=6, sources=("totals",)
        ),
        "offered": _figure(mark("Offered to queues"), _QUEUES, figures.offered, "visits"),
        "service-level": _figure(mark("Service level"), _QUEUES, figures.service_level, "visits"),
        "abandon-rate": _figure(mark("Abandon rate"), _QUEUES, figures.abandon_rate, "visits"),
        "asa": _figure(mark("ASA"), _QUEUES, figures.asa, "visits"),
        "queue-p90": _figure(mark("P90 wait in queues"), _QUEUES, figures.queue_p90_wait, "visits"),
        "queues-now": TileKind(title=mark("Queues now"), group=_QUEUES, shape="queues_now", width=6),
        "issues": TileKind(title=mark("Issues"), group=_OPERATION, shape="issues", width=12, needs_all=True),
        "health": TileKind(title=mark("PBXs"), group=_OPERATION, shape="health", width=12),
        **{
            name: TileKind(
                title=kind.title,
                group=_REPORTS,
                shape="chart" if name in _CHART_REPORTS else "table",
                width=6,
                sources=("visits",) if name == "queues" else ("recent",) if name in RECENT_REPORTS else (),
                report=name,
            )
            for name, kind in KINDS.items()
            if name not in ("unreturned", "week")
        },
    }
)

DEFAULT_TILES = (
    Tile("issues", 12),
    Tile("health", 12),
    Tile("calls", 2),
    Tile("answer-rate", 2),
    Tile("missed", 4),
    Tile("unreturned-count", 2),
    Tile("talk-time", 2),
    Tile("service-level", 2),
    Tile("asa", 2),
    Tile("queue-p90", 2),
    Tile("abandon-rate", 2),
    Tile("time-to-answer", 2),
    Tile("longest-wait", 2),
    Tile("timeline", 8),
    Tile("unreturned-calls", 4),
    Tile("queues-now", 12),
    Tile("queues", 12),
    Tile("callers", 6),
    Tile("dialled", 6),
    Tile("pbx-totals", 12),
    Tile("latest-calls", 12),
)
"""Tiles of the dashboard that exists without having been saved."""
