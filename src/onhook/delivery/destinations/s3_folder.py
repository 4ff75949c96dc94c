"""A part of a bucket into which batches of files are written, each exactly once.

A batch is written in three steps: its rows as an object of the journal, then its files, then its manifest. Objects are
created only where there is none with their key (`If-None-Match`), so that whatever is sent twice, or by two processes,
is there once. The journal decides: a batch without an object there never was; one with it is completed whenever the
bucket is opened, from the rows in it. It has the ids of the newest notifications, so that a batch whose result was lost
is recognised, also in other batches.

Invariants: numbers of batches have no gaps, and an object of the journal is never deleted, or a process that was away
could write its number again; once the next one is there, it is emptied. A file is never changed. A server that ignores
the condition is refused.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from onhook.delivery.destinations.files_folder import ManifestEntry, NewFile, decode_object
from onhook.delivery.destinations.row_files import BATCH_BYTES_MAX, RowFiles
from onhook.delivery.destinations.s3_bucket import S3Bucket
from onhook.lib.messages import _

JOURNAL_PREFIX, MANIFEST_PREFIX, CHECK_KEY = "_journal/", "_manifest/", "_onhook.json"
JOURNAL_VERSION = 1

BATCHES_MAX = 10**12 - 1
"""Numbers are counted down in keys, so that the first key of a list is the newest."""

OBJECT_BYTES_MAX = 4 * BATCH_BYTES_MAX
"""Of an object that is read: the rows of a batch with their ids, or a file of them."""

MANIFEST_BYTES_MAX = 4 * 1_048_576
UPLOADS_AT_ONCE = 4

JSON_TYPE = "application/json"
CONTENT_TYPES = {
    "parquet": "application/vnd.apache.parquet",
    "csv": "text/csv; charset=utf-8",
    "jsonl": "application/x-ndjson",
}

_ROW_ERRORS = (
    msgspec.MsgspecError,
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What making a file of rows raises that are not rows of Onhook."""

RenderFile = Callable[[NewFile], Awaitable[bytes]]
"""Returns the content of a file, made in a thread."""


class S3Journal(msgspec.Struct, frozen=True, kw_only=True):
    """One batch: its rows, the format of its files, and the newest notifications."""

    version: int = JOURNAL_VERSION
    batch: int = 0
    written_at: datetime | None = None
    file_format: str = ""
    rows: tuple[msgspec.Raw, ...] = ()
    notification_ids: tuple[str, ...] = ()


NO_BATCH = S3Journal()


