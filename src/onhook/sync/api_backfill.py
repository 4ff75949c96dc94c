"""Back-fill from the API of a PBX: past calls of its list, passed to `receiver.ingest`.

Invariants: a row that adds nothing is not stored again; all others are, also those that cannot be parsed. Memory holds
one page. Progress is reported after each page, so that an interrupted back-fill resumes at its last page.
"""

import asyncio

import msgspec

from onhook.lib.errors import Unavailable
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
from onhook.sync.contract import BackfillProgressCallback, BackfillTotals, CallLookup
from onhook.sync.page_ingest import PageIngestor
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
        self._sender = sender
        self._call_lookup = call_lookup
        self._rows_max = rows_max
        self._pages = PageIngestor(
            ingestor=ingestor, sender=sender, dialect=dialect, call_lookup=call_lookup, host=session.host
        )

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
                totals = await self._pages.ingest(totals, step, missed_window)
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


def is_without_facts(answer: PbxResponse) -> bool:
    """Return whether the PBX answered the request for its system information, and gave none: its firmware has none, the
    client may not read it, or it fails each time. A token that expired, and a connection that failed, is another case.
    """
    if answer.error_kind in ("unsupported", "invalid_parameter", "invalid_request", "invalid_credentials"):
        return True
    has_answered = bool(answer.members) or answer.errcode == 0
    return answer.error_kind in ("temporary", "invalid_response") and has_answered


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
