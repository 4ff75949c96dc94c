"""Pages of a PBX's own list of calls, passed to `receiver.ingest`.

Invariant: a row that adds nothing to the stored calls is not stored again; all others are, also those that cannot be
parsed. Rows are parsed and compared in a thread.
"""

import asyncio
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet

import msgspec

from onhook.cdr.call_details import CallDetails
from onhook.cdr.erasure import has_erased_party
from onhook.cdr.identity import RecordKey, record_key
from onhook.cdr.merge import merge_details
from onhook.cdr.record import Record
from onhook.lib.errors import OnhookError
from onhook.pbx.client import ListingPage, TimeWindow
from onhook.pbx.dialect import Dialect
from onhook.receiver.ingest import Ingestor
from onhook.receiver.pbx_registry import RegisteredPbx
from onhook.receiver.verdict import Verdict
from onhook.sync.contract import BACKFILL, BackfillTotals, CallLookup
from onhook.sync.ingest_retry import BACKFILL_ATTEMPTS_MAX, ingest_with_retry


class PageIngestor:
    """Stores the rows of pages of one PBX, whose API is at `host`."""

    def __init__(
        self, *, ingestor: Ingestor, sender: RegisteredPbx, dialect: Dialect, call_lookup: CallLookup, host: str
    ) -> None:
        self._ingestor = ingestor
        self._sender = sender
        self._dialect = dialect
        self._call_lookup = call_lookup
        self._host = host

    async def ingest(self, totals: BackfillTotals, page: ListingPage, missed_window: TimeWindow) -> BackfillTotals:
        """Store the new rows of a page; return the totals with it. A call counts as missed by the push channel if it
        ended in `missed_window`. Raises `Unavailable`.
        """
        details_by_row = await asyncio.to_thread(_parse_rows, self._dialect, page.rows)
        keys = {(self._sender.sn, leg.call_id) for details in details_by_row for leg in details or ()}
        records = await self._call_lookup.find_legs(sorted(keys))
        comparisons = await asyncio.to_thread(
            _compare_rows, self._sender.sn, details_by_row, records, missed_window=missed_window
        )
        changed_indexes = [index for index, comparison in enumerate(comparisons) if comparison.has_changes]
        verdicts = await self._ingest_rows([page.rows[index] for index in changed_indexes])
        for index, verdict in zip(changed_indexes, verdicts, strict=True):
            if verdict == "deleted":
                comparisons[index] = _RowComparison(same=len(details_by_row[index] or ()))
        return msgspec.structs.replace(
            totals,
            rows=totals.rows + len(page.rows),
            new=totals.new + sum(comparison.new for comparison in comparisons),
            changed=totals.changed + sum(comparison.changed for comparison in comparisons),
            same=totals.same + sum(comparison.same for comparison in comparisons),
            unreadable=totals.unreadable + sum(details is None for details in details_by_row),
            missed=totals.missed + sum(comparison.missed for comparison in comparisons),
            done_until=page.done_until,
        )

    async def _ingest_rows(self, rows: Sequence[bytes]) -> list[Verdict]:
        """Ingest rows; retry while the ledger cannot be written. Raises `Unavailable`."""

        def ingest(row: bytes) -> Awaitable[Verdict]:
            return self._ingestor.ingest(self._sender, row, BACKFILL, self._host)

        return await ingest_with_retry(ingest, rows, attempts_max=BACKFILL_ATTEMPTS_MAX)


class _RowComparison(msgspec.Struct, frozen=True):
    """Comparison of a row with the stored call: how many of its legs are new, changed, equal, and missed by the push
    channel.
    """

    new: int = 0
    changed: int = 0
    same: int = 0
    missed: int = 0
    has_changes: bool = True


def _compare_rows(
    sn: str,
    details_by_row: Iterable[Sequence[CallDetails] | None],
    records: Iterable[Record],
    *,
    missed_window: TimeWindow,
) -> list[_RowComparison]:
    """Return the comparison of each row with the stored records of its calls, in a time that grows with rows and
    records, not with their product: a page has up to 10,000 of each.
    """
    known_records = {record_key(record.sn, record): record for record in records}
    erased_legs = {key[:3] for key, record in known_records.items() if has_erased_party(record)}
    return [
        _compare_row(sn, details, known_records, erased_legs=erased_legs, missed_window=missed_window)
        for details in details_by_row
    ]


def _compare_row(
    sn: str,
    details: Sequence[CallDetails] | None,
    known_records: Mapping[RecordKey, Record],
    *,
    erased_legs: AbstractSet[tuple[str, str, str]],
    missed_window: TimeWindow,
) -> _RowComparison:
    if details is None:
        return _RowComparison()
    new = changed = same = missed_count = 0
    for leg in details:
        record = known_records.get(record_key(sn, leg))
        if (sn, leg.call_id, leg.time_start) in erased_legs:
            same += 1  # the row has what was erased
        elif record is None:
            new += 1
            missed_count += _has_ended_within(leg, missed_window)
        elif merge_details(record, record.via, leg, BACKFILL) == record:
            same += 1
        else:
            changed += 1
    return _RowComparison(new, changed, same, missed_count, new + changed > 0)


def _has_ended_within(details: CallDetails, window: TimeWindow) -> bool:
    """Return whether a call ended in a window, by the start time in its id; False without one."""
    began_at = int(details.call_id[:10]) if details.call_id[:10].isdecimal() and details.call_id[10:11] == "." else 0
    return bool(began_at) and window.since <= began_at and began_at + (details.call_duration or 0) < window.until


def _parse_rows(dialect: Dialect, rows: Sequence[bytes]) -> list[Sequence[CallDetails] | None]:
    """Return the parsed rows, with None for a row that cannot be parsed; the projector reports it in the quarantine."""
    details_by_row: list[Sequence[CallDetails] | None] = []
    for row in rows:
        try:
            details_by_row.append(dialect.parse(row))
        except OnhookError:
            details_by_row.append(None)
    return details_by_row
