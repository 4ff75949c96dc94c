"""PBXs synchronised concurrently."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web

from onhook.appdb.appdb import AppDb
from onhook.appdb.asterisks import AsteriskPbx
from onhook.appdb.cdr_sources import parse_cdr_source
from onhook.appdb.pbx_credentials import parse_pbx_credentials
from onhook.cdr.sync_types import BackfillRequest
from onhook.ledger.sqlite import SqliteLedger
from onhook.lib.clock import SystemClock
from onhook.lib.errors import Unavailable
from onhook.lib.task_reconciler import TaskReconciler
from onhook.runtime.adapters.ingest import create_ingestor
from onhook.store.duckdb import open_store
from onhook.sync.appdb_state import AppDbTokenStore
from onhook.sync.pbx_sync import PbxSync
from onhook.sync.pbx_sync_manager import PbxSyncManager, SyncDeps, SyncSpec
from tests.pbx.asterisk.test_files import rows as cdr_rows
from tests.receiver.harness import make_raw_event
from tests.sync.pbx_responder import CLIENT_ID, CLIENT_SECRET, PbxResponder, open_pbx_responder
from tests.sync.ucm_stub import PASSWORD, USER, UcmStub, run_ucm
from tests.waiting import polls, wait_until

OFFICE, BRANCH = "3631A2124ABC", "3651XXXXXXXX"


class ManagerHarness:
    """Dependencies of the syncs."""

    def __init__(self, appdb: AppDb, ledger: SqliteLedger) -> None:
        self.appdb = appdb
        self.ledger = ledger

    async def add(self, name: str, sn: str, responder: PbxResponder) -> None:
        api = parse_pbx_credentials(f"http://127.0.0.1:{responder.port}", CLIENT_ID, CLIENT_SECRET)
        await self.appdb.add_pbx(name=name, sn=sn, secret=None, credentials=api, now_us=SystemClock().microseconds())

    async def add_lab(self, folder: Path) -> None:
        """Add an Asterisk with the serial number `lab` and the CDR source `custom.json` in a folder."""
        await self.appdb.add_pbx(name="Lab", sn="lab", secret="unknown-knows-this", dialect="asterisk", now_us=1)
        await self.appdb.asterisks.add(AsteriskPbx(sn="lab", host="127.0.0.1", port=1, user="onhook"), "correct horse")
        await self.appdb.cdr_sources.put("lab", parse_cdr_source(str(folder / "custom.json")))

    async def count_events(self, sn: str) -> int:
        return sum(event.sn == sn for event in await self.ledger.read(0, 1000))


@asynccontextmanager
async def open_manager_harness(folder: Path) -> AsyncIterator[ManagerHarness]:
    appdb, ledger = AppDb(folder / "onhook.db"), SqliteLedger(folder / "ledger.db")
    store, clock = await open_store(folder / "calls.duckdb"), SystemClock()
    ingestor = create_ingestor(appdb=appdb, ledger=ledger, clock=clock)
    manager = PbxSyncManager(SyncDeps(appdb=appdb, store=store, clock=clock, ingestor=ingestor))
    manager_task = asyncio.create_task(manager.run())
    try:
        yield ManagerHarness(appdb, ledger)
    finally:
        manager_task.cancel()
        await asyncio.wait({manager_task})
        await ingestor.close()
        await store.close()
        await ledger.close()
        await appdb.close()


async def respond_with_invalid_data(_: web.Request) -> web.StreamResponse | None:
    return web.Response(body=b"<html>" * 1000)


async def respond_slowly(_: web.Request) -> web.StreamResponse | None:
    await asyncio.sleep(5)
    return web.Response(status=500)


async def test_sync_manager_failing_pbx_does_not_affect_another(tmp_path: Path) -> None:
    """One answers slowly, one with invalid data; events of the third are stored all the while."""
    async with (
        open_pbx_responder() as responder,
        open_pbx_responder() as invalid_pbx,
        open_pbx_responder() as slow_pbx,
        open_manager_harness(tmp_path) as harness,
    ):
        invalid_pbx.override_response, slow_pbx.override_response = respond_with_invalid_data, respond_slowly
        await harness.add("Invalid", "S-INVALID", invalid_pbx)
        await harness.add("Slow", "S-SLOW", slow_pbx)
        await harness.add("Branch", BRANCH, responder)
        await wait_until(
            lambda: bool(responder.subscribed) and bool(invalid_pbx.request_names) and bool(slow_pbx.request_names)
        )
        for number in range(50):
            await responder.push(make_raw_event(number))
        async with asyncio.timeout(3):
            while await harness.count_events(BRANCH) < 50:  # noqa: ASYNC110 - a ledger sets no event
                await asyncio.sleep(0.01)
        assert invalid_pbx.tokens == slow_pbx.tokens == set()


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (Unavailable("the database is busy", hint="try again"), "PBX sync is interrupted"),
        (RuntimeError("a fault"), "PBX sync failed unexpectedly"),
    ],
)
async def test_sync_manager_logs_a_trace_of_internal_errors_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception, message: str
) -> None:
    async def fail(_pbx_sync: PbxSync) -> None:
        raise error

    monkeypatch.setattr(PbxSync, "run", fail)
    async with open_pbx_responder() as responder, open_manager_harness(tmp_path) as harness:
        await harness.add("Branch", BRANCH, responder)
        await wait_until(lambda: any(record.message == message for record in caplog.records))
    records = [record for record in caplog.records if record.name == "pbx_sync" and record.levelname == "ERROR"]
    assert {record.message for record in records} == {message}
    assert [bool(record.exc_info) for record in records] == [isinstance(error, RuntimeError)] * len(records)


async def test_sync_manager_settings_have_effect_at_once(tmp_path: Path) -> None:
    """A removed PBX is left, its token revoked; a changed address is used."""
    async with open_pbx_responder() as first, open_pbx_responder() as second, open_manager_harness(tmp_path) as harness:
        await harness.add("Branch", BRANCH, first)
        await wait_until(lambda: bool(first.subscribed))
        await harness.appdb.pbx_credentials.put(
            BRANCH, parse_pbx_credentials(f"http://127.0.0.1:{second.port}", CLIENT_ID, CLIENT_SECRET)
        )
        await wait_until(lambda: bool(second.subscribed) and not first.subscribed and not first.tokens)
        await harness.appdb.remove_pbx("Branch")
        await wait_until(lambda: not second.subscribed and not second.tokens)


async def test_sync_manager_name_change_restarts_no_channel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change of the address does. The new settings have been compared when a PBX added later is served."""
    reconciled_specs: list[Mapping[str, SyncSpec]] = []
    reconcile = TaskReconciler.reconcile

    async def record_and_reconcile(reconciler: TaskReconciler[str, SyncSpec], specs: Mapping[str, SyncSpec]) -> None:
        await reconcile(reconciler, specs)
        reconciled_specs.append(specs)

    monkeypatch.setattr(TaskReconciler, "reconcile", record_and_reconcile)
    async with open_pbx_responder() as responder, open_manager_harness(tmp_path) as harness:
        await harness.add("Branch", BRANCH, responder)
        await wait_until(lambda: bool(responder.subscribed))
        await harness.appdb.change_pbx("Branch", {"name": "Harbour"})
        await harness.appdb.alarms.raise_alarm(BRANCH, "silence", "what", hint="todo", now_us=1)
        await harness.add_lab(tmp_path)
        await wait_until(lambda: "lab" in reconciled_specs[-1])
        # A sync that is stopped revokes its tokens before the others are served.
        requests = [name for name in ("get_token", "subscribe", "del_token") if name in responder.request_names]
        assert (requests, responder.login_count, len(responder.subscribed)) == (["get_token", "subscribe"], 1, 1)


