"""Back-fill from the API of a PBX: past calls of its list, passed to `receiver.ingest`.

Invariants: a row that adds nothing is not stored again; all others are, also those that cannot be parsed. Memory holds
one page. Progress is reported after each page, so that an interrupted back-fill resumes at its last page.
"""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence

import msgspec

from onhook.cdr.call_details import CallDetails
from onhook.cdr.erasure import has_erased_party
from onhook.cdr.identity import RecordKey, record_key
from onhook.cdr.merge import merge_details
from onhook.cdr.record import Record
from onhook.lib.errors import OnhookError, Unavailable
from onhook.lib.messages import _
from onhook.pbx.client import (
    CallIdRequest,
    ListingPage,
    ListingReply,
    ListingResult,
    ListingSteps,
    PbxRequest,
    PbxResponse,
    SystemFacts,
    TimeWindow,
)
from onhook.pbx.dialect import Dialect
from onhook.receiver.ingest import Ingestor
from onhook.receiver.pbx_registry import RegisteredPbx
from onhook.receiver.verdict import Verdict
from onhook.sync.contract import BACKFILL, BackfillProgressCallback, BackfillTotals, CallLookup
from onhook.sync.ingest_retry import BACKFILL_ATTEMPTS_MAX, ingest_with_retry
from onhook.sync.pbx_session import PbxSession

PAGE_ROWS_MAX = 10_000
"""Rows per page: the maximum of a PBX."""


class ApiBackfill:
    """Back-fill of one PBX, without state between two runs. See the contract, `sync.contract.BackfillSource`."""

    def __init__(
        self,
        *,
        session: PbxSession,
        ingestor: Ingestor,
        sender: RegisteredPbx,
        dialect: Dialect,
        call_lookup: CallLookup,
        rows_max: int = PAGE_ROWS_MAX,
    ) -> None:
        self._session = session
        self._ingestor = ingestor
        self._sender = sender
        self._dialect = dialect
        self._call_lookup = call_lookup
        self._rows_max = rows_max

    async def get_facts(self) -> SystemFacts:
        """Return the PBX's system information; empty if the PBX answers without it. Raises `OnhookError`.

        A back-fill needs none: it asks by Unix seconds, and the ids of calls contain the offset from UTC.
        """
        answer = await self._session.send_request(self._session.client.facts_request())
        if is_without_facts(answer):
            return SystemFacts()
        if answer.error_kind is not None:
            raise Unavailable(
                _("the PBX returned no system information: {error}", error=answer.error_text),
                location=self._session.host,
            )
        return self._session.client.parse_facts(answer)

    async def backfill(
        self,
        window: TimeWindow,
        facts: SystemFacts,
        *,
        missed_window: TimeWindow,
        on_progress: BackfillProgressCallback,
    ) -> BackfillTotals:
        """Read the list of calls that began in a window and store what is new. A call counts as missed by the push
        channel if it ended in `missed_window`. Raises `OnhookError` when it cannot continue; pages whose progress was
        reported are stored.
        """
        listing = self._session.client.list_calls(self._sender.sn, window, facts, rows_max=self._rows_max)
        totals = BackfillTotals(done_until=window.since)
        reply: ListingReply = None
        while True:
            try:
                step = await asyncio.to_thread(_next_step, listing, reply)
            except _ListingEnd as end:
                return msgspec.structs.replace(
                    totals,
                    counted=end.result.pbx_count,
                    rows=end.result.row_count,
                    incomplete_reason=end.result.incomplete_reason,
                )
            if isinstance(step, ListingPage):
                totals = await self._ingest_page(totals, step, missed_window)
                await on_progress(totals)
                reply = None
            elif isinstance(step, CallIdRequest):
                reply = await self._call_lookup.find_call_ids(self._sender.sn, step.uids, step.window)
            else:
                reply = await self._session.send_request(step)

    async def count_records(self, window: TimeWindow, facts: SystemFacts) -> int | None:
        """Return the number of rows that the PBX counts in a window, or None. Raises `OnhookError`."""
        counting = self._session.client.count_calls(window, facts)
        reply: ListingReply = None
        while True:
            try:
                step = counting.send(reply)
            except StopIteration as end:
                count: int | None = end.value
                return count
            reply = await self._send_request(step)

    async def _send_request(self, request: PbxRequest | CallIdRequest | ListingPage) -> PbxResponse:
        assert isinstance(request, PbxRequest), "counting sends requests only"
        return await self._session.send_request(request)

    async def _ingest_page(
        self, totals: BackfillTotals, page: ListingPage, missed_window: TimeWindow
    ) -> BackfillTotals:
        """Store the new rows of a page."""
        details_by_row = await asyncio.to_thread(_parse_rows, self._dialect, page.rows)
        keys = {(self._sender.sn, leg.call_id) for details in details_by_row for leg in details or ()}
        known_records = {_record_key(record): record for record in await self._call_lookup.find_legs(sorted(keys))}
        comparisons = [
            _compare_row(self._sender.sn, details, known_records, missed_window) for details in details_by_row
        ]
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
            return self._ingestor.ingest(self._sender, row, BACKFILL, self._session.host)

        return await ingest_with_retry(ingest, rows, attempts_max=BACKFILL_ATTEMPTS_MAX)


def is_without_facts(answer: PbxResponse) -> bool:
    """Return whether the PBX answered the request for its system information, and gave none: its firmware has none, the
    client may not read it, or it fails each time. A token that expired, and a connection that failed, is another case.
    """
    if answer.error_kind in ("unsupported", "invalid_parameter", "invalid_request", "invalid_credentials"):
        return True
    has_answered = bool(answer.members) or answer.errcode == 0
    return answer.error_kind in ("temporary", "invalid_response") and has_answered


class _RowComparison(msgspec.Struct, frozen=True):
    """Comparison of a row with the stored call: how many of its legs are new, changed, equal, and missed by the push
    channel.
    """

    new: int = 0
    changed: int = 0
    same: int = 0
    missed: int = 0
    has_changes: bool = True


def _compare_row(
    sn: str, details: Sequence[CallDetails] | None, known_records: Mapping[RecordKey, Record], missed_window: TimeWindow
) -> _RowComparison:
    if details is None:
        return _RowComparison()
    new = changed = same = missed_count = 0
    erased_legs = {key[:3] for key, record in known_records.items() if has_erased_party(record)}
    for leg in details:
        record = known_records.get(record_key(sn, leg))
        if (record is not None and has_erased_party(record)) or (sn, leg.call_id, leg.time_start) in erased_legs:
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


def _record_key(record: Record) -> RecordKey:
    return record_key(record.sn, record)


def _parse_rows(dialect: Dialect, rows: Sequence[bytes]) -> list[Sequence[CallDetails] | None]:
    """Return the parsed rows, with None for a row that cannot be parsed; the projector reports it in the quarantine."""
    details_by_row: list[Sequence[CallDetails] | None] = []
    for row in rows:
        try:
            details_by_row.append(dialect.parse(row))
        except OnhookError:
            details_by_row.append(None)
    return details_by_row


class _ListingEnd(Exception):
    """End of the list. A StopIteration cannot leave a thread."""

    def __init__(self, result: ListingResult) -> None:
        super().__init__()
        self.result = result


def _next_step(listing: ListingSteps, reply: ListingReply) -> PbxRequest | CallIdRequest | ListingPage:
    """Return the next step of reading the list. Raises `_ListingEnd`."""
    try:
        return listing.send(reply)
    except StopIteration as end:
        raise _ListingEnd(end.value) from None
