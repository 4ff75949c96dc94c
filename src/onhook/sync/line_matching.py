"""Which calls of a report a PBX has written lines about: a line and a report have no id in common.

Invariant: a call is that of a line where both began within two seconds and a party is the same.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

import msgspec

from onhook.cdr.call_details import CallDetails
from onhook.cdr.identity import extract_number
from onhook.cdr.merge import ROW_CHANNELS
from onhook.cdr.record import Record
from onhook.lib.errors import ParseError
from onhook.pbx.client import ListingPage
from onhook.pbx.dialect import Dialect

TOLERANCE: Final = timedelta(seconds=2)


class RecordsLookup(Protocol):
    """Look-up of stored records by their time."""

    async def find_records_between(self, sn: str, since: datetime, until: datetime) -> Sequence[Record]:
        """Return the records of a PBX that began in a time, its end included."""
        ...


class LineMatcher:
    """Leaves out what lines say already. `dialect` has times in UTC."""

    def __init__(self, *, sn: str, dialect: Dialect, lookup: RecordsLookup) -> None:
        self._sn = sn
        self._dialect = dialect
        self._lookup = lookup

    async def filter_page(self, page: ListingPage) -> ListingPage:
        """Return the page without the calls of which there is a line."""
        calls = [self._parse(row) for row in page.rows]
        starts = [_start(details) for call in calls for details in call]
        if not starts:
            return page
        records = await self._lookup.find_records_between(self._sn, min(starts) - TOLERANCE, max(starts) + TOLERANCE)
        lines = [record for record in records if record.via not in ROW_CHANNELS]
        rows = [row for row, call in zip(page.rows, calls, strict=True) if not _has_line(call, lines)]
        return msgspec.structs.replace(page, rows=rows)

    def _parse(self, row: bytes) -> Sequence[CallDetails]:
        """Return the call in a row; none where it cannot be read, which the projector says."""
        try:
            return self._dialect.parse(row)
        except ParseError:
            return ()


def _has_line(call: Sequence[CallDetails], lines: Sequence[Record]) -> bool:
    if not call:
        return False
    start, callers = _start(call[0]), {extract_number(call[0].call_from)}
    callees = {extract_number(details.call_to) for details in call}
    return any(
        abs(line.started_at - start) <= TOLERANCE
        and (extract_number(line.call_from) in callers or extract_number(line.call_to) in callees)
        for line in lines
    )


def _start(details: CallDetails) -> datetime:
    return datetime.fromisoformat(details.time_start).replace(tzinfo=UTC)
