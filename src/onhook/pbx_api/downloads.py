"""Files prepared for `cdr/download` (yeastar-p-series.md 7.6).

Invariants: only the app that requested a file can fetch it, under its `download_resource_url`, within 30 minutes. A
file is in memory, limited in size, and removed when it expires or when too many newer ones exist.
"""

import asyncio
import csv
import io
import secrets
from collections import OrderedDict
from collections.abc import Sequence

import msgspec

from onhook.cdr.csv_injection import escape_formula
from onhook.cdr.record import Record
from onhook.pbx.yeastar.display import DisplayFormat
from onhook.pbx.yeastar.rest import CSV_COLUMNS, format_csv_row

PATH = "/api/download/"
EXPIRY_MICROSECONDS = 1_800 * 1_000_000
FILES_MAX = 16
"""Number of files; at their longest they have some 30 MB together."""

ROWS_MAX = 10_000
"""Rows of one file: as many as a page. For more, request several ranges of time."""

NAME_BYTES = 16


class DownloadFile(msgspec.Struct, frozen=True, kw_only=True):
    """File that an app may fetch until a time (microseconds)."""

    name: str
    client_id: str
    content: bytes
    until: int


class Downloads:
    """The prepared files."""

    def __init__(self) -> None:
        self._files: OrderedDict[str, DownloadFile] = OrderedDict()

    def add(self, client_id: str, prefix: str, content: bytes, now_us: int) -> DownloadFile:
        """Add a file under a name that cannot be guessed."""
        name = f"{prefix}-{secrets.token_hex(NAME_BYTES)}.csv"
        file = DownloadFile(name=name, client_id=client_id, content=content, until=now_us + EXPIRY_MICROSECONDS)
        self._files[name] = file
        while len(self._files) > FILES_MAX:
            self._files.popitem(last=False)
        return file

    def get(self, name: str, client_id: str, now_us: int) -> DownloadFile | None:
        """Return the file of that name if it belongs to this app and has not expired, else None."""
        for expired_name in [candidate.name for candidate in self._files.values() if candidate.until <= now_us]:
            del self._files[expired_name]
        file = self._files.get(name)
        return file if file is not None and file.client_id == client_id else None


async def format_csv(records: Sequence[Record], display: DisplayFormat) -> bytes:
    """Return rows as CSV (RFC 4180) with the names of the API, written in a thread because of its duration."""
    return await asyncio.to_thread(_format_csv, records, display)


def _format_csv(records: Sequence[Record], display: DisplayFormat) -> bytes:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerow(CSV_COLUMNS)
    writer.writerows([escape_formula(cell) for cell in format_csv_row(record, display)] for record in records)
    return buffer.getvalue().encode()
