"""After a back-fill the store equals the list of a simulated PBX, record by record.

The push channel loses 30 % of events and duplicates 20 %, sockets fall silent, tokens end early, log-ins fail, forms of
time are rejected, responses are slow or break off, the display format and the clock are wrong, and daylight saving time
ends.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.pbx_credentials import parse_pbx_credentials
from onhook.cdr.call_details import DETAIL_FIELDS, NUMBER_FIELDS, fold_word
from onhook.cdr.identity import extract_number
from onhook.cdr.record import Record
from onhook.cdr.record_filter import RecordFilter
from onhook.config import Address
from onhook.ledger.sqlite import SqliteLedger
from onhook.lib.errors import OnhookError
from onhook.pbx.registry import dialects
from onhook.projector.projector import Projector
from onhook.runtime.adapters.ingest import create_ingestor
from onhook.runtime.simulated_pbx import SimulatedApiConfig, open_simulated_pbx
from onhook.simulator.fault_injection import parse_faults
from onhook.simulator.office_plan import SimulationPlan
from onhook.simulator.sender import simulate
from onhook.store.contract import PAGE_MAX
from onhook.store.duckdb import DuckDbStore, open_store
from onhook.sync import pbx_session, push_channel
from onhook.sync.pbx_sync_manager import PbxSyncTasks, SyncDeps, build_api_sync_spec, open_pbx_sync

SN = "3631A2124ABC"
API_CONFIG = SimulatedApiConfig(
    address=Address("127.0.0.1", 0), client_id="us", client_secret="0123456789abcdef", is_plain=True
)
WAIT_SECONDS_MAX = 20.0
SUMMER = datetime(2026, 6, 1, 6, tzinfo=UTC)
AUTUMN = datetime(2026, 10, 23, 20, tzinfo=UTC)
"""Two days before the end of daylight saving time in Berlin."""

_BEST_BY_EVENTS = {"agent_ring_time", "enb_call_note"}


class OffsetClock:
    """Clock that starts at a given time and advances."""

    def __init__(self, current_time: datetime) -> None:
        self._current_time = current_time
        self._started_at = asyncio.get_running_loop().time()

    def now(self) -> datetime:
        return self._current_time + timedelta(seconds=asyncio.get_running_loop().time() - self._started_at)

    def microseconds(self) -> int:
        return round(self.now().timestamp() * 1_000_000)


class SyncedPbx:
    """Synchronised PBX with files of its own."""

    def __init__(
        self,
        appdb: AppDb,
        ledger: SqliteLedger,
        *,
        store: DuckDbStore,
        projector: Projector,
        sync_tasks: PbxSyncTasks,
    ) -> None:
        self.appdb = appdb
        self.ledger = ledger
        self.store = store
        self.projector = projector
        self.sync_tasks = sync_tasks

    async def wait_for_push_channel(self) -> None:
        """Return when the push channel is connected."""
        async with asyncio.timeout(WAIT_SECONDS_MAX):
            await self.sync_tasks.pbx_sync._wake.wait()

    async def wait_for_raw_events(self, count: int) -> None:
        """Return when so many events are stored."""
        async with asyncio.timeout(WAIT_SECONDS_MAX):
            while await self.ledger.last_seq() < count:  # noqa: ASYNC110 - a ledger sets no event
                await asyncio.sleep(0.01)

    async def fill(self, since: datetime) -> None:
        """Back-fill until it succeeds: the PBX fails now and then, and stored pages stay."""
        for _attempt in range(60):
            try:
                await self.sync_tasks.pbx_sync.backfill(since, compares_days=False)
            except OnhookError:
                await asyncio.sleep(0.5)
                await self.appdb.pbx_credentials.put(
                    SN, await self.appdb.pbx_credentials.require(SN, "Office")
                )  # An operator sees the error and tries again.
                continue
            return
        raise AssertionError("the back-fill did not end")

    async def records(self) -> dict[str, Record]:
        """Return all records of the store."""
        await self.projector.catch_up()
        records: dict[str, Record] = {}
        cursor = None
        while True:
            page = await self.store.records(RecordFilter(sn=SN), PAGE_MAX, cursor)
            records |= {record.record_id: record for record in page.data}
            cursor = page.next
            if cursor is None:
                return records


@asynccontextmanager
async def open_synced_pbx(folder: Path, address: str, clock: OffsetClock) -> AsyncIterator[SyncedPbx]:
    appdb, ledger = AppDb(folder / "onhook.db"), SqliteLedger(folder / "ledger.db")
    store = await open_store(folder / "calls.duckdb")
    api = parse_pbx_credentials(f"http://{address}", API_CONFIG.client_id, API_CONFIG.client_secret)
    pbx = await appdb.add_pbx(name="Office", sn=SN, secret=None, credentials=api, now_us=1)
    projector = Projector(ledger=ledger, store=store, dialects=dialects(), clock=clock)
    ingestor = create_ingestor(appdb=appdb, ledger=ledger, clock=clock)
    deps = SyncDeps(appdb=appdb, store=store, clock=clock, ingestor=ingestor)
    try:
        async with open_pbx_sync(deps, build_api_sync_spec(pbx, api)) as sync_tasks:
            yield SyncedPbx(appdb, ledger, store=store, projector=projector, sync_tasks=sync_tasks)
    finally:
        await ingestor.close()
        await store.close()
        await ledger.close()
        await appdb.close()


def is_same(record: Record, truth: dict[str, Any]) -> bool:
    """Return whether a record equals the PBX's; fields that its list does not have are ignored."""
    for name in DETAIL_FIELDS:
        value, true_value = getattr(record, name), truth[name]
        if name in _BEST_BY_EVENTS and record.via == "backfill":
            continue
        if name in NUMBER_FIELDS:
            same = (value or 0) == (true_value or 0)  # the list leaves zeros out (yeastar-p-series.md 2.9)
        elif name in ("call_from", "call_to"):
            same = extract_number(value) == extract_number(true_value)
        else:
            same = fold_word(value) == fold_word(true_value)
        if not same:
            return False
    return True


