"""A report: rows of cells, and a chart of the same values. Builders return it; page and file show it.

Invariants: a value is in one cell; the chart has values of cells only. A cell that counts calls links to exactly those
calls.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Generic, Literal, TypeVar, overload
from urllib.parse import quote_plus
from zoneinfo import ZoneInfo

import msgspec

from onhook.cdr.directory import NO_NAMES, NameDirectory
from onhook.cdr.number_masking import is_masked
from onhook.cdr.number_plan import NumberPlan
from onhook.cdr.party_groups import NO_GROUPS, PartyGroupKind, PartyGroups
from onhook.cdr.queue_figures import QueueTargets
from onhook.cdr.record_filter import RecordFilter
from onhook.console.queries.period import Period
from onhook.lib.messages import mark
from onhook.store.contract import Store

CellValue = str | int | float | datetime | None
ColumnKind = Literal["text", "party", "count", "seconds", "share", "time", "outcome"]
"""A share is between 0 and 1; a party may be `Name<number>`."""

KeyT = TypeVar("KeyT")

CALLS_PAGE = "/calls"

ASR_AND_ACD = mark("ASR: calls answered by a person, divided by all calls. ACD: average talk of these calls.")


class Cell(msgspec.Struct, frozen=True):
    """A value, and its link; None is unknown. `name` is that of a number in the directory."""

    value: CellValue
    href: str = ""
    name: str = ""

    @property
    def label(self) -> str:
        """Return the text of the cell: `Alice (1001)`."""
        return f"{self.name} ({self.value})" if self.name else str(self.value)


class Column(msgspec.Struct, frozen=True):
    """Kind of the cells of a column."""

    title: str
    kind: ColumnKind = "count"


class Series(msgspec.Struct, frozen=True):
    """A line, or bars of one colour. `tone` is the meaning of the colour."""

    name: str
    values: Sequence[int | float | None]
    tone: Literal["plain", "good", "bad", "soft", "accent"] = "accent"


class Span(msgspec.Struct, frozen=True):
    """The ends of a step along the time, as texts of the filters `since` and `until`."""

    since: str
    until: str


class Chart(msgspec.Struct, frozen=True, kw_only=True):
    """A chart: `labels` along the axis, which has a title where they need one, and a link for each; along the time also
    a span for each, to which a reader can narrow the period of the page.
    """

    shape: Literal["bar", "stack", "line"]
    labels: Sequence[str]
    series: Sequence[Series]
    links: Sequence[str] = ()
    spans: Sequence[Span] = ()
    axis_title: str = ""
    unit: Literal["count", "seconds", "share"] = "count"
    is_sideways: bool = False


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """`note` explains the figures. With `is_heat` the cells are shaded by their values."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    chart: Chart | None = None
    note: str = ""
    is_heat: bool = False


class LazyRows(Sequence[Sequence[Cell]], Generic[KeyT]):
    """Rows of many extensions, each built when it is read: a page shows few of them."""

    def __init__(self, keys: Sequence[KeyT], make: Callable[[KeyT], Sequence[Cell]]) -> None:
        self._keys = keys
        self._make = make

    def __len__(self) -> int:
        return len(self._keys)

    @overload
    def __getitem__(self, index: int) -> Sequence[Cell]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Sequence[Cell]]: ...
    def __getitem__(self, index: int | slice) -> Sequence[Cell] | Sequence[Sequence[Cell]]:
        if isinstance(index, slice):
            return [self._make(key) for key in self._keys[index]]
        return self._make(self._keys[index])


class ReportQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Subject of a report: `search_filter` has both ends of the period; `filters` are its parts of a query, for links:
    encoded once, because a table of thousands of extensions has many thousands of links. With `group_by` a report that
    can has a row for each of the `groups` of that kind.
    """

    store: Store
    search_filter: RecordFilter
    since: datetime
    until: datetime
    zone: ZoneInfo
    by: str
    filters: Mapping[str, str]
    zone_param: str
    number_plans: Mapping[str, NumberPlan]
    compared: Period | None = None
    queue_targets: Mapping[tuple[str, str], QueueTargets] = {}
    directory: NameDirectory = NO_NAMES
    sns_by_pbx: Mapping[str, str] = {}
    group_by: PartyGroupKind | None = None
    groups: PartyGroups = NO_GROUPS

    def calls_url(self, **narrowing_filters: object) -> str:
        """Return the URL of the calls of a figure."""
        texts = {**self.filters, **query_parts({name: str(value) for name, value in narrowing_filters.items()})}
        return f"{CALLS_PAGE}?{'&'.join(filter(None, texts.values()))}"

    def count_cell(self, number: int, **narrowing_filters: object) -> Cell:
        """Return a cell with a count of calls; zero has no link."""
        return Cell(number, self.calls_url(**narrowing_filters) if number else "")

    def in_compared_period(self) -> "ReportQuery | None":
        """Return the query of the period to compare with, if one was chosen."""
        if self.compared is None:
            return None
        since, until = self.compared.since, self.compared.until
        texts = {name: time.astimezone(self.zone).isoformat() for name, time in (("since", since), ("until", until))}
        return msgspec.structs.replace(
            self,
            since=since,
            until=until,
            search_filter=msgspec.structs.replace(self.search_filter, since=since, until=until),
            filters={**self.filters, **query_parts(texts)},
            compared=None,
        )

    def targets_of(self, pbx: str, queue: str) -> QueueTargets:
        """Return the settings of a queue or ring group."""
        return self.queue_targets.get((pbx, queue), QueueTargets())

    def number_cell(self, number: str, href: str = "", pbx: str | None = None) -> Cell:
        """Return a cell with a number and its name: in a PBX, or in all that the reader may see."""
        if pbx is None:
            scope = self.search_filter.scope
            return Cell(number, href, self.directory.find_name_in(None if scope is None else scope.sns, number))
        return Cell(number, href, self.directory.find_name(self.sns_by_pbx.get(pbx, ""), number))

    def number_kind(self, pbx: str, number: str) -> str:
        """Return the kind of a number by the number plan of the PBX; a masked one is external."""
        if is_masked(number):
            return "external"
        return self.number_plans.get(pbx, NumberPlan()).kind_of(number)


def query_parts(filters: Mapping[str, str]) -> dict[str, str]:
    """Return each filter as a part of a query; an empty one is left out.

    >>> query_parts({"call_from": "Bob & Co", "since": ""})
    {'call_from': 'call_from=Bob+%26+Co', 'since': ''}
    """
    return {name: f"{name}={quote_plus(text)}" if text else "" for name, text in filters.items()}


def share(part: int, whole: int) -> float | None:
    """Return a part of a whole, None where the whole is 0."""
    return part / whole if whole else None


def mean(total: int | None, count: int) -> int | None:
    """Return the average in seconds, rounded; None where it is unknown."""
    return None if total is None or not count else round(total / count)
