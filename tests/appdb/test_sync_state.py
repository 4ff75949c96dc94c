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
def settings(tmp_path: Path) -> Iterator[AppDb]:
    settings = AppDb(tmp_path / "onhook.db")
    settings.add_pbx(name="Office", sn=SN, secret="first-secret", at=1)
    yield settings
    settings.close()


def test_all_that_is_known_is_kept(settings: AppDb) -> None:
    """Each by itself, and nothing at first."""
    kept = settings.receiving
    assert (kept.stretches(SN), kept.contact(SN), kept.progress(SN), kept.wish(SN), kept.outcome(SN)) == (
        [],
        None,
        None,
        None,
        None,
    )
    stretches = [Interval(MONDAY, MONDAY, "complete", "why")]
    contact = PbxStatus(at=1, skew_seconds=-3, offset_seconds=7200)
    progress = BackfillProgress(since=1, until=9, done_until=4, asked_at=5, from_us=1)
    wish, outcome = BackfillRequest(since=1, until=None, asked_at=7), BackfillResult(asked_at=7, new=3)
    kept.keep_stretches(SN, stretches)
    kept.keep_contact(SN, contact)
    kept.keep_progress(SN, progress)
    kept.keep_wish(SN, wish)
    kept.keep_outcome(SN, outcome)
    kept.keep_silence_minutes(SN, 30)
    assert (kept.stretches(SN), kept.contact(SN), kept.progress(SN)) == (stretches, contact, progress)
    assert (kept.wish(SN), kept.outcome(SN), kept.silence_minutes(SN)) == (wish, outcome, 30)
    kept.keep_progress(SN, None)
    kept.keep_wish(SN, None)
    kept.keep_silence_minutes(SN, None)
    assert (kept.progress(SN), kept.wish(SN), kept.silence_minutes(SN)) == (None, None, None)


def test_nothing_is_kept_of_a_pbx_that_was_removed(settings: AppDb) -> None:
    """Not even when somebody still looks after it."""
    settings.receiving.keep_stretches(SN, [])
    settings.alarms.sound(SN, "silence", "what", todo="todo", at=1)
    settings.remove_pbx("Office")
    settings.receiving.keep_stretches(SN, [Interval(MONDAY, MONDAY, "gap", "why")])
    assert not settings.alarms.sound(SN, "silence", "what", todo="todo", at=1)
    assert (settings.receiving.stretches(SN), settings.alarms.all()) == ([], [])


def test_an_alarm_is_told_once_until_it_is_over(settings: AppDb) -> None:
    """And begins anew after that."""
    assert settings.alarms.sound(SN, "silence", "since 12:00", todo="look", at=1_000_000)
    assert not settings.alarms.sound(SN, "silence", "since 12:30", todo="look", at=2_000_000)
    (alarm,) = settings.alarms.going_on()
    assert (alarm.what, alarm.times, alarm.began_at.timestamp(), alarm.seen_at.timestamp()) == ("since 12:30", 2, 1, 2)
    assert settings.alarms.end(SN, "silence", at=3_000_000)
    assert not settings.alarms.end(SN, "silence", at=4_000_000)
    assert settings.alarms.going_on() == []
    assert settings.alarms.sound(SN, "silence", "again", todo="look", at=5_000_000)
    assert [one.what for one in settings.alarms.all()] == ["again", "since 12:30"]


def test_alarms_are_bounded(settings: AppDb) -> None:
    """Those that were over first make room; those that go on stay."""
    settings.alarms.sound(SN, "clock", "goes on", todo="look", at=0)
    for number in range(ALARMS_MAX + 5):
        settings.alarms.sound(SN, "silence", str(number), todo="look", at=number)
        settings.alarms.end(SN, "silence", at=number)
    alarms = settings.alarms.all(ALARMS_MAX + 10)
    assert len(alarms) == ALARMS_MAX
    assert (alarms[0].what, alarms[1].what) == ("goes on", str(ALARMS_MAX + 4))
