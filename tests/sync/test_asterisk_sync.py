"""Connected times and gaps of an Asterisk in the coverage, and its alarms."""

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.asterisks import AsteriskPbx
from onhook.appdb.cdr_sources import CdrSource
from onhook.cdr.coverage import Interval, add_interval, invalidate_connected
from onhook.sync.alarms import UNREACHABLE_SECONDS
from onhook.sync.asterisk_sync import COVERAGE_SAVE_INTERVAL, GAP_AGE_MAX, GAP_FILL_GRACE, AsteriskConnectionState

SN = "pbx.example.org"
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


class ManualClock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.current_time = NOON

    def now(self) -> datetime:
        return self.current_time

    def microseconds(self) -> int:
        return round(self.current_time.timestamp() * 1_000_000)


class AsteriskHarness:
    """PBX that a test connects and disconnects; `reconnected` are the reported reconnections."""

    def __init__(self, appdb: AppDb) -> None:
        self.appdb = appdb
        self.clock = ManualClock()
        self.reconnected: list[str] = []
        self.connection_state = AsteriskConnectionState(appdb, self.clock, self._record_reconnected)

    async def _record_reconnected(self, sn: str) -> None:
        self.reconnected.append(sn)

    def advance(self, elapsed: timedelta) -> int:
        self.clock.current_time += elapsed
        return self.clock.microseconds()

    async def open(self, elapsed: timedelta = MINUTE) -> None:
        await self.connection_state.record_opened(SN, self.advance(elapsed))

    async def cover(self, elapsed: timedelta) -> None:
        await self.connection_state.record_covered(SN, self.advance(elapsed))

    async def close(self, reason: str, elapsed: timedelta = MINUTE, *, is_refused: bool = False) -> None:
        self.advance(elapsed)
        await self.connection_state.record_closed(SN, reason, is_refused=is_refused)

    async def list_states(self) -> list[tuple[str, str, str]]:
        """Return begin and end of each interval as minutes from noon, and its state."""
        return [
            (f"{_minutes(interval.since)}-{_minutes(interval.until)}", interval.state, interval.reason)
            for interval in await self.intervals()
        ]

    async def intervals(self) -> list[Interval]:
        return await self.appdb.sync_states.intervals(SN)

    async def alarms(self) -> dict[str, str]:
        return {open_alarm.kind: open_alarm.detail for open_alarm in await self.appdb.alarms.open_alarms()}


def _minutes(current_time: datetime) -> int:
    return round((current_time - NOON) / MINUTE)


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[AsteriskHarness]:
    appdb = AppDb(tmp_path / "onhook.db")
    await appdb.add_pbx(name="Office", sn=SN, secret="unknown-knows-this", dialect="asterisk", now_us=1)
    await appdb.asterisks.add(AsteriskPbx(sn=SN, host="pbx.example.org", port=5038, user="onhook"), "correct horse")
    yield AsteriskHarness(appdb)
    await appdb.close()


async def test_asterisk_sync_cut_is_a_gap_between_connected_times(harness: AsteriskHarness) -> None:
    """From the time up to which everything was stored, with the reason; the first connection makes none."""
    await harness.open()
    await harness.cover(9 * MINUTE)
    await harness.close("the PBX closed the connection")
    await harness.open(4 * MINUTE)
    await harness.cover(15 * MINUTE)
    assert await harness.list_states() == [
        ("1-10", "connected", "the connection was open"),
        ("10-15", "gap", "not connected: the PBX closed the connection"),
        ("15-30", "connected", "the connection was open"),
    ]
    assert harness.reconnected == [SN, SN]


async def test_asterisk_sync_crash_of_the_hub_is_a_gap(harness: AsteriskHarness) -> None:
    """The connected time before it stays."""
    await harness.open()
    await harness.cover(9 * MINUTE)
    await harness.cover(MINUTE)
    after_crash = AsteriskHarness(harness.appdb)
    after_crash.clock.current_time = harness.clock.current_time
    await after_crash.open(9 * MINUTE)
    assert await after_crash.list_states() == [
        ("1-11", "connected", "the connection was open"),
        ("11-20", "gap", "not connected: Onhook was not running"),
    ]


