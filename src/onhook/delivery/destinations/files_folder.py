"""A folder into which batches of files are written, each exactly once.

A batch is written in four steps: all its files under `_pending`, then the journal, which is replaced at once; then each
file gets its name, and the manifest of the day its lines. The journal decides: without it the pending files are removed
when the folder is opened again, with it the other steps are completed. The journal has the ids of the newest
notifications, so that a batch that was written, and whose result was lost, is recognised when it is sent again, also in
other batches.

Invariants: a file with a name of its own is whole, and is never changed. One process writes into a folder.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import msgspec

from onhook.lib.file_lock import file_lock
from onhook.lib.messages import _

JOURNAL_NAME, LOCK_NAME, MANIFEST_NAME, PENDING_NAME = "_journal.json", "_lock", "_manifest", "_pending"
JOURNAL_VERSION = 1

FILE_MODE = 0o640
FOLDER_MODE = 0o750
"""For the group too: programs that read the files run as other users."""


class NewFile(msgspec.Struct, frozen=True):
    """A file to write: `write` writes it to a path; `name` is its name in `folder`, without the number of the batch."""

    folder: str
    name: str
    suffix: str
    records: int
    first_seq: int
    last_seq: int
    write: Callable[[Path], None]


ObjectT = TypeVar("ObjectT")


class ManifestEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a manifest: a file, and what it contains."""

    batch: int
    file: str
    records: int
    first_seq: int
    last_seq: int
    bytes: int
    sha256: str
    written_at: datetime


class Journal(msgspec.Struct, frozen=True, kw_only=True):
    """The newest batch, its files in order (the pending file of each has its index), and the newest notifications."""

    version: int = JOURNAL_VERSION
    batch: int = 0
    entries: tuple[ManifestEntry, ...] = ()
    notification_ids: tuple[str, ...] = ()


class FilesFolder:
    """One folder. All methods block, and raise `OSError`; after an error it is closed, and can be opened again."""

    def __init__(self, path: Path, *, ids_max: int) -> None:
        self._path = path
        self._ids_max = ids_max
        self._resources = ExitStack()
        self._is_open = False
        self._journal = Journal()
        self._notification_ids: frozenset[str] = frozenset()

    def open(self) -> None:
        """Open the folder, if it is not, and complete or remove what an interrupted process left."""
        if self._is_open:
            return
        self._path.mkdir(mode=FOLDER_MODE, exist_ok=True)
        if not self._resources.enter_context(file_lock(self._path / LOCK_NAME)):
            self.close()
            raise OSError(_("another destination writes to the folder {path}", path=self._path))
        self._use_journal(self._read_journal())
        (self._path / PENDING_NAME).mkdir(mode=FOLDER_MODE, exist_ok=True)
        if self._journal.batch:
            self._complete(self._journal, is_interrupted=True)
        for path in (self._path / PENDING_NAME).iterdir():
            path.unlink(missing_ok=True)
        self._is_open = True

    def close(self) -> None:
        """Close the folder."""
        self._is_open = False
        self._resources.close()

    def has_written(self, notification_id: str) -> bool:
        """Return whether a notification is in one of the newest files."""
        return notification_id in self._notification_ids

    def write(self, new_files: Sequence[NewFile], notification_ids: Sequence[str], now: datetime) -> None:
        """Write a batch."""
        batch = self._journal.batch + 1
        entries = tuple(self._write_pending(batch, index, new_file, now) for index, new_file in enumerate(new_files))
        _sync(self._path / PENDING_NAME)
        newest_ids = (*self._journal.notification_ids, *notification_ids)[-self._ids_max :]
        journal = Journal(batch=batch, entries=entries, notification_ids=newest_ids)
        self._replace_journal(journal)
        self._use_journal(journal)
        self._complete(journal, is_interrupted=False)

    def try_out(self, name: str, write: Callable[[Path], None]) -> None:
        """Write a file, and remove it."""
        self._path.mkdir(mode=FOLDER_MODE, exist_ok=True)
        (self._path / PENDING_NAME).mkdir(mode=FOLDER_MODE, exist_ok=True)
        path = self._path / PENDING_NAME / name
        try:
            write(path)
        finally:
            path.unlink(missing_ok=True)

    def _use_journal(self, journal: Journal) -> None:
        self._journal, self._notification_ids = journal, frozenset(journal.notification_ids)

    def _read_journal(self) -> Journal:
        path = self._path / JOURNAL_NAME
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return Journal()
        journal = decode_object(content, Journal, path)
        if journal.version != JOURNAL_VERSION:
            raise OSError(_("{path} was written by a newer Onhook", path=path))
        return journal

    def _replace_journal(self, journal: Journal) -> None:
        path = self._path / PENDING_NAME / JOURNAL_NAME
        path.write_bytes(msgspec.json.encode(journal))
        _sync(path)
        path.replace(self._path / JOURNAL_NAME)
        _sync(self._path)

    def _write_pending(self, batch: int, index: int, new_file: NewFile, now: datetime) -> ManifestEntry:
        path = self._pending_path(batch, index)
        new_file.write(path)
        path.chmod(FILE_MODE)
        _sync(path)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return ManifestEntry(
            batch=batch,
            file=f"{new_file.folder}/{new_file.name}-{batch:08}.{new_file.suffix}",
            records=new_file.records,
            first_seq=new_file.first_seq,
            last_seq=new_file.last_seq,
            bytes=path.stat().st_size,
            sha256=digest,
            written_at=now,
        )

    def _complete(self, journal: Journal, *, is_interrupted: bool) -> None:
        """Give the files of the newest batch their names, and add them to the manifest."""
        for index, entry in enumerate(journal.entries):
            pending_path, path = self._pending_path(journal.batch, index), self._path / entry.file
            if not pending_path.exists():
                continue  # it has its name, or a reader has moved it away already
            path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
            if path.exists():
                raise FileExistsError(_("{path} exists, and is not from this destination", path=path))
            pending_path.rename(path)
            for folder in (path.parent, path.parent.parent, self._path):
                _sync(folder)
        if journal.entries:
            self._append_to_manifest(journal, is_interrupted=is_interrupted)

    def _append_to_manifest(self, journal: Journal, *, is_interrupted: bool) -> None:
        folder = self._path / MANIFEST_NAME
        folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
        path = folder / f"{journal.entries[0].written_at:%Y-%m-%d}.jsonl"
        lines = b"".join(msgspec.json.encode(entry) + b"\n" for entry in journal.entries)
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR, FILE_MODE)
        with os.fdopen(descriptor, "r+b") as file:
            end = _end_before_batch(file.read(), journal.batch, path) if is_interrupted else file.seek(0, os.SEEK_END)
            file.seek(end)
            file.truncate()
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())
        _sync(folder)

    def _pending_path(self, batch: int, index: int) -> Path:
        return self._path / PENDING_NAME / f"{batch:08}-{index:05}"


def decode_object(content: bytes, object_type: type[ObjectT], path: Path | str) -> ObjectT:
    """Return what a journal or a manifest has. Raises `OSError` where others have changed it."""
    try:
        return msgspec.json.decode(content, type=object_type)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise OSError(_("{path} cannot be read: {error}", path=path, error=error)) from error


def _end_before_batch(content: bytes, batch: int, path: Path) -> int:
    """Return where the lines of a batch begin in a manifest, or the end of its last whole line. Raises `OSError`."""
    end = 0
    for line in content.splitlines(keepends=True):
        if not line.endswith(b"\n") or decode_object(line, ManifestEntry, path).batch >= batch:
            break
        end += len(line)
    return end


def _sync(path: Path) -> None:
    """Have a file or folder on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
