"""Reports of very many rows: built outside the event loop, and read page by page."""

import asyncio
import csv
import io
from datetime import timedelta
from types import MappingProxyType

import aiohttp
import pytest

from onhook.console.pages.reports import page
from onhook.console.pages.reports.kinds import KINDS, ReportKind
from onhook.console.pages.reports.report import Cell, Column, LazyRows, Report, ReportQuery
from tests.console.conftest import ConsoleHarness
from tests.console.test_reports import AUTUMN
from tests.factories import details

CALLERS = 2_300
"""Rows of some pages."""


async def test_rows_of_reports_are_built_outside_the_event_loop(
    client: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hundreds of thousands of cells take seconds of processor time, in which the hub would stand still."""
    is_on_loop: list[bool] = []

    def make(number: int) -> list[Cell]:
        is_on_loop.append(asyncio._get_running_loop() is not None)
        return [Cell(number)]

    async def report(_query: ReportQuery) -> Report:
        return Report(columns=[Column("Number")], rows=LazyRows(range(5_000), make))

    kinds = MappingProxyType({**KINDS, "volume": ReportKind(title="Numbers", group="Parties", make=report)})
    monkeypatch.setattr(page, "KINDS", kinds)
    for address, rows in (("/reports.csv", 5_000), ("/api/v1/reports", 1_000)):
        is_on_loop.clear()
        assert (await client.get(address)).status == 200
        assert is_on_loop == [False] * rows


async def test_data_of_a_report_has_pages_that_are_the_file_together(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    """Of the callers who called more than once, 1,000 rows unless another number is asked for."""
    events = [
        details(
            AUTUMN + timedelta(seconds=2 * caller + call_number),
            call_from=f"+4930{caller:07}",
            call_to="1001",
            type="Inbound",
            src_trunk_name="trunk",
        )
        for caller in range(CALLERS)
        for call_number in range(2)
    ]
    await harness.ingest_details(events)
    query = "report=repeat-callers&since=2026-10-25&until=2026-10-27"
    first = await (await client.get(f"/api/v1/reports?{query}")).json()
    assert (len(first["data"]), first["next"]) == (1_000, "1000")
    rows = []
    for cursor, following in (("", "900"), ("900", "1800"), ("1800", None)):
        report = await (await client.get(f"/api/v1/reports?{query}&limit=900&cursor={cursor}")).json()
        rows += report["data"]
        assert report["next"] == following
    file = list(csv.reader(io.StringIO(await (await client.get(f"/reports.csv?{query}")).text(), newline="")))
    assert [str(cells[0]["value"]).removeprefix("+") for cells in rows] == [row[0].lstrip("'+") for row in file[1:]]
    assert len(rows) == CALLERS + 1
    beyond = await (await client.get(f"/api/v1/reports?{query}&cursor=99999")).json()
    assert (beyond["data"], beyond["next"]) == ([], None)
