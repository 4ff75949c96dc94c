"""How receiving fares, and alarms."""

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


def test_all_that_is_known_is_kept(appdb: AppDb) -> None:
    """Each by itself, and nothing at first."""
    kept = appdb.sync_states
    assert (
        kept.intervals(SN),
        kept.pbx_status(SN),
        kept.backfill_progress(SN),
        kept.backfill_request(SN),
        kept.backfill_result(SN),
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
    wish, outcome = BackfillRequest(since=1, until=None, requested_at=7), BackfillResult(requested_at=7, new=3)
    kept.save_intervals(SN, stretches)
    kept.save_pbx_status(SN, contact)
    kept.save_backfill_progress(SN, progress)
    kept.save_backfill_request(SN, wish)
    kept.save_backfill_result(SN, outcome)
    kept.save_silence_minutes(SN, 30)
    assert (kept.intervals(SN), kept.pbx_status(SN), kept.backfill_progress(SN)) == (stretches, contact, progress)
    assert (kept.backfill_request(SN), kept.backfill_result(SN), kept.silence_minutes(SN)) == (wish, outcome, 30)
    kept.save_backfill_progress(SN, None)
    kept.save_backfill_request(SN, None)
    kept.save_silence_minutes(SN, None)
    assert (kept.backfill_progress(SN), kept.backfill_request(SN), kept.silence_minutes(SN)) == (None, None, None)


def test_nothing_is_kept_of_a_pbx_that_was_removed(appdb: AppDb) -> None:
    """Not even when somebody still looks after it."""
    appdb.sync_states.save_intervals(SN, [])
    appdb.alarms.raise_alarm(SN, "silence", "what", hint="todo", now_us=1)
    appdb.remove_pbx("Office")
    appdb.sync_states.save_intervals(SN, [Interval(MONDAY, MONDAY, "gap", "why")])
    assert not appdb.alarms.raise_alarm(SN, "silence", "what", hint="todo", now_us=1)
    assert (appdb.sync_states.intervals(SN), appdb.alarms.all()) == ([], [])


def test_an_alarm_is_told_once_until_it_is_over(appdb: AppDb) -> None:
    """And begins anew after that."""
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


def test_alarms_are_bounded(appdb: AppDb) -> None:
    """Those that were over first make room; those that go on stay."""
    appdb.alarms.raise_alarm(SN, "clock", "goes on", hint="look", now_us=0)
    for number in range(ALARMS_MAX + 5):
        appdb.alarms.raise_alarm(SN, "silence", str(number), hint="look", now_us=number)
        appdb.alarms.end(SN, "silence", now_us=number)
    alarms = appdb.alarms.all(ALARMS_MAX + 10)
    assert len(alarms) == ALARMS_MAX
    assert (alarms[0].detail, alarms[1].detail) == ("goes on", str(ALARMS_MAX + 4))