async def test_asterisk_sync_time_read_from_the_source_is_no_gap(harness: AsteriskHarness) -> None:
    """The source may have been read while the connection was down."""
    await harness.open()
    await harness.cover(9 * MINUTE)
    await harness.close("no connection")
    compared_interval = Interval(NOON, NOON + 12 * MINUTE, "complete", "compared")
    await harness.appdb.sync_states.save_intervals(SN, add_interval(await harness.intervals(), compared_interval))
    await harness.open(9 * MINUTE)
    assert await harness.list_states() == [
        ("0-12", "complete", "compared"),
        ("12-20", "gap", "not connected: no connection"),
    ]


async def test_asterisk_sync_unstable_connection_makes_one_gap(harness: AsteriskHarness) -> None:
    """Many would push older intervals out of the coverage."""
    await harness.open()
    for _ in range(20):
        await harness.cover(MINUTE / 6)
        await harness.close("reset by peer", MINUTE / 6)
        await harness.open(MINUTE / 6)
    assert [state[1] for state in await harness.list_states()] == ["connected", "gap"]


async def test_asterisk_sync_connected_time_is_stored_now_and_then(harness: AsteriskHarness) -> None:
    """Each time costs an fsync."""
    await harness.open()
    step = COVERAGE_SAVE_INTERVAL / 4
    await harness.cover(step)
    first_states = await harness.list_states()
    await harness.cover(step)
    assert await harness.list_states() == first_states
    await harness.cover(4 * step)
    assert await harness.list_states() != first_states


async def test_asterisk_sync_findings_of_a_backfill_stay(harness: AsteriskHarness) -> None:
    """Where the connection was open and lost calls, the time is not marked as connected again."""
    await harness.open()
    await harness.cover(9 * MINUTE)
    await harness.appdb.sync_states.save_intervals(SN, invalidate_connected(await harness.intervals(), "it lost calls"))
    await harness.cover(10 * MINUTE)
    assert [state[:2] for state in await harness.list_states()] == [("1-10", "gap"), ("10-20", "connected")]


async def test_asterisk_sync_gap_without_a_source_raises_an_alarm(harness: AsteriskHarness) -> None:
    """At once, with the command that sets the source; until it is filled."""
    await harness.open()
    await harness.close("no connection")
    await harness.open()
    gap_text = (await harness.alarms())["gap"]
    assert re.match(
        r"calls may be missing from 2026-11-24 12:01:00 to 2026-11-24 [0-9:]{8} UTC: not connected", gap_text
    )
    (alarm,) = await harness.appdb.alarms.open_alarms()
    assert "--cdr" in alarm.hint
    complete_interval = Interval(NOON, NOON + 4 * MINUTE, "complete", "compared")
    await harness.appdb.sync_states.save_intervals(SN, add_interval(await harness.intervals(), complete_interval))
    await harness.cover(10 * MINUTE)
    assert await harness.alarms() == {}


async def test_asterisk_sync_gap_has_time_to_be_filled(harness: AsteriskHarness) -> None:
    """By the next call of the PBX; a gap of a month ago raises no alarm."""
    await harness.appdb.cdr_sources.put(SN, CdrSource(location="/var/log/asterisk/cdr-csv/Master.csv"))
    await harness.open()
    await harness.close("no connection")
    await harness.open()
    assert await harness.alarms() == {}
    await harness.cover(GAP_FILL_GRACE + MINUTE)
    assert list(await harness.alarms()) == ["gap"]
    await harness.cover(GAP_AGE_MAX)
    assert await harness.alarms() == {}


async def test_asterisk_sync_unreachable_pbx_raises_an_alarm(harness: AsteriskHarness) -> None:
    """After some minutes, once; it ends with the next connection."""
    await harness.open()
    await harness.close("no route to host")
    assert "unreachable" not in await harness.alarms()
    await harness.close("no route to host", timedelta(seconds=UNREACHABLE_SECONDS))
    assert (await harness.alarms())["unreachable"] == "no route to host"
    await harness.open()
    assert "unreachable" not in await harness.alarms()


async def test_asterisk_sync_rejected_login_raises_an_alarm_at_once(harness: AsteriskHarness) -> None:
    """Only an operator can help."""
    await harness.close("Authentication failed", is_refused=True)
    assert await harness.alarms() == {"credentials": "Authentication failed"}
