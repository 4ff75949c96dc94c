"""The chart of an SQL result: bars where the first column has names and another one counts."""

from collections.abc import Mapping, Sequence
from typing import Literal

from onhook.console.pages.reports.report import Chart, Series
from onhook.lib.messages import _
from onhook.store.sql.contract import SqlCell, SqlResult

BARS_MAX = 60
"""Bars of a chart; more cannot be distinguished."""

TONES: Sequence[Literal["plain", "good", "bad", "soft", "accent"]] = ("accent", "plain", "soft", "bad", "good")
"""Colours of a stacked chart: the last parts of more are one."""


def build_chart(result: SqlResult) -> Chart | None:
    """Return the chart of a result whose columns are one or two names and then numbers; else None.

    With one name, the first number is drawn by it; with two, the first number by the first name, in a colour for each
    of the second. Names that are times are drawn in their order.
    """
    is_number = [_has_numbers(result.rows, index) for index in range(len(result.columns))]
    names = is_number.index(True) if True in is_number else 0
    if len(result.rows) < 2 or names not in (1, 2) or not all(is_number[names:]):
        return None
    return _bars(result) if names == 1 else _stacked_bars(result)


def _bars(result: SqlResult) -> Chart | None:
    values = {str(row[0]): _to_number(row[1]) for row in result.rows}
    if len(values) != len(result.rows):
        return None
    labels = _in_order(list(values))[:BARS_MAX]
    return Chart(shape="bar", labels=labels, series=[Series(result.columns[1], [values[label] for label in labels])])


def _stacked_bars(result: SqlResult) -> Chart | None:
    values = {(str(row[0]), str(row[1])): _to_number(row[2]) or 0 for row in result.rows}
    if len(values) != len(result.rows):
        return None
    labels = _in_order(list(dict.fromkeys(label for label, _part in values)))[:BARS_MAX]
    series = [
        Series(name, [sum(values.get((label, part), 0) for part in parts) for label in labels], tone)
        for (name, parts), tone in zip(_group_parts(values).items(), TONES, strict=False)
    ]
    return Chart(shape="stack", labels=labels, series=series)


def _group_parts(values: Mapping[tuple[str, str], int | float]) -> dict[str, list[str]]:
    """Return the parts of a stacked chart by their name, the largest first; the smallest of many are one together."""
    totals: dict[str, int | float] = {}
    for (_label, part), value in values.items():
        totals[part] = totals.get(part, 0) + value
    parts = sorted(totals, key=lambda part: -totals[part])
    if len(parts) <= len(TONES):
        return {part: [part] for part in parts}
    shown_parts = parts[: len(TONES) - 1]
    return {**{part: [part] for part in shown_parts}, _("other"): parts[len(shown_parts) :]}


def _in_order(labels: list[str]) -> list[str]:
    """Return dates and times in their order, the latest that fit; other names as they are."""
    if all(_is_time(label) for label in labels):
        return sorted(labels)[-BARS_MAX:]
    return labels


def _is_time(label: str) -> bool:
    """Return whether a name begins with a date.

    >>> _is_time("2026-04-27"), _is_time("2026-04-27 11:04:36"), _is_time("ANSWERED")
    (True, True, False)
    """
    return len(label) >= 10 and label[:4].isdigit() and label[4] == label[7] == "-" and label[8:10].isdigit()


def _has_numbers(rows: Sequence[Sequence[SqlCell]], index: int) -> bool:
    """Return whether a column has numbers, and nothing else but empty cells."""
    cells = [row[index] for row in rows if row[index] is not None]
    return bool(cells) and all(isinstance(cell, int | float) and not isinstance(cell, bool) for cell in cells)


def _to_number(cell: SqlCell) -> int | float | None:
    return cell if isinstance(cell, int | float) else None
