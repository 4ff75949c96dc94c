"""Files in a folder, partitioned by day and PBX: Parquet, CSV or JSON lines (`files_folder` writes each exactly once).

Invariants: a batch is written whole or not at all, so that its notifications have one result. One thread of this
destination's own writes; one that hangs, as at a lost network drive, delays no other destination, and nothing is queued
behind it.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import msgspec

from onhook.appdb.destination_spec import DestinationSpec
from onhook.cdr.record import Record
from onhook.config import Config
from onhook.delivery.destinations.contract import DETAIL_CHARACTERS_MAX, DeliveryResult, Notification, SendLimits
from onhook.delivery.destinations.files_folder import FilesFolder, NewFile
from onhook.delivery.destinations.files_rows import (
    FileRow,
    format_csv,
    format_json_lines,
    parse_row,
    split_by_partition,
)
from onhook.delivery.destinations.kinds import FilesFields, decode_fields
from onhook.delivery.destinations.row_columns import NO_ROW, row_columns
from onhook.delivery.samples import sample_for
from onhook.lib.errors import UsageError
from onhook.lib.messages import _
from onhook.lib.timestamps import to_datetime
from onhook.store.export.parquet_file import write_parquet_file

BATCH_BYTES_MAX = 8 * 1_048_576
"""Of rows that are held in memory: the records of a batch have some two megabytes."""

UNCOMMITTED_BATCHES = 2
"""Batches whose results may be lost, and which are sent again (`attempt_pool`)."""

CLOSE_SECONDS_MAX = 1.0


class FilesClient:
    """See `contract.DestinationClient`."""

    def __init__(self, spec: DestinationSpec, path: Path) -> None:
        fields: FilesFields = decode_fields(spec, FilesFields)
        self.limits = SendLimits(
            attempts_max=1,
            batch_count=fields.batch_records,
            batch_bytes=BATCH_BYTES_MAX,
            batch_age_seconds=fields.batch_seconds,
        )
        self._spec = spec
        self._path = path
        self._format = fields.file_format
        self._columns = row_columns(spec.notifies_of)
        self._folder = FilesFolder(path / spec.notifies_of, ids_max=UNCOMMITTED_BATCHES * fields.batch_records)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="files")
        self._work: asyncio.Future[Sequence[DeliveryResult]] | None = None

    def __repr__(self) -> str:
        return f"FilesClient({self._spec.url!r})"

    def format_payload(self, record: Record) -> bytes:
        members = msgspec.structs.asdict(record)
        return msgspec.json.encode({name: members[name] for name in self._columns})

    def format_test_payload(self) -> bytes:
        return NO_ROW

    def format_sample_payload(self, now: datetime) -> bytes:
        return self.format_payload(sample_for(self._spec, now))

    async def send(self, notifications: Sequence[Notification]) -> Sequence[DeliveryResult]:
        try:
            async with asyncio.timeout(self._spec.timeout_seconds):
                if self._work is not None and not self._work.done():
                    await asyncio.wait([self._work])  # what was given up
                self._work = asyncio.get_running_loop().run_in_executor(
                    self._thread, partial(self._write, notifications)
                )
                self._work.add_done_callback(_retrieve_error)
                return await asyncio.shield(self._work)
        except TimeoutError:
            detail = _("not written within {seconds:g} seconds", seconds=self._spec.timeout_seconds)
        except OSError as error:
            detail = _describe_error(error)
        result = DeliveryResult(
            outcome="unreachable", detail=detail[:DETAIL_CHARACTERS_MAX], is_shared=len(notifications) > 1
        )
        return [result] * len(notifications)

    async def close(self) -> None:
        closing = asyncio.get_running_loop().run_in_executor(self._thread, self._folder.close)
        self._thread.shutdown(wait=False)
        await asyncio.wait([closing], timeout=CLOSE_SECONDS_MAX)

    # In the thread

    def _write(self, notifications: Sequence[Notification]) -> Sequence[DeliveryResult]:
        if not self._path.is_dir():
            raise OSError(_("there is no folder {path}", path=self._path))
        if notifications[0].is_test:
            return [self._try_out(notifications[0])]
        try:
            self._folder.open()
            self._write_new([item for item in notifications if not self._folder.has_written(item.notification_id)])
        except OSError:
            self._folder.close()
            raise
        return [DeliveryResult(outcome="accepted", detail=_("written"))] * len(notifications)

    def _write_new(self, notifications: Sequence[Notification]) -> None:
        if notifications:
            partitions = split_by_partition([parse_row(notification.body) for notification in notifications])
            new_files = [self._new_file(partition, rows) for partition, rows in partitions.items()]
            notification_ids = [notification.notification_id for notification in notifications]
            self._folder.write(new_files, notification_ids, to_datetime(notifications[0].attempted_at))

    def _new_file(self, partition: str, rows: Sequence[FileRow]) -> NewFile:
        first_seq, last_seq = rows[0].seq, rows[-1].seq
        return NewFile(
            folder=partition,
            name=f"{first_seq:012}-{last_seq:012}",
            suffix=self._format,
            records=len(rows),
            first_seq=first_seq,
            last_seq=last_seq,
            write=self._writer(rows),
        )

    def _writer(self, rows: Sequence[FileRow]) -> Callable[[Path], None]:
        return partial(self._write_rows, rows)

    def _write_rows(self, rows: Sequence[FileRow], path: Path) -> None:
        if self._format == "csv":
            path.write_bytes(format_csv(rows, self._columns))
        elif self._format == "jsonl":
            path.write_bytes(format_json_lines(rows))
        else:
            rows_path = path.with_name(f"{path.name}.jsonl")
            rows_path.write_bytes(b"\n".join(row.body for row in rows))
            write_parquet_file(rows_path, path, self._columns)
            rows_path.unlink()

    def _try_out(self, notification: Notification) -> DeliveryResult:
        """Write a sample, or nothing, and remove it."""
        rows = [parse_row(notification.body)] if notification.body != NO_ROW else []
        self._folder.try_out(f"test-{uuid4().hex}", self._writer(rows))
        return DeliveryResult(outcome="accepted", detail=_("the folder can be written to; nothing was left in it"))


def open_client(config: Config, spec: DestinationSpec, _secrets: Sequence[str]) -> FilesClient:
    """Open a folder; the secrets are for other kinds. Raises `UsageError` for one of Onhook's own."""
    path, data_path = Path(unquote(urlsplit(spec.url).path)).resolve(), config.data.resolve()
    if path == data_path or data_path in path.parents or path in data_path.parents:
        raise UsageError(
            _("{path} is the data directory, or contains it", path=path),
            location="url",
            hint=_("make a folder that has nothing else in it"),
        )
    return FilesClient(spec, path)


def _retrieve_error(work: asyncio.Future[Sequence[DeliveryResult]]) -> None:
    """Retrieve the error of an attempt, which has no other reader where it was given up."""
    if not work.cancelled():
        work.exception()


def _describe_error(error: OSError) -> str:
    return " ".join((str(error) or type(error).__name__).split())
