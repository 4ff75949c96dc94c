"""The chart of an SQL result: drawn where it makes sense, and right."""

from datetime import UTC, datetime

import pytest

from onhook.console.pages.reports.report import Chart, Series
from onhook.console.pages.sql import EXAMPLES
from onhook.console.pages.sql_chart import BARS_MAX, build_chart
from onhook.store.sql.contract import SqlCell, SqlResult


def result(columns: tuple[str, ...], *rows: tuple[SqlCell, ...]) -> SqlResult:
    return SqlResult(columns=columns, rows=rows, is_truncated=False, data_at=datetime(2026, 4, 27, tzinfo=UTC))


def test_build_chart_name_and_numbers_has_bars_of_the_first_number() -> None:
    chart = build_chart(result(("person", "seconds", "calls"), ("1001", 30, 2), ("1002", None, 1)))
    assert chart == Chart(shape="bar", labels=["1001", "1002"], series=[Series("seconds", [30, None])])


def test_build_chart_two_names_and_a_number_is_stacked_in_the_order_of_days() -> None:
    chart = build_chart(
        result(
            ("day", "status", "calls"),
            ("2026-04-28", "ANSWERED", 5),
            ("2026-04-27", "BUSY", 1),
            ("2026-04-27", "ANSWERED", 3),
        )
    )
    assert chart is not None
    assert (chart.shape, chart.labels) == ("stack", ["2026-04-27", "2026-04-28"])
    assert [(series.name, series.values) for series in chart.series] == [("ANSWERED", [3, 5]), ("BUSY", [1, 0])]


def test_build_chart_many_parts_has_the_largest_and_the_others_together() -> None:
    rows = [("monday", f"status {number}", number) for number in range(1, 8)]
    chart = build_chart(result(("day", "status", "calls"), *rows, ("sunday", "status 1", 9)))
    assert chart is not None
    assert [(series.name, series.values) for series in chart.series] == [
        ("status 1", [1, 9]),
        ("status 7", [7, 0]),
        ("status 6", [6, 0]),
        ("status 5", [5, 0]),
        ("other", [2 + 3 + 4, 0]),
    ]


def test_build_chart_many_days_has_the_latest() -> None:
    rows = [(f"2026-{month:02}-{day:02}", 1) for month in (1, 2, 3) for day in range(1, 29)]
    chart = build_chart(result(("day", "calls"), *reversed(rows)))
    assert chart is not None
    assert (chart.labels[0], chart.labels[-1], len(chart.labels)) == ("2026-01-25", "2026-03-28", BARS_MAX)


@pytest.mark.parametrize(
    "table",
    [
        result(("calls",), (1,), (2,)),
        result(("status", "calls"), ("BUSY", 1)),
        result(("status", "calls")),
        result(("call_from", "call_to"), ("1001", "1002"), ("1003", "1004")),
        result(("started_at", "call_from", "call_to", "talk"), ("a", "b", "c", 1), ("d", "e", "f", 2)),
        result(("status", "calls"), ("BUSY", 1), ("BUSY", 2)),
        result(("status", "calls", "type"), ("BUSY", 1, "x"), ("FAILED", 2, "y")),
        result(("status", "is_long"), ("BUSY", True), ("FAILED", False)),
    ],
)
def test_build_chart_other_result_has_none(table: SqlResult) -> None:
    assert build_chart(table) is None


def test_sql_examples_begin_with_one_that_is_stacked_by_day() -> None:
    assert "GROUP BY ALL ORDER BY day, status" in EXAMPLES[0][1]
