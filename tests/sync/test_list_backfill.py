"""Back-fill from the list of calls of a UCM, from a stub over real connections into a real ledger."""

import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from onhook.ledger.sqlite import SqliteLedger
from onhook.lib.clock import SystemClock
from onhook.lib.errors import NotAllowed, Unavailable
from onhook.pbx.client import ClientCredentials, SystemFacts, TimeWindow
from onhook.pbx.grandstream import call_list
from onhook.pbx.grandstream.call_list import UcmCallList
from onhook.pbx.registry import dialects
from onhook.receiver.ingest import Ingestor
from onhook.receiver.pbx_registry import RegisteredPbx
from onhook.sync.call_list_reader import CallListReader
from onhook.sync.call_lookup import EmptyCallLookup
from onhook.sync.contract import BackfillTotals
from onhook.sync.list_backfill import ListBackfill
from onhook.sync.page_ingest import PageIngestor
from onhook.sync.pbx_session import PbxEndpoint
from tests.pbx.grandstream.test_acceptance import CDRAPI
from tests.receiver.harness import MemoryPbxRegistry
from tests.sync.ucm_stub import PASSWORD, USER, UcmStub, run_ucm

SENDER = RegisteredPbx(sn="UCM", dialect="grandstream")
ENTRIES: list[Mapping[str, Any]] = json.loads(CDRAPI)["cdr_root"]
WINDOW = TimeWindow(since=1_785_740_000, until=1_785_750_000)
FACTS, NO_WINDOW = SystemFacts(), TimeWindow(since=0, until=0)


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[SqliteLedger]:
    ledger = SqliteLedger(tmp_path / "ledger.db")
    yield ledger
    await ledger.close()


def create_reader(url: str, password: str = PASSWORD) -> CallListReader:
    endpoint = PbxEndpoint(url=url, login=ClientCredentials(USER, password))
    return CallListReader(client=UcmCallList(), endpoint=endpoint, clock=SystemClock(), zone=ZoneInfo("Europe/Berlin"))


async def run_backfill(reader: CallListReader, ledger: SqliteLedger) -> tuple[BackfillTotals, list[int]]:
    """Return the totals, and the progress after each page."""
    ingestor = Ingestor(registry=MemoryPbxRegistry([SENDER]), ledger=ledger, dialects=dialects(), clock=SystemClock())
    pages = PageIngestor(
        ingestor=ingestor,
        sender=SENDER,
        dialect=dialects()["grandstream"],
        call_lookup=EmptyCallLookup(),
        host=reader.host,
    )
    progress: list[int] = []

    async def on_progress(totals: BackfillTotals) -> None:
        progress.append(totals.done_until)

    source = ListBackfill(reader, pages)
    assert (await source.get_facts(), await source.count_records(WINDOW, FACTS)) == (FACTS, None)
    try:
        return await source.backfill(WINDOW, FACTS, missed_window=NO_WINDOW, on_progress=on_progress), progress
    finally:
        await ingestor.close()


@pytest.mark.parametrize("has_api", [True, False])
async def test_list_backfill_stores_each_entry_once(
    ledger: SqliteLedger, has_api: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By login and cookie, which expires in between, and by HTTP Digest; page by page."""
    monkeypatch.setattr(call_list, "PAGE_ROWS", 1)
    stub = UcmStub(ENTRIES)
    stub.has_api, stub.cookie_uses = has_api, 2
    async with run_ucm(stub) as url:
        reader = create_reader(url)
        totals, progress = await run_backfill(reader, ledger)
        assert (totals.rows, totals.new, totals.unreadable, progress) == (2, 3, 0, [WINDOW.since] * 2 + [WINDOW.until])
        totals, _progress = await run_backfill(reader, ledger)
        assert totals.rows == 2
        assert await reader.count_first_page(WINDOW) == 1
    raw_events = await ledger.read(0, 10)
    assert [(event.sn, event.dialect, event.via) for event in raw_events] == [("UCM", "grandstream", "backfill")] * 2
    assert b'"main_cdr"' in raw_events[0].body
    assert stub.queries[0] == {"startTime": "2026-08-03T08:53:20", "endTime": "2026-08-03T11:40:00", "offset": "0"}


async def test_list_backfill_waits_for_a_busy_ucm(ledger: SqliteLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onhook.pbx.call_list.WAIT_SECONDS_FIRST", 0.001)
    stub = UcmStub(ENTRIES)
    stub.http_statuses, stub.statuses = [429, 503], [-45]
    async with run_ucm(stub) as url:
        totals, _progress = await run_backfill(create_reader(url), ledger)
    assert totals.new == 3


async def test_list_backfill_with_wrong_credentials_needs_an_operator(ledger: SqliteLedger) -> None:
    stub = UcmStub(ENTRIES)
    async with run_ucm(stub) as url:
        for has_api, status in ((True, "status -37"), (False, "HTTP status 401")):
            stub.has_api = has_api
            with pytest.raises(NotAllowed, match=status) as error:
                await run_backfill(create_reader(url, "wrong-password"), ledger)
            assert "wrong-password" not in str(error.value)
    reader = create_reader(url)
    with pytest.raises(Unavailable, match="the PBX is unreachable"):
        await reader.count_first_page(WINDOW)
    assert (reader.error_kind, reader.now() > 0) == ("unreachable", True)
    assert await ledger.last_seq() == 0
