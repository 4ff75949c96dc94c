"""Files in a folder, partitioned by day and PBX: Parquet, CSV or JSON lines (`files_folder` writes each exactly once).

Invariants: a batch is written whole or not at all, so that its notifications have one result. One thread of this
destination's own writes; one that hangs, as at a lost network drive, delays no other destination, and nothing is queued
behind it.
"""

import asyncio
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlsplit
from uuid import uuid4

from onhook.appdb.destination_spec import DestinationSpec
from onhook.cdr.record import Record
from onhook.config import Config
from onhook.delivery.destinations.contract import DETAIL_CHARACTERS_MAX, DeliveryResult, Notification
from onhook.delivery.destinations.files_folder import FilesFolder
from onhook.delivery.destinations.kinds import FilesFields, decode_fields
from onhook.delivery.destinations.row_columns import NO_ROW
from onhook.delivery.destinations.row_files import RowFiles
from onhook.lib.errors import UsageError
from onhook.lib.messages import _
from onhook.lib.timestamps import to_datetime

CLOSE_SECONDS_MAX = 1.0


class FilesClient:
    """See `contract.DestinationClient`."""

    def __init__(self, spec: DestinationSpec, path: Path, data_path: Path) -> None:
        fields: FilesFields = decode_fields(spec, FilesFields)
        self._spec = spec
        self._path = path
        self._data_path = data_path
        self._files = RowFiles(spec, fields)
        self.limits = self._files.limits
        self._folder = FilesFolder(path / spec.notifies_of, ids_max=self._files.ids_max)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="files")
        self._work: asyncio.Future[Sequence[DeliveryResult]] | None = None

    def __repr__(self) -> str:
        return f"FilesClient({self._spec.url!r})"

    def format_payload(self, record: Record) -> bytes:
        return self._files.format_row(record)

    def format_test_payload(self) -> bytes:
        return NO_ROW

    def format_sample_payload(self, now: datetime) -> bytes:
        return self._files.format_sample_row(now)

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
        if _is_or_has(self._path.resolve(), self._data_path.resolve()):  # by a link
            raise OSError(_data_directory_error(self._path))
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
            new_files = self._files.make_files([notification.body for notification in notifications])
            notification_ids = [notification.notification_id for notification in notifications]
            self._folder.write(new_files, notification_ids, to_datetime(notifications[0].attempted_at))

    def _try_out(self, notification: Notification) -> DeliveryResult:
        """Write a sample, or nothing, and remove it."""
        self._folder.try_out(f"test-{uuid4().hex}", self._files.sample_writer(notification.body))
        return DeliveryResult(outcome="accepted", detail=_("the folder can be written to; nothing was left in it"))


def open_client(config: Config, spec: DestinationSpec, _secrets: Sequence[str]) -> FilesClient:
    """Open a folder; the secrets are for other kinds. Raises `UsageError` for one of Onhook's own, by their names: a
    network drive that does not answer must not be looked at here.
    """
    names = unquote(urlsplit(spec.url).path), config.data
    path, data_path = (Path(os.path.abspath(name)) for name in names)  # noqa: PTH100 - `resolve` looks at the drive
    if _is_or_has(path, data_path):
        hint = _("make a folder that has nothing else in it")
        raise UsageError(_data_directory_error(path), location="url", hint=hint)
    return FilesClient(spec, path, data_path)


def _is_or_has(path: Path, data_path: Path) -> bool:
    """Return whether a folder is the data directory, is in it, or contains it."""
    return path == data_path or data_path in path.parents or path in data_path.parents


def _data_directory_error(path: Path) -> str:
    return _("{path} is the data directory, or contains it", path=path)


def _retrieve_error(work: asyncio.Future[Sequence[DeliveryResult]]) -> None:
    """Retrieve the error of an attempt, which has no other reader where it was given up."""
    if not work.cancelled():
        work.exception()


def _describe_error(error: OSError) -> str:
    return " ".join((str(error) or type(error).__name__).split())