async def test_sync_manager_cdr_source_is_read_automatically(tmp_path: Path) -> None:
    """As soon as it is set, and again on request; no call twice."""
    started_at = SystemClock().microseconds() // 1_000_000 - 3600
    row = cdr_rows()[0] | {"linkedid": f"{started_at}.1", "uniqueid": f"{started_at}.1"}
    (tmp_path / "custom.json").write_text(json.dumps(row) + "\n")
    async with open_manager_harness(tmp_path) as harness:
        await harness.add_lab(tmp_path)
        await wait_until(await harness.appdb.sync_states.pbx_status("lab") is not None async for _ in polls())
        async with asyncio.timeout(5):
            while await harness.count_events("lab") < 1:  # noqa: ASYNC110 - a ledger sets no event
                await asyncio.sleep(0.01)
        await harness.appdb.sync_states.save_backfill_request(
            "lab", BackfillRequest(since=started_at - 7200, until=None, requested_at=7)
        )
        await wait_until(await harness.appdb.sync_states.backfill_result("lab") is not None async for _ in polls())
        result = await harness.appdb.sync_states.backfill_result("lab")
        assert result is not None
        assert (result.rows, result.new, result.same, result.error) == (1, 0, 1, "")
        assert await harness.count_events("lab") == 1


async def test_sync_manager_list_of_calls_is_read_automatically(tmp_path: Path) -> None:
    """Of a UCM, whose API is a stub; its zone is a setting of the PBX."""
    start = datetime.now(UTC) - timedelta(hours=1)
    row = {"AcctId": "1", "src": "1001", "dst": "1002", "start": f"{start:%Y-%m-%d %H:%M:%S}", "duration": "5"}
    stub = UcmStub([row])
    async with run_ucm(stub) as url, open_manager_harness(tmp_path) as harness:
        api = parse_pbx_credentials(url, USER, PASSWORD)
        await harness.appdb.add_pbx(
            name="Shop", sn="UCM", secret=None, dialect="grandstream", zone="UTC", credentials=api, now_us=1
        )
        async with asyncio.timeout(10):
            while await harness.count_events("UCM") < 1:  # noqa: ASYNC110 - a ledger sets no event
                await asyncio.sleep(0.01)
    assert stub.login_count == 1


async def test_sync_manager_stop_ends_while_tokens_cannot_be_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a stop they are revoked; the error replaces the cancellation."""

    async def save_tokens(_self: AppDbTokenStore, _text: str) -> None:
        raise Unavailable("the disk is full")

    async with open_pbx_responder() as responder, asyncio.timeout(10), open_manager_harness(tmp_path) as harness:
        await harness.add("Branch", BRANCH, responder)
        await wait_until(lambda: bool(responder.subscribed))
        monkeypatch.setattr(AppDbTokenStore, "save_tokens", save_tokens)
