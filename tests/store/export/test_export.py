"""Exports read by other programs (Parquet, XLSX), and exports in several chunks."""

import asyncio
import random
import re
import zipfile
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import cast
from xml.etree import ElementTree as ET

import duckdb
import pytest

from onhook.cdr.directory import DirectoryEntry, NameDirectory
from onhook.cdr.record import Call, Record
from onhook.cdr.record_filter import RecordFilter
from onhook.lib.errors import UsageError
from onhook.store.contract import ExportFormat, Store, StoreBatch
from onhook.store.duckdb import open_store
from onhook.store.export import export as exports
from onhook.store.export import xlsx as sheets
from tests.factories import SN, STARTED_AT, call, record

CELL = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


@asynccontextmanager
async def open_store_with(path: Path, *calls: Call) -> AsyncIterator[Store]:
    store = await open_store(path / "calls.duckdb")
    try:
        await store.put(StoreBatch(calls=calls, quarantined=[], reparsed_seqs=[], position=1))
        yield store
    finally:
        await store.close()


async def export_file(
    store: Store, export_format: ExportFormat, path: Path, names: NameDirectory | None = None
) -> Path:
    file = path / f"export.{export_format}"
    chunks = store.export(RecordFilter(), export_format, "Europe/Berlin", names=names)
    file.write_bytes(b"".join([chunk async for chunk in chunks]))
    return file


def read_sheet(file: Path, number: int = 1) -> list[dict[str, ET.Element]]:
    """Return the rows of a sheet after the header, each cell by its column's letters."""
    with zipfile.ZipFile(file) as archive:
        tree = ET.fromstring(archive.read(f"xl/worksheets/sheet{number}.xml"))  # noqa: S314 - written by this test
    rows = tree.findall(f".//{CELL}row")[1:]
    return [{re.sub("[0-9]", "", cell.attrib["r"]): cell for cell in row} for row in rows]


def make_calls(count: int) -> list[Call]:
    return [call(record(STARTED_AT + timedelta(minutes=7 * number))) for number in range(count)]


async def test_parquet_export_has_typed_columns_in_order(tmp_path: Path) -> None:
    calls = make_calls(50)
    async with open_store_with(tmp_path, *reversed(calls)) as store:
        file = await export_file(store, "parquet", tmp_path)
    query = f"SELECT record_id, epoch_us(started_at), call_duration, call_from, extra FROM '{file}'"  # noqa: S608
    with duckdb.connect() as connection:
        rows = connection.execute(query).fetchall()
    legs: list[Record] = [exported_call.legs[0] for exported_call in calls]
    assert rows == [
        (leg.record_id, int(leg.started_at.timestamp()) * 1_000_000, leg.call_duration, leg.call_from, "{}")
        for leg in legs
    ]


async def test_export_empty_search_is_valid_file(tmp_path: Path) -> None:
    async with open_store_with(tmp_path) as store:
        file = await export_file(store, "parquet", tmp_path)
        with duckdb.connect() as connection:
            assert connection.execute(f"SELECT count(*) FROM '{file}'").fetchall() == [(0,)]  # noqa: S608
        assert read_sheet(await export_file(store, "xlsx", tmp_path)) == []


async def test_binary_exports_with_names_have_two_more_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In several time ranges, each row once."""
    monkeypatch.setattr(exports, "CHUNK_ROWS", 7)
    names = NameDirectory([DirectoryEntry(sn=SN, number="1001", name="Alice Smith")])
    office = [call(record(STARTED_AT + timedelta(minutes=7 * number), call_from="1001")) for number in range(40)]
    async with open_store_with(tmp_path, *office) as store:
        workbook = await export_file(store, "xlsx", tmp_path, names)
        parquet = await export_file(store, "parquet", tmp_path, names)
    rows = read_sheet(workbook)
    assert len(rows) == 40
    # After the 33 columns of a record, of which the last is AG.
    assert {("".join(row["AH"].itertext()), "".join(row["AI"].itertext())) for row in rows} == {("Alice Smith", "Bob")}
    with duckdb.connect() as connection:
        query = f"SELECT call_from_name, call_to_name, count(*) FROM '{parquet}' GROUP BY ALL"  # noqa: S608
        assert connection.execute(query).fetchall() == [("Alice Smith", "Bob", 40)]


async def test_workbook_contains_no_formulas_or_links(tmp_path: Path) -> None:
    """Telephone numbers and texts that look like formulas stay unchanged texts."""
    special = record(
        call_from="+15550100", src_trunk_name='=HYPERLINK("http://x")', did_name="http://x", pin_code="0012"
    )
    async with open_store_with(tmp_path, call(special)) as store:
        file = await export_file(store, "xlsx", tmp_path)
    (row,) = read_sheet(file)
    texts = {column: "".join(cell.itertext()) for column, cell in row.items()}
    assert texts["C"] == "+15550100"
    assert texts["G"] == special.src_trunk_name
    assert texts["I"] == "0012"
    assert all(row[column].attrib["t"] == "inlineStr" for column in "CGI")
    assert (texts["E"], row["E"].attrib.get("t")) == ("20", None)
    assert texts["V"] == "2026-04-27T13:04:36+02:00"
    whole = zipfile.ZipFile(file).read("xl/worksheets/sheet1.xml")
    assert b"<f>" not in whole
    assert b"<hyperlink" not in whole


async def test_workbook_full_sheet_continues_on_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each sheet has a header; too many records are rejected before anything is sent."""
    monkeypatch.setattr(sheets, "SHEET_ROWS_MAX", 3)
    monkeypatch.setattr(sheets, "SHEETS_MAX", 3)
    async with open_store_with(tmp_path, *make_calls(7)) as store:
        file = await export_file(store, "xlsx", tmp_path)
        assert [len(read_sheet(file, number)) for number in (1, 2, 3)] == [3, 3, 1]
        await store.put(StoreBatch(calls=make_calls(10), quarantined=[], reparsed_seqs=[], position=2))
        with pytest.raises(UsageError, match="a workbook holds at most 9 records"):
            await export_file(store, "xlsx", tmp_path)


@pytest.mark.parametrize("chunk_rows", [1, 7, 20, 1_000])
async def test_export_chunks_join_without_loss_or_overlap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk_rows: int
) -> None:
    """Also where most rows begin in one second."""
    same_second_calls = [call(record(STARTED_AT + timedelta(hours=3))) for _ in range(40)]
    monkeypatch.setattr(exports, "CHUNK_ROWS", chunk_rows)
    async with open_store_with(tmp_path, *make_calls(60), *same_second_calls) as store:
        lines = (await export_file(store, "jsonl", tmp_path)).read_bytes().splitlines()
        expected = await store.counts()
    start_times = [re.findall(rb'"started_at":"([^"]+)"', line)[0] for line in lines]
    assert len(set(lines)) == len(lines) == expected["records"] == 100
    assert start_times == sorted(start_times)


async def test_export_slow_clients_do_not_block_queries(tmp_path: Path) -> None:
    calls = [call(record(extra={"noise": random.Random(number).randbytes(1_500).hex()})) for number in range(400)]
    async with open_store_with(tmp_path, *calls) as store:
        slow_exports = [store.export(RecordFilter(), "parquet", "UTC") for _ in range(6)]
        assert all([await anext(chunks) for chunks in slow_exports])
        assert await asyncio.wait_for(store.position(), timeout=30) == 1
        for chunks in slow_exports:
            await cast("AsyncGenerator[bytes, None]", chunks).aclose()
