"""How an Asterisk was heard is coverage, and what a person should know of it an alarm, as of any PBX."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.asterisks import AsteriskPbx
from onhook.appdb.cdr_sources import CdrSource
from onhook.cdr.coverage import Interval, add_interval, invalidate_connected
from onhook.sync.asterisk_sync import COVERAGE_SAVE_INTERVAL, GAP_AGE_MAX, GAP_FILL_GRACE, AsteriskConnectionState
from onhook.sync.pbx_sync import UNREACHABLE_SECONDS

SN = "pbx.example.org"
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


class Stopped:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.at = NOON

    def now(self) -> datetime:
        return self.at

    def microseconds(self) -> int:
        return round(self.at.timestamp() * 1_000_000)


class Hearing:
    """A book whose PBX a test connects and cuts; `heard` are those that were said to be heard again."""

    def __init__(self, appdb: AppDb) -> None:
        self.appdb = appdb
        self.clock = Stopped()
        self.heard: list[str] = []
        self.book = AsteriskConnectionState(appdb, self.clock, self.heard.append)

    def after(self, passed: timedelta) -> int:
        self.clock.at += passed
        return self.clock.microseconds()

    def open(self, passed: timedelta = MINUTE) -> None:
        self.book.record_opened(SN, self.after(passed))

    def cover(self, passed: timedelta) -> None:
        self.book.record_covered(SN, self.after(passed))

    def close(self, why: str, passed: timedelta = MINUTE, *, is_refused: bool = False) -> None:
        self.after(passed)
        self.book.record_closed(SN, why, is_refused=is_refused)

    def states(self) -> list[tuple[str, str, str]]:
        """Begin and end of each stretch as minutes from noon, and what it is."""
        return [
            (f"{_minutes(stretch.since)}-{_minutes(stretch.until)}", stretch.state, stretch.reason)
            for stretch in self.stretches()
        ]

    def stretches(self) -> list[Interval]:
        return self.appdb.sync_states.intervals(SN)

    def alarms(self) -> dict[str, str]:
        return {open_alarm.kind: open_alarm.detail for open_alarm in self.appdb.alarms.open_alarms()}


def _minutes(at: datetime) -> int:
    return round((at - NOON) / MINUTE)


@pytest.fixture
def hearing(tmp_path: Path) -> Iterator[Hearing]:
    appdb = AppDb(tmp_path / "onhook.db")
    appdb.add_pbx(name="Office", sn=SN, secret="nobody-knows-this", dialect="asterisk", now_us=1)
    appdb.asterisks.add(AsteriskPbx(sn=SN, host="pbx.example.org", port=5038, user="onhook"), "correct horse")
    yield Hearing(appdb)
    appdb.close()


def test_a_cut_is_a_gap_between_two_times_that_were_heard(hearing: Hearing) -> None:
    """From the moment up to which all was kept; the first connection makes none; why is said."""
    hearing.open()
    hearing.cover(9 * MINUTE)
    hearing.close("the PBX closed the connection")
    hearing.open(4 * MINUTE)
    hearing.cover(15 * MINUTE)
    assert hearing.states() == [
        ("1-10", "connected", "the connection was alive"),
        ("10-15", "gap", "it was not heard: the PBX closed the connection"),
        ("15-30", "connected", "the connection was alive"),
    ]
    assert hearing.heard == [SN, SN]


def test_a_crash_of_ours_is_a_gap_too(hearing: Hearing) -> None:
    """What had been heard until then is still said to have been."""
    hearing.open()
    hearing.cover(9 * MINUTE)
    hearing.cover(MINUTE)
    after_crash = Hearing(hearing.appdb)
    after_crash.clock.at = hearing.clock.at
    after_crash.open(9 * MINUTE)
    assert after_crash.states() == [
        ("1-11", "connected", "the connection was alive"),
        ("11-20", "gap", "it was not heard: nobody listened"),
    ]


def test_what_was_read_meanwhile_is_no_gap(hearing: Hearing) -> None:
    """The source may have been read while the line was dead: that counts more."""
    hearing.open()
    hearing.cover(9 * MINUTE)
    hearing.close("no connection")
    read = Interval(NOON, NOON + 12 * MINUTE, "complete", "compared")
    hearing.appdb.sync_states.save_intervals(SN, add_interval(hearing.stretches(), read))
    hearing.open(9 * MINUTE)
    assert hearing.states() == [("0-12", "complete", "compared"), ("12-20", "gap", "it was not heard: no connection")]


def test_a_line_that_comes_and_goes_makes_one_gap(hearing: Hearing) -> None:
    """Or what is older would be pushed out of the coverage."""
    hearing.open()
    for _ in range(20):
        hearing.cover(MINUTE / 6)
        hearing.close("reset by peer", MINUTE / 6)
        hearing.open(MINUTE / 6)
    assert [state[1] for state in hearing.states()] == ["connected", "gap"]


def test_heard_is_written_now_and_then(hearing: Hearing) -> None:
    """Each time is a sync of the disk."""
    hearing.open()
    step = COVERAGE_SAVE_INTERVAL / 4
    hearing.cover(step)
    first = hearing.states()
    hearing.cover(step)
    assert hearing.states() == first
    hearing.cover(4 * step)
    assert hearing.states() != first


def test_what_was_found_out_meanwhile_stays(hearing: Hearing) -> None:
    """Where the connection was alive and lost calls, no later look calls that time heard again."""
    hearing.open()
    hearing.cover(9 * MINUTE)
    hearing.appdb.sync_states.save_intervals(SN, invalidate_connected(hearing.stretches(), "it lost calls"))
    hearing.cover(10 * MINUTE)
    assert [state[:2] for state in hearing.states()] == [("1-10", "gap"), ("10-20", "connected")]


def test_a_gap_that_nothing_fills_alarms(hearing: Hearing) -> None:
    """At once where nobody said where CDRs are kept, with the command that says it; until it is filled."""
    hearing.open()
    hearing.close("no connection")
    hearing.open()
    assert "calls may be missing from 2026-11-24 12:01:00" in hearing.alarms()["gap"]
    (alarm,) = hearing.appdb.alarms.open_alarms()
    assert "--cdr" in alarm.hint
    filled = Interval(NOON, NOON + 4 * MINUTE, "complete", "compared")
    hearing.appdb.sync_states.save_intervals(SN, add_interval(hearing.stretches(), filled))
    hearing.cover(10 * MINUTE)
    assert hearing.alarms() == {}


def test_a_gap_has_some_time_to_be_filled(hearing: Hearing) -> None:
    """By the next call at the PBX; an alarm that is a month old tells nobody anything."""
    hearing.appdb.cdr_sources.put(SN, CdrSource(location="/var/log/asterisk/cdr-csv/Master.csv"))
    hearing.open()
    hearing.close("no connection")
    hearing.open()
    assert hearing.alarms() == {}
    hearing.cover(GAP_FILL_GRACE + MINUTE)
    assert list(hearing.alarms()) == ["gap"]
    hearing.cover(GAP_AGE_MAX)
    assert hearing.alarms() == {}


def test_a_pbx_that_cannot_be_reached_alarms(hearing: Hearing) -> None:
    """After some minutes, once; it is over with the next connection."""
    hearing.open()
    hearing.close("no route to host")
    assert "unreachable" not in hearing.alarms()
    hearing.close("no route to host", timedelta(seconds=UNREACHABLE_SECONDS))
    assert hearing.alarms()["unreachable"] == "no route to host"
    hearing.open()
    assert "unreachable" not in hearing.alarms()


def test_a_pbx_that_does_not_want_us_alarms_at_once(hearing: Hearing) -> None:
    """Only a person can help."""
    hearing.close("Authentication failed", is_refused=True)
    assert hearing.alarms() == {"credentials": "Authentication failed"}
