"""Files in a bucket, partitioned by day and PBX: Parquet, CSV or JSON lines (`s3_folder` writes each exactly once).

Invariants: a batch is written whole or not at all, so that its notifications have one result. Nothing that the server
answers says anything about a notification. One thread of this destination's own makes the files. The newest secret
belongs to the access key.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from pathlib import Path
from uuid import uuid4

from onhook.appdb.destination_spec import DestinationSpec
from onhook.cdr.record import Record
from onhook.config import Config
from onhook.delivery.destinations.contract import DETAIL_CHARACTERS_MAX, DeliveryResult, Notification
from onhook.delivery.destinations.files_folder import NewFile
from onhook.delivery.destinations.http_transport import HttpTransport, guard_and_proxy
from onhook.delivery.destinations.kinds import S3Fields, decode_fields
from onhook.delivery.destinations.row_columns import NO_ROW
from onhook.delivery.destinations.row_files import RowFiles
from onhook.delivery.destinations.s3_bucket import S3Bucket
from onhook.delivery.destinations.s3_folder import S3Folder, render_file
from onhook.delivery.destinations.s3_signing import SigningKey
from onhook.lib.clock import SystemClock
from onhook.lib.messages import _
from onhook.lib.timestamps import to_datetime


class S3Client:
    """See `contract.DestinationClient`."""

    def __init__(self, spec: DestinationSpec, secret: str, transport: HttpTransport) -> None:
        fields: S3Fields = decode_fields(spec, S3Fields)
        key = SigningKey(access_key=fields.access_key, secret=secret, region=fields.region)
        self._spec = spec
        self._files = RowFiles(spec, fields)
        self.limits = self._files.limits
        self._bucket = S3Bucket(spec, transport, key, SystemClock(), is_named_by_host=fields.addressing == "host")
        self._folder = S3Folder(self._bucket, f"{spec.notifies_of}/", self._files, self._render)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="s3")

    def __repr__(self) -> str:
        return f"S3Client({self._spec.url!r})"

    def format_payload(self, record: Record) -> bytes:
        return self._files.format_row(record)

    def format_test_payload(self) -> bytes:
        return NO_ROW

    def format_sample_payload(self, now: datetime) -> bytes:
        return self._files.format_sample_row(now)

    async def send(self, notifications: Sequence[Notification]) -> Sequence[DeliveryResult]:
        try:
            async with asyncio.timeout(self._spec.timeout_seconds):
                if notifications[0].is_test:
                    return [await self._try_out(notifications[0])]
                await self._write(notifications)
                return [DeliveryResult(outcome="accepted", detail=_("written"))] * len(notifications)
        except TimeoutError:
            detail = _("no response within {seconds:g} seconds", seconds=self._spec.timeout_seconds)
        except OSError as error:
            detail = " ".join(str(error).split())
        result = DeliveryResult(
            outcome="unreachable", detail=detail[:DETAIL_CHARACTERS_MAX], is_shared=len(notifications) > 1
        )
        return [result] * len(notifications)

    async def close(self) -> None:
        self._thread.shutdown(wait=False)
        await self._bucket.close()

    async def _write(self, notifications: Sequence[Notification]) -> None:
        """Write those notifications that are in no file yet."""
        await self._folder.open()
        new = [item for item in notifications if not self._folder.has_written(item.notification_id)]
        if new:
            await self._folder.write(
                [item.body for item in new],
                [item.notification_id for item in new],
                to_datetime(notifications[0].attempted_at),
            )

    async def _try_out(self, notification: Notification) -> DeliveryResult:
        """Write a sample, or nothing, and delete it."""
        content = await self._run(self._files.sample_writer(notification.body))
        await self._folder.try_out(uuid4().hex, content)
        return DeliveryResult(outcome="accepted", detail=_("the bucket can be written to; nothing was left in it"))

    async def _render(self, new_file: NewFile) -> bytes:
        return await self._run(new_file.write)

    async def _run(self, write: Callable[[Path], None]) -> bytes:
        return await asyncio.get_running_loop().run_in_executor(self._thread, partial(render_file, write))


def open_client(config: Config, spec: DestinationSpec, secrets: Sequence[str]) -> S3Client:
    """Open a bucket, with the private networks and the proxy of the configuration."""
    guard, proxy = guard_and_proxy(config, spec)
    secret = secrets[-1] if secrets else ""
    return S3Client(spec, secret, HttpTransport(spec, guard, proxy, spec.headers, secrets))
