"""Files that other programs read: Parquet, XLSX; and pieces of a long one."""

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

from onhook.cdr.record import Call, Record
from onhook.cdr.record_filter import RecordFilter
from onhook.lib.errors import UsageError
from onhook.store.contract import ExportFormat, Store, StoreBatch
from onhook.store.duckdb import open_store
from onhook.store.export import export as exports
from onhook.store.export import xlsx as sheets
from tests.factories import STARTED_AT, call, record

CELL = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


@asynccontextmanager
async def store_of(path: Path, *calls: Call) -> AsyncIterator[Store]:
    store = await open_store(path / "calls.duckdb")
    try:
        await store.put(StoreBatch(calls=calls, quarantined=[], reparsed_seqs=[], position=1))
        yield store
    finally:
        await store.close()


async def exported(store: Store, form: ExportFormat, path: Path) -> Path:
    file = path / f"export.{form}"
    file.write_bytes(b"".join([piece async for piece in store.export(RecordFilter(), form, "Europe/Berlin")]))
    return file


def sheet_of(file: Path, number: int = 1) -> list[dict[str, ET.Element]]:
    """The rows of a sheet after the first, each cell by its column's letters."""
    with zipfile.ZipFile(file) as archive:
        tree = ET.fromstring(archive.read(f"xl/worksheets/sheet{number}.xml"))  # noqa: S314 - our own file
    rows = tree.findall(f".//{CELL}row")[1:]
    return [{re.sub("[0-9]", "", cell.attrib["r"]): cell for cell in row} for row in rows]


def many(count: int) -> list[Call]:
    return [call(record(STARTED_AT + timedelta(minutes=7 * number))) for number in range(count)]


async def test_parquet_has_every_record_with_its_types(tmp_path: Path) -> None:
    """Moments are timestamps in UTC, numbers whole numbers; the earliest first."""
    calls = many(50)
    async with store_of(tmp_path, *reversed(calls)) as store:
        file = await exported(store, "parquet", tmp_path)
    question = f"SELECT record_id, epoch_us(started_at), call_duration, call_from, extra FROM '{file}'"  # noqa: S608
    with duckdb.connect() as connection:
        found = connection.execute(question).fetchall()
    legs: list[Record] = [one.legs[0] for one in calls]
    assert found == [
        (leg.record_id, int(leg.started_at.timestamp()) * 1_000_000, leg.call_duration, leg.call_from, "{}")
        for leg in legs
    ]


async def test_an_empty_search_is_a_file_without_rows(tmp_path: Path) -> None:
    """That other programs still can read."""
    async with store_of(tmp_path) as store:
        file = await exported(store, "parquet", tmp_path)
        with duckdb.connect() as connection:
            assert connection.execute(f"SELECT count(*) FROM '{file}'").fetchall() == [(0,)]  # noqa: S608
        assert sheet_of(await exported(store, "xlsx", tmp_path)) == []


async def test_a_workbook_holds_texts_and_numbers_and_no_formula(tmp_path: Path) -> None:
    """A telephone number stays a text; what begins like a formula is a text, exactly as it came, marked as one."""
    odd = record(call_from="+15550100", src_trunk_name='=HYPERLINK("http://x")', did_name="http://x", pin_code="0012")
    async with store_of(tmp_path, call(odd)) as store:
        file = await exported(store, "xlsx", tmp_path)
    (row,) = sheet_of(file)
    texts = {column: "".join(cell.itertext()) for column, cell in row.items()}
    assert texts["C"] == "+15550100"
    assert texts["G"] == odd.src_trunk_name
    assert texts["I"] == "0012"
    assert all(row[column].attrib["t"] == "inlineStr" for column in "CGI")
    assert (texts["E"], row["E"].attrib.get("t")) == ("20", None)
    assert texts["V"] == "2026-04-27T13:04:36+02:00"
    whole = zipfile.ZipFile(file).read("xl/worksheets/sheet1.xml")
    assert b"<f>" not in whole
    assert b"<hyperlink" not in whole


async def test_a_full_sheet_is_followed_by_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the names of the columns again; and there is an end, said before anything is sent."""
    monkeypatch.setattr(sheets, "SHEET_ROWS_MAX", 3)
    monkeypatch.setattr(sheets, "SHEETS_MAX", 3)
    async with store_of(tmp_path, *many(7)) as store:
        file = await exported(store, "xlsx", tmp_path)
        assert [len(sheet_of(file, number)) for number in (1, 2, 3)] == [3, 3, 1]
        await store.put(StoreBatch(calls=many(10), quarantined=[], reparsed_seqs=[], position=2))
        with pytest.raises(UsageError, match="a workbook holds 9 records"):
            await exported(store, "xlsx", tmp_path)


@pytest.mark.parametrize("piece_rows", [1, 7, 20, 1_000])
async def test_pieces_join_to_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece_rows: int) -> None:
    """However it is cut, nothing is lost, nothing twice, in order: also where most rows begin in one second."""
    crowd = [call(record(STARTED_AT + timedelta(hours=3))) for _ in range(40)]
    monkeypatch.setattr(exports, "CHUNK_ROWS", piece_rows)
    async with store_of(tmp_path, *many(60), *crowd) as store:
        lines = (await exported(store, "jsonl", tmp_path)).read_bytes().splitlines()
        expected = await store.counts()
    moments = [re.findall(rb'"started_at":"([^"]+)"', line)[0] for line in lines]
    assert len(set(lines)) == len(lines) == expected["records"] == 100
    assert moments == sorted(moments)


async def test_readers_who_take_nothing_stop_nobody_else(tmp_path: Path) -> None:
    """Files that nobody takes away wait by themselves: questions are answered meanwhile."""
    calls = [call(record(extra={"noise": random.Random(number).randbytes(1_500).hex()})) for number in range(400)]
    async with store_of(tmp_path, *calls) as store:
        exports_begun = [store.export(RecordFilter(), "parquet", "UTC") for _ in range(6)]
        assert all([await anext(pieces) for pieces in exports_begun])
        assert await asyncio.wait_for(store.position(), timeout=30) == 1
        for pieces in exports_begun:
            await cast("AsyncGenerator[bytes, None]", pieces).aclose()
