"""The number of records in an exported file."""

import csv
import io
from pathlib import Path

import pytest

from onhook.store.export.record_count import RecordCounter

ROWS = (["call_id", "call_from"], ["1", 'two\r\nlines, and "marks"'], ["2", '"'], ["3", "\n"], ["4", ""])


@pytest.mark.parametrize("chunk_bytes", [1, 2, 3, 7, 1000])
def test_csv_line_break_in_a_cell_is_no_record(chunk_bytes: int) -> None:
    """Wherever a chunk ends."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\r\n").writerows(ROWS)
    body = text.getvalue().encode()
    counter = RecordCounter("csv")
    for start in range(0, len(body), chunk_bytes):
        counter.add(body[start : start + chunk_bytes])
    assert counter.total(Path("unused.csv")) == len(ROWS) - 1
