"""Files of the rows of one destination, whether a folder or a bucket takes them: their places, names and contents."""

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path

import msgspec

from onhook.appdb.destination_spec import DestinationSpec
from onhook.cdr.record import Record
from onhook.delivery.destinations.contract import SendLimits
from onhook.delivery.destinations.files_folder import NewFile
from onhook.delivery.destinations.files_rows import (
    FileRow,
    format_csv,
    format_json_lines,
    parse_row,
    split_by_partition,
)
from onhook.delivery.destinations.kinds import FilesFields
from onhook.delivery.destinations.row_columns import NO_ROW, row_columns
from onhook.delivery.samples import sample_for
from onhook.store.export.parquet_file import write_parquet_file

BATCH_BYTES_MAX = 8 * 1_048_576
"""Of rows that are held in memory: the records of a batch have some two megabytes."""

UNCOMMITTED_BATCHES = 2
"""Batches whose results may be lost, and which are sent again (`attempt_pool`)."""


class RowFiles:
    """Makes files of rows, as the fields of a destination say."""

    def __init__(self, spec: DestinationSpec, fields: FilesFields) -> None:
        self.limits = SendLimits(
            attempts_max=1,
            batch_count=fields.batch_records,
            batch_bytes=BATCH_BYTES_MAX,
            batch_age_seconds=fields.batch_seconds,
        )
        self.ids_max = UNCOMMITTED_BATCHES * fields.batch_records
        self.file_format = fields.file_format
        self._spec = spec
        self._columns = row_columns(spec.notifies_of)

    def format_row(self, record: Record) -> bytes:
        """Return a row in JSON."""
        members = msgspec.structs.asdict(record)
        return msgspec.json.encode({name: members[name] for name in self._columns})

    def format_sample_row(self, now: datetime) -> bytes:
        """Return the row of a sample."""
        return self.format_row(sample_for(self._spec, now))

    def make_files(self, bodies: Sequence[bytes], file_format: str = "") -> list[NewFile]:
        """Return the files of a batch of rows, in the format of the destination or another one."""
        suffix = file_format or self.file_format
        partitions = split_by_partition([parse_row(body) for body in bodies])
        return [self._make_file(partition, rows, suffix) for partition, rows in partitions.items()]

    def sample_writer(self, body: bytes) -> Callable[[Path], None]:
        """Return the function that writes the file of a test: with a sample, or without a row."""
        return partial(self._write_rows, [] if body == NO_ROW else [parse_row(body)], self.file_format)

    def _make_file(self, partition: str, rows: Sequence[FileRow], file_format: str) -> NewFile:
        first_seq, last_seq = rows[0].seq, rows[-1].seq
        return NewFile(
            folder=partition,
            name=f"{first_seq:012}-{last_seq:012}",
            suffix=file_format,
            records=len(rows),
            first_seq=first_seq,
            last_seq=last_seq,
            write=partial(self._write_rows, rows, file_format),
        )

    def _write_rows(self, rows: Sequence[FileRow], file_format: str, path: Path) -> None:
        if file_format == "csv":
            path.write_bytes(format_csv(rows, self._columns))
        elif file_format == "jsonl":
            path.write_bytes(format_json_lines(rows))
        else:
            rows_path = path.with_name(f"{path.name}.jsonl")
            rows_path.write_bytes(b"\n".join(row.body for row in rows))
            write_parquet_file(rows_path, path, self._columns)
            rows_path.unlink()
