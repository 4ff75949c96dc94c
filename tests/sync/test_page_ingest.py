"""Pages of a PBX's list whose calls are stored already: what they cost, and where."""

import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from onhook.cdr.call_details import CallDetails
from onhook.cdr.erasure import LABEL
from onhook.cdr.record import Record
from onhook.ledger.sqlite import SqliteLedger
from onhook.lib.clock import SystemClock
from onhook.pbx.client import ListingPage, TimeWindow
from onhook.pbx.registry import dialects
from onhook.receiver.ingest import Ingestor
from onhook.receiver.pbx_registry import RegisteredPbx
from onhook.sync import page_ingest
from onhook.sync.contract import BackfillTotals
from onhook.sync.page_ingest import PageIngestor
from tests.factories import SN, record
from tests.receiver.harness import MemoryPbxRegistry

SENDER = RegisteredPbx(sn=SN, dialect="yeastar")
ROWS = 300
NO_WINDOW = TimeWindow(since=0, until=0)


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[SqliteLedger]:
    ledger = SqliteLedger(tmp_path / "ledger.db")
    yield ledger
    await ledger.close()


class StoredCalls:
    """Look-up that has the given records."""

    def __init__(self, records: Sequence[Record]) -> None:
        self._records = records

    async def find_legs(self, keys: Sequence[tuple[str, str]]) -> Sequence[Record]:
        return [record for record in self._records if (record.sn, record.call_id) in set(keys)]

    async def find_call_ids(self, sn: str, uids: Sequence[str], window: TimeWindow) -> Mapping[str, str]:
        return {}


def count_calls(monkeypatch: pytest.MonkeyPatch, name: str) -> list[int]:
    """Return the list to which each call of a function of the module adds the thread that it runs in."""
    function: Callable[..., Any] = getattr(page_ingest, name)
    threads: list[int] = []

    def count(*arguments: Any) -> Any:
        threads.append(threading.get_ident())
        return function(*arguments)

    monkeypatch.setattr(page_ingest, name, count)
    return threads


async def ingest_stored(records: Sequence[Record], rows: Sequence[CallDetails], ledger: SqliteLedger) -> BackfillTotals:
    """Ingest a page with a row for each of these details."""
    dialect = dialects()["yeastar"]
    ingestor = Ingestor(registry=MemoryPbxRegistry([SENDER]), ledger=ledger, dialects=dialects(), clock=SystemClock())
    pages = PageIngestor(
        ingestor=ingestor, sender=SENDER, dialect=dialect, call_lookup=StoredCalls(records), host="192.0.2.1"
    )
    page = ListingPage(rows=[dialect.format(row, SN, "p-2026") for row in rows], done_until=5)
    try:
        return await pages.ingest(BackfillTotals(), page, NO_WINDOW)
    finally:
        await ingestor.close()


async def test_page_of_stored_calls_is_compared_once_per_row_outside_the_event_loop(
    ledger: SqliteLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A UCM and a 3CX send the last hours again and again: such a page must not stand in the way of the hub."""
    records = [record(call_id=f"1777287828.{number}") for number in range(ROWS)]
    records[0] = msgspec.structs.replace(records[0], call_from=LABEL)
    searches, comparisons = count_calls(monkeypatch, "has_erased_party"), count_calls(monkeypatch, "merge_details")
    totals = await ingest_stored(records, records, ledger)
    assert (totals.rows, totals.same, totals.changed, totals.new) == (ROWS, ROWS, 0, 0)
    assert (len(searches), len(comparisons)) == (ROWS, ROWS - 1)
    assert threading.get_ident() not in {*searches, *comparisons}
    assert await ledger.last_seq() == 0
