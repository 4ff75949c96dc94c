"""Back-fill from a PBX's own list of calls, of which each entry is a raw event: Grandstream UCM, 3CX.

Invariant: progress is reported after each page, so that an interrupted back-fill resumes at its last day.
"""

from contextlib import aclosing

import msgspec

from onhook.pbx.client import ListingPage, SystemFacts, TimeWindow
from onhook.sync.call_list_reader import CallListReader
from onhook.sync.contract import BackfillProgressCallback, BackfillTotals
from onhook.sync.line_matching import LineMatcher
from onhook.sync.page_ingest import PageIngestor


class ListBackfill:
    """Back-fill of one PBX, without state between two runs. See the contract, `sync.contract.BackfillSource`."""

    def __init__(self, reader: CallListReader, pages: PageIngestor, line_matcher: LineMatcher | None = None) -> None:
        self._reader = reader
        self._pages = pages
        self._line_matcher = line_matcher

    async def get_facts(self) -> SystemFacts:
        """Return nothing: the list has no facts about the PBX."""
        return SystemFacts()

    async def count_records(self, window: TimeWindow, facts: SystemFacts) -> int | None:
        """Return None: the list has no count."""
        return None

    async def backfill(
        self,
        window: TimeWindow,
        facts: SystemFacts,
        *,
        missed_window: TimeWindow,
        on_progress: BackfillProgressCallback,
    ) -> BackfillTotals:
        """Read the list of calls that began in a window and store what is new. Raises `OnhookError` when it cannot
        continue; pages whose progress was reported are stored.
        """
        totals = BackfillTotals(done_until=window.since)
        if self._reader.settle_seconds:
            settled_until = round(self._reader.now()) - self._reader.settle_seconds
            totals = msgspec.structs.replace(totals, reach_until=settled_until)
            window = TimeWindow(since=min(window.since, settled_until), until=min(window.until, settled_until))
        async with aclosing(self._reader.read(window)) as steps:
            async for step in steps:
                if isinstance(step, ListingPage):
                    page = step if self._line_matcher is None else await self._line_matcher.filter_page(step)
                    totals = await self._pages.ingest(totals, page, missed_window)
                    await on_progress(totals)
                else:
                    totals = msgspec.structs.replace(
                        totals,
                        counted=step.pbx_count,
                        rows=step.row_count,
                        incomplete_reason=step.incomplete_reason,
                    )
        return totals
