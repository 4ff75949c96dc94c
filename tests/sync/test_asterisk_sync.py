"""Connected times and gaps of an Asterisk in the coverage, and its alarms."""

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
        self.current_time = NOON

    def now(self) -> datetime:
        return self.current_time

    def microseconds(self) -> int:
        return round(self.current_time.timestamp() * 1_000_000)


class Hearing:
    """The state of a PBX that a test connects and cuts; `reconnected` are those reported as connected again."""

    def __init__(self, appdb: AppDb) -> None:
        self.appdb = appdb
        self.clock = Stopped()
        self.reconnected: list[str] = []
        self.book = AsteriskConnectionState(appdb, self.clock, self.reconnected.append)

    def after(self, passed: timedelta) -> int:
        self.clock.current_time += passed
        return self.clock.microseconds()

    def open(self, passed: timedelta = MINUTE) -> None:
        self.book.record_opened(SN, self.after(passed))

    def cover(self, passed: timedelta) -> None:
        self.book.record_covered(SN, self.after(passed))

    def close(self, why: str, passed: timedelta = MINUTE, *, is_refused: bool = False) -> None:
        self.after(passed)
        self.book.record_closed(SN, why, is_refused=is_refused)

    def states(self) -> list[tuple[str, str, str]]:
        """Return begin and end of each interval as minutes from noon, and its state."""
        return [
            (f"{_minutes(stretch.since)}-{_minutes(stretch.until)}", stretch.state, stretch.reason)
            for stretch in self.stretches()
        ]

    def stretches(self) -> list[Interval]:
        return self.appdb.sync_states.intervals(SN)

    def alarms(self) -> dict[str, str]:
        return {open_alarm.kind: open_alarm.detail for open_alarm in self.appdb.alarms.open_alarms()}


def _minutes(current_time: datetime) -> int:
    return round((current_time - NOON) / MINUTE)


@pytest.fixture
def hearing(tmp_path: Path) -> Iterator[Hearing]:
    appdb = AppDb(tmp_path / "onhook.db")
    appdb.add_pbx(name="Office", sn=SN, secret="unknown-knows-this", dialect="asterisk", now_us=1)
    appdb.asterisks.add(AsteriskPbx(sn=SN, host="pbx.example.org", port=5038, user="onhook"), "correct horse")
    yield Hearing(appdb)
    appdb.close()


def test_asterisk_sync_cut_is_a_gap_between_connected_times(hearing: Hearing) -> None:
    """From the time up to which everything was stored, with the reason; the first connection makes none."""
    hearing.open()
    hearing.cover(9 * MINUTE)
    hearing.close("the PBX closed the connection")
    hearing.open(4 * MINUTE)
    hearing.cover(15 * MINUTE)
    assert hearing.states() == [
        ("1-10", "connected", "the connection was alive"),
        ("10-15", "gap", "not connected: the PBX closed the connection"),
        ("15-30", "connected", "the connection was alive"),
    ]
    assert hearing.reconnected == [SN, SN]


def test_asterisk_sync_crash_of_the_hub_is_a_gap(hearing: Hearing) -> None:
    """The connected time before it stays."""
    hearing.open()
    hearing.cover(9 * MINUTE)
    hearing.cover(MINUTE)
    after_crash = Hearing(hearing.appdb)
    after_crash.clock.current_time = hearing.clock.current_time
    after_crash.open(9 * MINUTE)
    assert after_crash.states() == [
        ("1-11", "connected", "the connection was alive"),
        ("11-20", "gap", "not connected: Onhook was not running"),
    ]


def test_asterisk_sync_time_read_from_the_source_is_no_gap(hearing: Hearing) -> None:
    """The source may have been read while the connection was down."""
    hearing.open()
    hearing.cover(9 * MINUTE)
    hearing.close("no connection")
    read = Interval(NOON, NOON + 12 * MINUTE, "complete", "compared")
    hearing.appdb.sync_states.save_intervals(SN, add_interval(hearing.stretches(), read))
    hearing.open(9 * MINUTE)
    assert hearing.states() == [("0-12", "complete", "compared"), ("12-20", "gap", "not connected: no connection")]


def test_asterisk_sync_unstable_connection_makes_one_gap(hearing: Hearing) -> None:
    """Many would push older intervals out of the coverage."""
    hearing.open()
    for _ in range(20):
        hearing.cover(MINUTE / 6)
        hearing.close("reset by peer", MINUTE / 6)
        hearing.open(MINUTE / 6)
    assert [state[1] for state in hearing.states()] == ["connected", "gap"]


def test_asterisk_sync_connected_time_is_stored_now_and_then(hearing: Hearing) -> None:
    """Each time costs an fsync."""
    hearing.open()
    step = COVERAGE_SAVE_INTERVAL / 4
    hearing.cover(step)
    first = hearing.states()
    hearing.cover(step)
    assert hearing.states() == first
    hearing.cover(4 * step)
    assert hearing.states() != first


def test_asterisk_sync_findings_of_a_backfill_stay(hearing: Hearing) -> None:
    """Where the connection was alive and lost calls, the time is not marked as connected again."""
    hearing.open()
    hearing.cover(9 * MINUTE)
    hearing.appdb.sync_states.save_intervals(SN, invalidate_connected(hearing.stretches(), "it lost calls"))
    hearing.cover(10 * MINUTE)
    assert [state[:2] for state in hearing.states()] == [("1-10", "gap"), ("10-20", "connected")]


def test_asterisk_sync_gap_without_a_source_raises_an_alarm(hearing: Hearing) -> None:
    """At once, with the command that sets the source; until it is filled."""
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


def test_asterisk_sync_gap_has_time_to_be_filled(hearing: Hearing) -> None:
    """By the next call of the PBX; a gap of a month ago raises no alarm."""
    hearing.appdb.cdr_sources.put(SN, CdrSource(location="/var/log/asterisk/cdr-csv/Master.csv"))
    hearing.open()
    hearing.close("no connection")
    hearing.open()
    assert hearing.alarms() == {}
    hearing.cover(GAP_FILL_GRACE + MINUTE)
    assert list(hearing.alarms()) == ["gap"]
    hearing.cover(GAP_AGE_MAX)
    assert hearing.alarms() == {}


def test_asterisk_sync_unreachable_pbx_raises_an_alarm(hearing: Hearing) -> None:
    """After some minutes, once; it ends with the next connection."""
    hearing.open()
    hearing.close("no route to host")
    assert "unreachable" not in hearing.alarms()
    hearing.close("no route to host", timedelta(seconds=UNREACHABLE_SECONDS))
    assert hearing.alarms()["unreachable"] == "no route to host"
    hearing.open()
    assert "unreachable" not in hearing.alarms()


def test_asterisk_sync_rejected_login_raises_an_alarm_at_once(hearing: Hearing) -> None:
    """Only a person can help."""
    hearing.close("Authentication failed", is_refused=True)
    assert hearing.alarms() == {"credentials": "Authentication failed"}
