"""What a report is: rows of cells, and a picture of the same values. All of its kinds make one; page and file show it.

Laws: a value stands once, in its cell; the picture names cells' values and nothing else. A cell that counts calls
leads to exactly those calls.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Generic, Literal, TypeVar, overload
from urllib.parse import quote_plus
from zoneinfo import ZoneInfo

import msgspec

from onhook.cdr.number_plan import NumberPlan
from onhook.cdr.record_filter import RecordFilter
from onhook.store.contract import Store

CellValue = str | int | float | datetime | None
ColumnKind = Literal["text", "party", "count", "seconds", "share", "time", "outcome"]
"""A share is between 0 and 1; a party may be `Name<number>`."""

KeyT = TypeVar("KeyT")

CALLS_PAGE = "/calls"

ASR_AND_ACD = "ASR: calls answered by a person, of all calls. ACD: their talk with a person, on average."


class Cell(msgspec.Struct, frozen=True):
    """A value, and where it leads; None is one that nobody knows."""

    value: CellValue
    href: str = ""


class Column(msgspec.Struct, frozen=True):
    """What the cells of a column are."""

    title: str
    kind: ColumnKind = "count"


class Series(msgspec.Struct, frozen=True):
    """A line, or bars of one colour. `tone` is what the colour means."""

    name: str
    values: Sequence[int | float | None]
    tone: Literal["plain", "good", "bad", "soft", "accent"] = "accent"


class Chart(msgspec.Struct, frozen=True, kw_only=True):
    """A picture: `labels` along the axis, and a link for each."""

    shape: Literal["bar", "stack", "line"]
    labels: Sequence[str]
    series: Sequence[Series]
    links: Sequence[str] = ()
    unit: Literal["count", "seconds", "share"] = "count"
    is_sideways: bool = False


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """`note` says what a reader must know to read it right. With `is_heat` the cells are shaded by their values."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    chart: Chart | None = None
    note: str = ""
    is_heat: bool = False


class LazyRows(Sequence[Sequence[Cell]], Generic[KeyT]):
    """The rows of many extensions, each made when it is looked at: a page shows few of them."""

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
    """What is reported on: `search_filter` has both ends of the period; `filters` are its parts of a query, for links:
    written once, because a table of thousands of extensions has many thousands of links."""

    store: Store
    search_filter: RecordFilter
    since: datetime
    until: datetime
    zone: ZoneInfo
    by: str
    filters: Mapping[str, str]
    zone_param: str
    number_plans: Mapping[str, NumberPlan]

    def calls_url(self, **narrowing_filters: object) -> str:
        """Where the calls behind a figure are listed."""
        texts = {**self.filters, **query_parts({name: str(value) for name, value in narrowing_filters.items()})}
        return f"{CALLS_PAGE}?{'&'.join(filter(None, texts.values()))}"

    def count_cell(self, number: int, **narrowing_filters: object) -> Cell:
        """A count of calls; a zero leads nowhere."""
        return Cell(number, self.calls_url(**narrowing_filters) if number else "")

    def number_kind(self, pbx: str, number: str) -> str:
        """What a number is by the plan of that PBX."""
        return self.number_plans.get(pbx, NumberPlan()).kind_of(number)


def query_parts(filters: Mapping[str, str]) -> dict[str, str]:
    """Each filter as a part of a query; an empty one as none.

    >>> query_parts({"call_from": "Bob & Co", "since": ""})
    {'call_from': 'call_from=Bob+%26+Co', 'since': ''}
    """
    return {name: f"{name}={quote_plus(text)}" if text else "" for name, text in filters.items()}


def share(part: int, whole: int) -> float | None:
    """A part of a whole, None of nothing."""
    return part / whole if whole else None


def mean(total: int | None, count: int) -> int | None:
    """Seconds on average, rounded; None where nobody said any."""
    return None if total is None or not count else round(total / count)
