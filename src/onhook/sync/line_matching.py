"""Which calls of a report a PBX has written lines about: a line and a report have no id in common.

Invariants: a call is that of a line where both began within two seconds, and caller and called party are the same, as
far as both are known. A line is that of one call. Both are compared in a thread.
"""

import asyncio
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

import msgspec

from onhook.cdr.call_details import CallDetails
from onhook.cdr.identity import differ_in_prefix, extract_number
from onhook.cdr.merge import ROW_CHANNELS
from onhook.cdr.record import Record
from onhook.lib.errors import ParseError
from onhook.pbx.client import ListingPage
from onhook.pbx.dialect import Dialect

TOLERANCE: Final = timedelta(seconds=2)

COMMON_DIGITS_MIN: Final = 7
"""Of two notations of one number, without prefix: of shorter ones, extensions, one may be the end of another."""


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
        calls = await asyncio.to_thread(lambda: [self._parse(row) for row in page.rows])
        starts = [_start(details) for call in calls for details in call]
        if not starts:
            return page
        records = await self._lookup.find_records_between(self._sn, min(starts) - TOLERANCE, max(starts) + TOLERANCE)
        matched = await asyncio.to_thread(_find_matched, calls, records)
        rows = [row for index, row in enumerate(page.rows) if index not in matched]
        return msgspec.structs.replace(page, rows=rows)

    def _parse(self, row: bytes) -> Sequence[CallDetails]:
        """Return the call in a row; none where it cannot be read, which the projector says."""
        try:
            return self._dialect.parse(row)
        except ParseError:
            return ()


def _find_matched(calls: Sequence[Sequence[CallDetails]], records: Sequence[Record]) -> AbstractSet[int]:
    """Return the indexes of the calls of which there is a line. A line is that of one call: of the pairs that fit,
    those that began nearest to each other come first.
    """
    lines = sorted(
        (record for record in records if record.via not in ROW_CHANNELS), key=lambda record: record.started_at
    )
    line_starts = [line.started_at for line in lines]
    pairs: list[tuple[timedelta, int, int]] = []
    for call_index, call in enumerate(calls):
        if not call:
            continue
        start = _start(call[0])
        first = bisect_left(line_starts, start - TOLERANCE)
        pairs += [
            (abs(line_starts[line_index] - start), call_index, line_index)
            for line_index in range(first, bisect_right(line_starts, start + TOLERANCE))
            if _has_same_parties(call, lines[line_index])
        ]
    matched_calls, matched_lines = set[int](), set[int]()
    for _distance, call_index, line_index in sorted(pairs):
        if call_index not in matched_calls and line_index not in matched_lines:
            matched_calls.add(call_index)
            matched_lines.add(line_index)
    return matched_calls


def _has_same_parties(call: Sequence[CallDetails], line: Record) -> bool:
    """Return whether caller and called party are the same, as far as both sides know them: one at least."""
    comparisons = (
        _compare([call[0].call_from], line.call_from),
        _compare([details.call_to for details in call], line.call_to),
    )
    return True in comparisons and False not in comparisons


def _compare(parties: Sequence[str], line_party: str) -> bool | None:
    """Return whether a line has one of the parties; None where one side does not know."""
    line_number, numbers = extract_number(line_party), [extract_number(party) for party in parties if party]
    if not line_number or not numbers:
        return None
    line_digits = _significant_digits(line_number)
    return any(
        number == line_number
        or differ_in_prefix(_significant_digits(number), line_digits, common_digits_min=COMMON_DIGITS_MIN)
        for number in numbers
    )


def _significant_digits(number: str) -> str:
    """Return the digits of a number from the first one that is no zero: a trunk may add zeros, or remove them."""
    return "".join(filter(str.isdecimal, number)).lstrip("0")


def _start(details: CallDetails) -> datetime:
    return datetime.fromisoformat(details.time_start).replace(tzinfo=UTC)
