"""A real erasure and a real retention, from the ledger to a table of MariaDB."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.destination_spec import DestinationSpec
from onhook.cdr.record_filter import RecordFilter
from onhook.config import Config
from onhook.delivery import deletion_follower
from onhook.delivery.destinations.opening import destination_opener
from onhook.delivery.dispatcher import DeliveryDispatcher
from onhook.delivery.record_reader import RecordReader
from onhook.delivery.worker import DeliveryDeps
from onhook.lib.clock import SystemClock
from onhook.ops.retention import Retention
from onhook.pbx.registry import dialects
from onhook.projector.projector import Projector
from onhook.runtime.data_files import OpenDataFiles
from onhook.store.position_notifier import PositionNotifier
from tests.delivery.destinations.mysql_server import MysqlServer, run_mysql
from tests.delivery.harness import SECRET
from tests.ops.erasure_world import CALLS, EVENTS, NUMBER, append, event, open_directory
from tests.pbx.asterisk.servers import missing_mariadb
from tests.waiting import polls, wait_until

pytestmark = pytest.mark.skipif(bool(missing_mariadb()), reason=missing_mariadb())

WITH_NUMBER = (
    "SELECT count(*) FROM records WHERE concat_ws(' ', call_from, call_to, recording, extra) LIKE '%30901820%'"
)


class LaterClock(SystemClock):
    """The time in ten days."""

    def microseconds(self) -> int:
        return super().microseconds() + 10 * 86_400 * 1_000_000


@asynccontextmanager
async def run_dispatcher(files: OpenDataFiles, notifier: PositionNotifier) -> AsyncIterator[None]:
    """Deliver as a hub does."""
    dispatcher = DeliveryDispatcher(
        deps=DeliveryDeps(
            record_reader=RecordReader(files.store, notifier),
            appdb=files.appdb,
            clock=SystemClock(),
            read_ledger_end=files.ledger.last_seq,
            read_control_entries=files.ledger.control_entries,
        ),
        open_destination=destination_opener(Config()),
        on_error=lambda *_error: None,
        on_issue=lambda *_issue: None,
    )
    task = asyncio.create_task(dispatcher.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def add_destination(appdb: AppDb, server: MysqlServer) -> None:
    url = f"mysql://onhook@127.0.0.1:{server.port}/calls"
    spec = DestinationSpec(kind="mysql", url=url, allow_private=True, fields={"tls": "off"})
    await appdb.destinations.add("BI", spec, SECRET, after=0, now_us=1)


def count(server: MysqlServer, query: str) -> int:
    if ("records_by_day",) not in server.query("SHOW TABLES"):
        return 0
    return int(server.query(query)[0][0])


async def test_sql_erasure_and_retention_reach_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An erased number is in no column; calls that retention deletes have no row."""
    monkeypatch.setattr(deletion_follower, "CHECK_SECONDS", 0.05)
    config = Config(data=tmp_path / "data", zone="Europe/Berlin", keep_days=5)
    notifier = PositionNotifier()
    with run_mysql() as server:
        async with open_directory(config) as files:
            await append(files, *EVENTS)
            await add_destination(files.appdb, server)
            notifier.announce(await files.store.position())
            async with run_dispatcher(files, notifier):
                await wait_until(lambda: count(server, "SELECT count(*) FROM records") == len(EVENTS))
                assert count(server, WITH_NUMBER) == 3
                await files.eraser.erase(NUMBER)
                notifier.announce(await files.store.position())
                await wait_until(lambda: count(server, WITH_NUMBER) == 0)
                assert count(server, "SELECT count(DISTINCT call_id) FROM records") == CALLS
                clock = LaterClock()
                retention = Retention(
                    config=config,
                    appdb=files.appdb,
                    ledger=files.ledger,
                    store=files.store,
                    projector=Projector(ledger=files.ledger, store=files.store, dialects=dialects(), clock=clock),
                    clock=clock,
                )
                await wait_until((await retention.run_cycle()).calls > 0 async for _ in polls())
                await append(files, event(9, "1002"))
                notifier.announce(await files.store.position())
                left_calls = {call.call_id for call in (await files.store.calls(RecordFilter(), 99)).data}
                assert 0 < len(left_calls) < CALLS
                query = "SELECT DISTINCT call_id FROM records"
                await wait_until(lambda: {call_id for (call_id,) in server.query(query)} == left_calls)
