"""Retention of the logs of destinations: by their own days, and with the calls that they are about."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.delivery_rows import NewAttempt, NewDelivery, NewLoggedAttempt
from onhook.appdb.destination_log import LogFilter
from onhook.appdb.destination_spec import DestinationSpec
from onhook.ledger.sqlite import SqliteLedger
from onhook.lib.clock import SystemClock
from onhook.ops.log_retention import LogRetention
from onhook.ops.retention import DAY_MICROSECONDS, RetentionTotals
from onhook.store.duckdb import open_store
from tests.factories import SN
from tests.ops.test_retention import RetentionHarness, call_id


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[RetentionHarness]:
    """Yield an installation with two destinations, the first of which keeps its log for three days."""
    ledger, store = SqliteLedger(tmp_path / "ledger.db"), await open_store(tmp_path / "calls.duckdb")
    async with AppDb(tmp_path / "onhook.db") as appdb:
        await appdb.add_pbx(name="office", sn=SN, secret="0123456789", now_us=1)
        for name, log_days in (("own", 3), ("installation", -1)):
            spec = DestinationSpec(url="https://crm.example.com", log_days=log_days)
            await appdb.destinations.add(name, spec, None, after=9, now_us=1)
        yield RetentionHarness(tmp_path, ledger, appdb, store)
    await store.close()
    await ledger.close()


def notification(number: int) -> dict[str, Any]:
    return {"notification_id": f"{number}", "seq": number, "call": (SN, call_id(number)), "body": b"{}"}


async def log_attempt(harness: RetentionHarness, number: int, *, destination_id: int = 1, age: int = 0) -> None:
    attempted_at = harness.clock.microseconds() - age * DAY_MICROSECONDS
    attempt = NewAttempt(attempted_at=attempted_at, duration_ms=1, status=200, detail="HTTP 200", body=b"")
    logged_attempt = NewLoggedAttempt(**notification(number), state="accepted", attempt=attempt)
    await harness.appdb.destination_log.add(destination_id, logged_attempt)


async def logged_calls(harness: RetentionHarness, destination_id: int = 1) -> list[str]:
    page = await harness.appdb.destination_log.page(destination_id, LogFilter(), 9)
    return [attempt.call_id for attempt in page.data]


async def test_log_retention_deletes_by_the_days_of_each_destination(harness: RetentionHarness) -> None:
    """One whose row cannot be read has the days of the installation."""
    for destination_id in (1, 2):
        for number, age in ((1, 1), (2, 4)):
            await log_attempt(harness, number, destination_id=destination_id, age=age)
    assert await LogRetention(harness.appdb, SystemClock(), log_days=30).run_cycle() == 1
    assert (await logged_calls(harness), await logged_calls(harness, 2)) == ([call_id(1)], [call_id(1), call_id(2)])
    assert await LogRetention(harness.appdb, SystemClock(), log_days=2).run_cycle() == 1
    await harness.appdb._database.write("UPDATE destinations SET spec = '{'")
    assert await LogRetention(harness.appdb, SystemClock(), log_days=0).run_cycle() == 2


async def test_retention_of_calls_deletes_their_attempts_and_delivered_rows(harness: RetentionHarness) -> None:
    """The logs have the bodies of notifications."""
    for number, age in ((1, 100), (2, 0)):
        await harness.report(number, age)
        await log_attempt(harness, number)
        await harness.appdb.deliveries.add(1, NewDelivery(**notification(number), due_at=1, pending_since=1))
    await harness.appdb._database.write("UPDATE deliveries SET state = 'delivered'")
    assert await harness.forget(90) == RetentionTotals(raw_events=1, calls=1)
    assert await logged_calls(harness) == [call_id(2)]
    assert [row.call_id for row in await harness.appdb.deliveries.page(1, None, 9)] == [call_id(2)]
