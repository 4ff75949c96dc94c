"""Files that were made ready to be fetched: `cdr/download` (PROTOCOL.md 7.6).

Laws: a file is fetched under its `download_resource_url`, by the application that asked for it, within 30 minutes. It
is made in memory, bounded, and forgotten when its time is up or when too many others were made since.
"""

import asyncio
import csv
import io
import secrets
from collections import OrderedDict
from collections.abc import Sequence

import msgspec

from onhook.cdr.csv_injection import harmless
from onhook.cdr.record import Record
from onhook.pbx.yeastar.display import DisplayFormat
from onhook.pbx.yeastar.rest import CSV_COLUMNS, csv_row

PATH = "/api/download/"
KEPT_MICROSECONDS = 1_800 * 1_000_000
KEPT_MAX = 16
"""In all; at their longest they are some 30 MB together."""

ROWS_MAX = 10_000
"""Of one file: as many as a page; who wants more asks for several stretches of time."""

NAME_BYTES = 16


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """A file that waits to be fetched by an application, until a moment (microseconds)."""

    name: str
    client_id: str
    content: bytes
    until: int


class Downloads:
    """The files that wait."""

    def __init__(self) -> None:
        self._files: OrderedDict[str, Ready] = OrderedDict()

    def keep(self, client_id: str, prefix: str, content: bytes, at: int) -> Ready:
        """Keep a file; its name is not to be guessed."""
        name = f"{prefix}-{secrets.token_hex(NAME_BYTES)}.csv"
        ready = Ready(name=name, client_id=client_id, content=content, until=at + KEPT_MICROSECONDS)
        self._files[name] = ready
        while len(self._files) > KEPT_MAX:
            self._files.popitem(last=False)
        return ready

    def get(self, name: str, client_id: str, at: int) -> Ready | None:
        """The file of that name, where it is there for this application and its time is not up."""
        for late in [one.name for one in self._files.values() if one.until <= at]:
            del self._files[late]
        ready = self._files.get(name)
        return ready if ready is not None and ready.client_id == client_id else None


async def csv_of(records: Sequence[Record], display: DisplayFormat) -> bytes:
    """Rows as CSV (RFC 4180) under the names of the API; written in a thread, for it takes a while."""
    return await asyncio.to_thread(_csv_of, records, display)


def _csv_of(records: Sequence[Record], display: DisplayFormat) -> bytes:
    written = io.StringIO(newline="")
    writer = csv.writer(written)
    writer.writerow(CSV_COLUMNS)
    writer.writerows([harmless(cell) for cell in csv_row(record, display)] for record in records)
    return written.getvalue().encode()
