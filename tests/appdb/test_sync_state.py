"""Synchronisation state and alarms."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from onhook.appdb.alarms import ALARMS_MAX
from onhook.appdb.appdb import AppDb
from onhook.cdr.coverage import Interval
from onhook.cdr.sync_types import BackfillProgress, BackfillRequest, BackfillResult, PbxStatus

SN = "3631A2124ABC"
MONDAY = datetime(2026, 4, 27, tzinfo=UTC)


@pytest.fixture
def appdb(tmp_path: Path) -> Iterator[AppDb]:
    appdb = AppDb(tmp_path / "onhook.db")
    appdb.add_pbx(name="Office", sn=SN, secret="first-secret", now_us=1)
    yield appdb
    appdb.close()


def test_sync_state_is_stored(appdb: AppDb) -> None:
    """Each value by itself, and nothing at first."""
    sync_states = appdb.sync_states
    assert (
        sync_states.intervals(SN),
        sync_states.pbx_status(SN),
        sync_states.backfill_progress(SN),
        sync_states.backfill_request(SN),
        sync_states.backfill_result(SN),
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
    sync_states.save_intervals(SN, stretches)
    sync_states.save_pbx_status(SN, contact)
    sync_states.save_backfill_progress(SN, progress)
    sync_states.save_backfill_request(SN, request)
    sync_states.save_backfill_result(SN, outcome)
    sync_states.save_silence_minutes(SN, 30)
    assert (sync_states.intervals(SN), sync_states.pbx_status(SN), sync_states.backfill_progress(SN)) == (
        stretches,
        contact,
        progress,
    )
    assert (sync_states.backfill_request(SN), sync_states.backfill_result(SN), sync_states.silence_minutes(SN)) == (
        request,
        outcome,
        30,
    )
    sync_states.save_backfill_progress(SN, None)
    sync_states.save_backfill_request(SN, None)
    sync_states.save_silence_minutes(SN, None)
    assert (sync_states.backfill_progress(SN), sync_states.backfill_request(SN), sync_states.silence_minutes(SN)) == (
        None,
        None,
        None,
    )


def test_sync_state_of_a_removed_pbx_is_not_stored(appdb: AppDb) -> None:
    """Not even when a task still runs for it."""
    appdb.sync_states.save_intervals(SN, [])
    appdb.alarms.raise_alarm(SN, "silence", "what", hint="todo", now_us=1)
    appdb.remove_pbx("Office")
    appdb.sync_states.save_intervals(SN, [Interval(MONDAY, MONDAY, "gap", "why")])
    assert not appdb.alarms.raise_alarm(SN, "silence", "what", hint="todo", now_us=1)
    assert (appdb.sync_states.intervals(SN), appdb.alarms.all()) == ([], [])


def test_alarm_is_new_once_until_it_ends(appdb: AppDb) -> None:
    """A later one is new again."""
    assert appdb.alarms.raise_alarm(SN, "silence", "since 12:00", hint="look", now_us=1_000_000)
    assert not appdb.alarms.raise_alarm(SN, "silence", "since 12:30", hint="look", now_us=2_000_000)
    (alarm,) = appdb.alarms.open_alarms()
    assert (alarm.detail, alarm.occurrences, alarm.began_at.timestamp(), alarm.last_seen_at.timestamp()) == (
        "since 12:30",
        2,
        1,
        2,
    )
    assert appdb.alarms.end(SN, "silence", now_us=3_000_000)
    assert not appdb.alarms.end(SN, "silence", now_us=4_000_000)
    assert appdb.alarms.open_alarms() == []
    assert appdb.alarms.raise_alarm(SN, "silence", "again", hint="look", now_us=5_000_000)
    assert [alarm.detail for alarm in appdb.alarms.all()] == ["again", "since 12:30"]


def test_alarms_over_the_limit_delete_the_oldest_ended(appdb: AppDb) -> None:
    """Open ones stay."""
    appdb.alarms.raise_alarm(SN, "clock", "goes on", hint="look", now_us=0)
    for number in range(ALARMS_MAX + 5):
        appdb.alarms.raise_alarm(SN, "silence", str(number), hint="look", now_us=number)
        appdb.alarms.end(SN, "silence", now_us=number)
    alarms = appdb.alarms.all(ALARMS_MAX + 10)
    assert len(alarms) == ALARMS_MAX
    assert (alarms[0].detail, alarms[1].detail) == ("goes on", str(ALARMS_MAX + 4))