def read_truth(file: Path) -> dict[str, dict[str, Any]]:
    return {entry["record_id"]: entry for entry in map(json.loads, file.read_text().splitlines())}


FAULTS = {
    "none": "",
    "losses": "lost=0.3,duplicated=0.2,reordered=10",
    "silent sockets": "lost=0.3,silent_socket=1",
    "expiring tokens": "lost=0.3,expired_token=2",
    "failing log-ins": "lost=0.3,failing_login=0.3",
    "rejected seconds": "lost=0.3,refused_seconds=1",
    "sometimes rejected seconds": "lost=0.3,refused_seconds=0.3",
    "rejected time forms": "lost=0.3,refused_seconds=1,refused_display=1",
    "zero rows": "lost=0.3,zero_rows=1",
    "changing display format": "lost=0.3,changing_display=5",
    "slow responses": "lost=0.3,slow_response=1",
    "truncated responses": "lost=0.3,garbage_response=0.2",
    "clock ahead": "lost=0.3,wrong_clock=7200",
    "clock behind": "lost=0.3,wrong_clock=-7200",
}


@pytest.mark.slow
@pytest.mark.parametrize("start", [SUMMER, AUTUMN], ids=["summer", "autumn"])
@pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS)
async def test_backfill_store_equals_the_list_of_the_pbx(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faults: str, start: datetime
) -> None:
    """Whatever failed on the way; no record more."""
    monkeypatch.setattr(pbx_session, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(push_channel, "RETRY_SECONDS_FIRST", 0.05)
    file = tmp_path / "truth.jsonl"
    plan = SimulationPlan(sn=SN, rate=None, count=300, start=start, faults=parse_faults(faults), truth_path=file)
    clock = OffsetClock(start + timedelta(days=4))
    async with (
        open_simulated_pbx(plan, API_CONFIG, clock) as simulated_pbx,
        open_synced_pbx(tmp_path, str(simulated_pbx.address), clock) as harness,
    ):
        push = asyncio.create_task(harness.sync_tasks.push_receiver.run())
        await harness.wait_for_push_channel()
        await simulate(plan, clock, observer=simulated_pbx.observer)
        await harness.wait_for_raw_events(1)
        push.cancel()
        await asyncio.wait({push})
        await harness.fill(start - timedelta(days=1))
        truth, records = read_truth(file), await harness.records()
    assert records.keys() == truth.keys()
    wrong = [value for value in truth.values() if not is_same(records[value["record_id"]], value)]
    assert not wrong, msgspec.json.encode(records[wrong[0]["record_id"]])


async def test_backfill_and_push_channel_make_one_record(tmp_path: Path) -> None:
    """Half of the calls are pushed, some of them are received, all are fetched, and fetched again."""
    file = tmp_path / "truth.jsonl"
    faults = parse_faults("lost=0.5,duplicated=0.2")
    plan = SimulationPlan(sn=SN, rate=None, count=80, start=SUMMER, faults=faults, truth_path=file)
    clock = OffsetClock(SUMMER + timedelta(days=2))
    async with (
        open_simulated_pbx(plan, API_CONFIG, clock) as simulated_pbx,
        open_synced_pbx(tmp_path, str(simulated_pbx.address), clock) as harness,
    ):
        push = asyncio.create_task(harness.sync_tasks.push_receiver.run())
        await harness.wait_for_push_channel()
        await simulate(plan, clock, observer=simulated_pbx.observer)
        await harness.wait_for_raw_events(20)
        push.cancel()
        await asyncio.wait({push})
        pushed = await harness.records()
        await harness.fill(SUMMER - timedelta(days=1))
        records = await harness.records()
        await harness.fill(SUMMER - timedelta(days=1))
        repeated_records = await harness.records()
        await harness.sync_tasks.session.revoke_tokens()
    assert 0 < len(pushed) < 80
    assert records.keys() == read_truth(file).keys()
    assert repeated_records == records
    assert all(records[name] == record for name, record in pushed.items()), (
        "a row does not change what was received live"
    )
