"""CSV for Excel: the same cells as the plain CSV, with texts that stay texts."""

import csv
import io
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onhook.cdr.record_filter import RecordFilter
from onhook.store.contract import StoreBatch
from onhook.store.duckdb import open_store
from onhook.store.export.excel_csv import BYTE_ORDER_MARK, SEPARATORS, convert_for_excel
from onhook.store.schema import RECORD_COLUMNS
from tests.factories import call, record

BODY_CHARACTERS_MAX = 256 * 1024
CELLS = st.text(st.sampled_from('a"\r\n,;=é\x1f'), max_size=6)


async def convert(*chunks: bytes, separator: str = ",") -> str:
    async def read() -> AsyncGenerator[bytes, None]:
        for chunk in chunks:
            yield chunk

    content = b"".join([chunk async for chunk in convert_for_excel(read(), separator)])
    assert content.startswith(BYTE_ORDER_MARK)
    return content.removeprefix(BYTE_ORDER_MARK).decode()


def to_csv(rows: list[list[str]], **options: Any) -> str:
    output = io.StringIO(newline="")
    csv.writer(output, **options).writerows(rows)
    return output.getvalue()


def row_of(**cells: str) -> list[str]:
    return [cells.get(name, "") for name in RECORD_COLUMNS]


@pytest.mark.parametrize("separator", SEPARATORS.values())
async def test_excel_csv_numbers_stay_texts(separator: str) -> None:
    row = row_of(call_from="0049", call_to="1001", uid="1795848000.5", call_duration="0040", sn='a"b;c\r\nd')
    expected = row_of(call_from='="0049"', call_to="1001", uid='="1795848000.5"', call_duration="0040", sn='a"b;c\r\nd')
    assert await convert(to_csv([row]).encode(), separator=separator) == to_csv([expected], delimiter=separator)


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
@given(cells=st.lists(CELLS, min_size=len(RECORD_COLUMNS) * 2, max_size=len(RECORD_COLUMNS) * 2))
async def test_excel_csv_has_the_cells_of_the_plain_csv(quoting: int, cells: list[str]) -> None:
    half = len(RECORD_COLUMNS)
    rows = [cells[:half], cells[half:]]
    assert await convert(to_csv(rows, quoting=quoting).encode()) == to_csv(rows)


async def test_excel_csv_cell_as_long_as_a_body_is_whole(tmp_path: Path) -> None:
    """Whatever limit another part of the process has set for reading CSV."""
    store = await open_store(tmp_path / "calls.duckdb")
    note = 'say ""' * (BODY_CHARACTERS_MAX // 6)
    calls = [call(record()), call(record(extra={"note": note})), call(record())]
    await store.put(StoreBatch(calls=calls, quarantined=[], reparsed_seqs=[], position=1))
    limit = csv.field_size_limit(1_000)
    try:
        content = await convert(b"".join([part async for part in store.export(RecordFilter(), "csv", "UTC")]))
    finally:
        csv.field_size_limit(10 * BODY_CHARACTERS_MAX)
        rows = list(csv.reader(io.StringIO(content, newline="")))
        csv.field_size_limit(limit)
        await store.close()
    assert [len(row) for row in rows] == [len(RECORD_COLUMNS)] * 4
    assert sum(note.replace('"', '\\"') in row[-1] for row in rows) == 1