class S3Folder:
    """One part of a bucket. All methods raise `OSError`; after an error it is opened again."""

    def __init__(self, bucket: S3Bucket, prefix: str, files: RowFiles, render: RenderFile) -> None:
        self._bucket = bucket
        self._prefix = prefix
        self._files = files
        self._render = render
        self._journal: S3Journal | None = None
        self._is_complete = False
        self._written_entries: dict[str, ManifestEntry] = {}
        self._notification_ids: frozenset[str] = frozenset()

    async def open(self) -> None:
        """Open the part of the bucket, if it is not, and complete what was interrupted."""
        if self._journal is None:
            await self._require_conditions(self._prefix + CHECK_KEY)
            self._use(await self._read_journal(), is_complete=False)
        if not self._is_complete:
            await self._complete()

    def has_written(self, notification_id: str) -> bool:
        """Return whether a notification is in one of the newest files."""
        return notification_id in self._notification_ids

    async def write(self, bodies: Sequence[bytes], notification_ids: Sequence[str], now: datetime) -> None:
        """Write a batch of rows."""
        previous = self._journal
        assert previous is not None, "it is open"
        journal = S3Journal(
            batch=previous.batch + 1,
            written_at=now,
            file_format=self._files.file_format,
            rows=tuple(map(msgspec.Raw, bodies)),
            notification_ids=(*previous.notification_ids, *notification_ids)[-self._files.ids_max :],
        )
        self._journal = None  # until it is known which one is there
        if not await self._bucket.put_new(self._journal_key(journal.batch), msgspec.json.encode(journal), JSON_TYPE):
            raise OSError(
                _("batch {batch} is there already: it is read, and what is missing is tried again", batch=journal.batch)
            )
        self._use(journal, is_complete=False)
        await self._complete()

    async def try_out(self, key: str, content: bytes) -> None:
        """Write an object, see that it cannot be written again, and delete it."""
        try:
            await self._require_conditions(f"{self._prefix}_test/{key}", content)
        finally:
            await self._bucket.delete(f"{self._prefix}_test/{key}")

    def _use(self, journal: S3Journal, *, is_complete: bool) -> None:
        self._journal, self._is_complete = journal, is_complete
        self._written_entries = {}
        self._notification_ids = frozenset(journal.notification_ids)

    async def _require_conditions(self, key: str, content: bytes = b'{"version":1}') -> None:
        """Raise where the server replaces an object that was to be created only."""
        if await self._bucket.put_new(key, content, JSON_TYPE) and await self._bucket.put_new(key, content, JSON_TYPE):
            raise OSError(_("the server ignores If-None-Match: it could store a file twice"))

    async def _read_journal(self) -> S3Journal:
        """Return the newest object of the journal."""
        name = await self._bucket.first_key(self._prefix + JOURNAL_PREFIX)
        if name is None:
            return NO_BATCH
        key = self._prefix + JOURNAL_PREFIX + name
        content = await self._bucket.get(key, OBJECT_BYTES_MAX)
        journal = decode_object(content or b"", S3Journal, key)
        if journal.version != JOURNAL_VERSION:
            raise OSError(_("{path} was written by a newer Onhook", path=key))
        if (
            self._journal_key(journal.batch) != key
            or journal.batch < 1
            or journal.written_at is None
            or journal.file_format not in CONTENT_TYPES
        ):
            raise OSError(_("{path} cannot be read: it is no journal of its batch", path=key))
        return journal

    async def _complete(self) -> None:
        """Write the files of the newest batch, those that are not there, then its manifest."""
        journal = self._journal
        assert journal is not None, "it is open"
        if journal.batch:
            manifest_key = self._manifest_key(journal)
            if await self._bucket.get(manifest_key, MANIFEST_BYTES_MAX) is None:
                entries = await self._write_files(journal)
                lines = b"".join(msgspec.json.encode(entry) + b"\n" for entry in entries)
                await self._bucket.put_new(manifest_key, lines, CONTENT_TYPES["jsonl"])
            if journal.batch > 1:
                # Its rows are in its files.
                await self._bucket.put(self._journal_key(journal.batch - 1), b"{}", JSON_TYPE)
        self._is_complete = True

    async def _write_files(self, journal: S3Journal) -> Sequence[ManifestEntry]:
        with self._reading_rows(journal):
            new_files = self._files.make_files([bytes(row) for row in journal.rows], journal.file_format)
        for start in range(0, len(new_files), UPLOADS_AT_ONCE):
            part = new_files[start : start + UPLOADS_AT_ONCE]
            results = await asyncio.gather(*(self._write_file(journal, item) for item in part), return_exceptions=True)
            for error in results:
                if error is not None:
                    raise error
        return [self._written_entries[_file_key(journal, new_file)] for new_file in new_files]

    async def _write_file(self, journal: S3Journal, new_file: NewFile) -> None:
        """Write a file, if an earlier attempt has not, and note it."""
        key = _file_key(journal, new_file)
        if key in self._written_entries:
            return
        with self._reading_rows(journal):
            content = await self._render(new_file)
        if not await self._bucket.put_new(self._prefix + key, content, CONTENT_TYPES[new_file.suffix]):
            # Another version may have made other bytes of the same rows.
            content = await self._bucket.get(self._prefix + key, OBJECT_BYTES_MAX) or content
        assert journal.written_at is not None, "a batch has a time"
        self._written_entries[key] = ManifestEntry(
            batch=journal.batch,
            file=key,
            records=new_file.records,
            first_seq=new_file.first_seq,
            last_seq=new_file.last_seq,
            bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            written_at=journal.written_at,
        )

    @contextmanager
    def _reading_rows(self, journal: S3Journal) -> Iterator[None]:
        """Raise `OSError` for rows of which no file can be made: others have changed them in the bucket."""
        try:
            yield
        except _ROW_ERRORS as error:
            path = self._journal_key(journal.batch)
            raise OSError(_("a row in {path} cannot be read: {error}", path=path, error=error)) from error

    def _journal_key(self, batch: int) -> str:
        return f"{self._prefix}{JOURNAL_PREFIX}{BATCHES_MAX - batch:012}.json"

    def _manifest_key(self, journal: S3Journal) -> str:
        return f"{self._prefix}{MANIFEST_PREFIX}{journal.written_at:%Y-%m-%d}/{journal.batch:08}.jsonl"


def _file_key(journal: S3Journal, new_file: NewFile) -> str:
    return f"{new_file.folder}/{new_file.name}-{journal.batch:08}.{new_file.suffix}"


def render_file(write: Callable[[Path], None]) -> bytes:
    """Return the content of a file that a function writes. Blocks. Raises `OSError`."""
    with TemporaryDirectory(prefix="onhook-") as folder:
        path = Path(folder) / "file"
        write(path)
        return path.read_bytes()
