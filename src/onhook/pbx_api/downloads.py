"""Files prepared for `cdr/download` and `recording/download` (yeastar-p-series.md 7.6).

Invariants: only the app that requested a file can fetch it, under its `download_resource_url`, within 30 minutes. A
CSV file is in memory, limited in size; a recording stays where it is, on this machine or on the PBX. Each is removed
when it expires or when too many newer ones exist.
"""

import asyncio
import csv
import io
import secrets
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from onhook.appdb.api_clients import App
from onhook.cdr.csv_injection import escape_cell
from onhook.pbx_api.pass_through import RemoteFile

PATH = "/api/download/"
EXPIRY_MICROSECONDS = 1_800 * 1_000_000
FILES_MAX = 16
"""Number of CSV files; at their longest they have some 30 MB together."""

RECORDINGS_MAX = 2_000
"""Number of prepared recordings: an app that archives a day requests them one after the other."""

ROWS_MAX = 10_000
"""Rows of one file: as many as a page. For more, request several ranges of time."""

NAME_BYTES = 16
CHUNK_BYTES = 64 * 1024


class DownloadFile(msgspec.Struct, frozen=True, kw_only=True):
    """File that an app may fetch until a time (microseconds), as long as it may see the PBXs that it could see when
    the file was prepared (empty: all): its bytes, its path here, or its place on a PBX.
    """

    name: str
    client_id: str
    pbxs: tuple[str, ...]
    content: bytes | Path | RemoteFile
    until: int


class Downloads:
    """The prepared files."""

    def __init__(self) -> None:
        self._files: OrderedDict[str, DownloadFile] = OrderedDict()
        self._recordings: OrderedDict[str, DownloadFile] = OrderedDict()

    def add(self, app: App, prefix: str, content: bytes, now_us: int) -> DownloadFile:
        """Add a CSV file under a name that cannot be guessed."""
        return _add(self._files, FILES_MAX, f"{prefix}-{secrets.token_hex(NAME_BYTES)}.csv", app, content, now_us)

    def add_recording(self, app: App, suffix: str, content: Path | RemoteFile, now_us: int) -> DownloadFile:
        """Add a recording under a name that cannot be guessed; `suffix` is its file type, such as `.wav`."""
        name = f"recording-{secrets.token_hex(NAME_BYTES)}{suffix}"
        return _add(self._recordings, RECORDINGS_MAX, name, app, content, now_us)

    def get(self, name: str, app: App, now_us: int) -> DownloadFile | None:
        """Return the file of that name if this app may fetch it and it has not expired, else None."""
        for files in (self._files, self._recordings):
            for expired_name in [candidate.name for candidate in files.values() if candidate.until <= now_us]:
                del files[expired_name]
        file = self._files.get(name) or self._recordings.get(name)
        return file if file is not None and _may_fetch(app, file) else None


def _may_fetch(app: App, file: DownloadFile) -> bool:
    may_see_pbxs = not app.pbxs or (bool(file.pbxs) and set(file.pbxs) <= set(app.pbxs))
    return file.client_id == app.client_id and may_see_pbxs


def _add(  # noqa: PLR0917 - the members of a file
    files: OrderedDict[str, DownloadFile],
    files_max: int,
    name: str,
    app: App,
    content: bytes | Path | RemoteFile,
    now_us: int,
) -> DownloadFile:
    files[name] = DownloadFile(
        name=name, client_id=app.client_id, pbxs=app.pbxs, content=content, until=now_us + EXPIRY_MICROSECONDS
    )
    while len(files) > files_max:
        files.popitem(last=False)
    return files[name]


@asynccontextmanager
async def open_local_file(path: Path) -> AsyncIterator[AsyncIterator[bytes]]:
    """Open a file of this machine; its chunks are read inside, in threads. Raises `OSError`."""
    with await asyncio.to_thread(path.open, "rb") as file:

        async def chunks() -> AsyncIterator[bytes]:
            while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
                yield chunk

        yield chunks()


async def format_csv(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> bytes:
    """Return rows as CSV (RFC 4180) with the names of the API. They are made and written in a thread, because of the
    duration.
    """
    return await asyncio.to_thread(_format_csv, columns, rows)


def _format_csv(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> bytes:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerow(columns)
    writer.writerows([escape_cell(cell) for cell in row] for row in rows)
    return buffer.getvalue().encode()
