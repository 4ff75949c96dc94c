"""A search as a workbook."""

import io
from pathlib import Path

import openpyxl

from onhook.cdr.record_filter import RecordFilter
from onhook.store.contract import StoreBatch
from onhook.store.duckdb import open_store
from onhook.store.export.xlsx import CELL_CHARACTERS_MAX, TRUNCATION_NOTE
from tests.factories import call, record


async def test_workbook_long_text_is_truncated_with_note(tmp_path: Path) -> None:
    """A text that just fits is whole."""
    store = await open_store(tmp_path / "calls.duckdb")
    calls = [call(record(extra={"x": "y" * length})) for length in (40_000, CELL_CHARACTERS_MAX - len('{"x":""}'))]
    await store.put(StoreBatch(calls=calls, quarantined=(), reparsed_seqs=(), position=1))
    book = b"".join([chunk async for chunk in store.export(RecordFilter(), "xlsx", "UTC")])
    await store.close()
    sheet = openpyxl.load_workbook(io.BytesIO(book)).worksheets[0]
    names = [cell.value for cell in sheet[1]]
    texts = sorted(str(row[names.index("extra")].value) for row in sheet.iter_rows(min_row=2))
    assert [len(text) for text in texts] == [CELL_CHARACTERS_MAX] * 2
    assert sorted(text.endswith(TRUNCATION_NOTE) for text in texts) == [False, True]
