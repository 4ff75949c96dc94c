"""Synchronisation state and alarms."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from onhook.appdb import alarms
from onhook.appdb.appdb import AppDb
from onhook.cdr.coverage import Interval
from onhook.cdr.sync_types import BackfillProgress, BackfillRequest, BackfillResult, PbxStatus

pytestmark = pytest.mark.usefixtures("each_engine")

SN = "3631A2124ABC"
MONDAY = datetime(2026, 4, 27, tzinfo=UTC)


@pytest.fixture
async def appdb(tmp_path: Path) -> AsyncIterator[AppDb]:
    appdb = AppDb(tmp_path / "onhook.db")
    await appdb.add_pbx(name="Office", sn=SN, secret="first-secret", now_us=1)
    yield appdb
    await appdb.close()


async def test_sync_state_is_stored(appdb: AppDb) -> None:
    """Each value by itself, and nothing at first."""
    sync_states = appdb.sync_states
    assert (
        await sync_states.intervals(SN),
        await sync_states.pbx_status(SN),
        await sync_states.backfill_progress(SN),
        await sync_states.backfill_request(SN),
        await sync_states.backfill_result(SN),
    ) == (
        [],
        None,
        None,
        None,
        None,
    )
    stretches = [Interval(MONDAY, MONDAY, "complete", "why")]
    contact = PbxStatus(checked_at=1, skew_seconds=-3, offset_seconds=7200)
    progress = BackfillProgress(since=1, until=9, done_until=4, started_at=5, requested_since=1)
    request, outcome = BackfillRequest(since=1, until=None, requested_at=7), BackfillResult(requested_at=7, new=3)
    await sync_states.save_intervals(SN, stretches)
    await sync_states.save_pbx_status(SN, contact)
    await sync_states.save_backfill_progress(SN, progress)
    await sync_states.save_backfill_request(SN, request)
    await sync_states.save_backfill_result(SN, outcome)
    await sync_states.save_silence_minutes(SN, 30)
    assert (
        await sync_states.intervals(SN),
        await sync_states.pbx_status(SN),
        await sync_states.backfill_progress(SN),
    ) == (
        stretches,
        contact,
        progress,
    )
    assert (
        await sync_states.backfill_request(SN),
        await sync_states.backfill_result(SN),
        await sync_states.silence_minutes(SN),
    ) == (
        request,
        outcome,
        30,
    )
    await sync_states.save_backfill_progress(SN, None)
    await sync_states.save_backfill_request(SN, None)
    await sync_states.save_silence_minutes(SN, None)
    assert (
        await sync_states.backfill_progress(SN),
        await sync_states.backfill_request(SN),
        await sync_states.silence_minutes(SN),
    ) == (
        None,
        None,
        None,
    )


async def test_sync_state_of_a_removed_pbx_is_not_stored(appdb: AppDb) -> None:
    """Not even when a task still runs for it."""
    await appdb.sync_states.save_intervals(SN, [])
    await appdb.alarms.raise_alarm(SN, "silence", "what", hint="todo", now_us=1)
    await appdb.remove_pbx("Office")
    await appdb.sync_states.save_intervals(SN, [Interval(MONDAY, MONDAY, "gap", "why")])
    assert not await appdb.alarms.raise_alarm(SN, "silence", "what", hint="todo", now_us=1)
    assert (await appdb.sync_states.intervals(SN), await appdb.alarms.all()) == ([], [])


async def test_alarm_is_new_once_until_it_ends(appdb: AppDb) -> None:
    """A later one is new again."""
    assert await appdb.alarms.raise_alarm(SN, "silence", "since 12:00", hint="look", now_us=1_000_000)
    assert not await appdb.alarms.raise_alarm(SN, "silence", "since 12:30", hint="look", now_us=2_000_000)
    (alarm,) = await appdb.alarms.open_alarms()
    assert (alarm.detail, alarm.occurrences, alarm.began_at.timestamp(), alarm.last_seen_at.timestamp()) == (
        "since 12:30",
        2,
        1,
        2,
    )
    assert await appdb.alarms.end(SN, "silence", now_us=3_000_000)
    assert not await appdb.alarms.end(SN, "silence", now_us=4_000_000)
    assert await appdb.alarms.open_alarms() == []
    assert await appdb.alarms.raise_alarm(SN, "silence", "again", hint="look", now_us=5_000_000)
    assert [alarm.detail for alarm in await appdb.alarms.all()] == ["again", "since 12:30"]


async def test_alarms_over_the_limit_delete_the_oldest_ended(appdb: AppDb, monkeypatch: pytest.MonkeyPatch) -> None:
    """Open ones stay."""
    limit = 20
    monkeypatch.setattr(alarms, "ALARMS_MAX", limit)
    await appdb.alarms.raise_alarm(SN, "clock", "goes on", hint="look", now_us=0)
    for number in range(limit + 5):
        await appdb.alarms.raise_alarm(SN, "silence", str(number), hint="look", now_us=number)
        await appdb.alarms.end(SN, "silence", now_us=number)
    stored = await appdb.alarms.all(limit + 10)
    assert len(stored) == limit
    assert (stored[0].detail, stored[1].detail) == ("goes on", str(limit + 4))
