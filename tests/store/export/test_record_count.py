"""The number of records in an exported file."""

import csv
import io
from pathlib import Path

import duckdb
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


@pytest.mark.parametrize(
    "name", ["calls[1].parquet", "calls*.parquet", "call?.parquet", "a b'\\.parquet", "~", "x{1,2}"]
)
def test_parquet_file_with_characters_of_a_pattern_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Its own records, and not those of a file that the name matches."""
    monkeypatch.chdir(tmp_path)
    with duckdb.connect() as connection:
        for rows, file_name in ((5, "calls1.parquet"), (6, "calls.parquet"), (3, "out.parquet")):
            connection.from_query("SELECT * FROM range(6) LIMIT ?", params=[rows]).write_parquet(file_name)
    Path("out.parquet").rename(name)
    assert RecordCounter("parquet").total(Path(name)) == 3
