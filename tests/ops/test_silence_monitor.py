"""Alarms of silent PBXs, by their own traffic or by the configured minutes."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from onhook.appdb.appdb import AppDb
from onhook.ops.silence_monitor import SilenceMonitor
from onhook.store.contract import StoreBatch
from onhook.store.duckdb import DuckDbStore, open_store
from tests.factories import SN, call, record

MONDAY = datetime(2026, 4, 27, 9, tzinfo=UTC)
DAY = timedelta(days=1)


class Stopped:
    """A clock that a test sets."""

    def __init__(self, current_time: datetime) -> None:
        self.current_time = current_time

    def now(self) -> datetime:
        return self.current_time

    def microseconds(self) -> int:
        return round(self.current_time.timestamp() * 1_000_000)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[DuckDbStore]:
    """Yield five weeks of an office: twelve calls in each hour from 8 to 18 on workdays, the last at 9 on Monday."""
    store = await open_store(tmp_path / "calls.duckdb")
    calls = []
    for number in range(5 * 7 * 24 + 9):
        hour = MONDAY - timedelta(weeks=5, hours=9) + timedelta(hours=number)
        if 8 <= hour.hour < 18 and hour.weekday() < 5:
            times = [hour + timedelta(minutes=5 * part) for part in range(12)]
            calls += [call(record(received_at, received_at=received_at)) for received_at in times]
    await store.put(StoreBatch(calls=calls, quarantined=[], reparsed_seqs=[], position=1))
    yield store
    await store.close()


async def test_silence_monitor_silent_hour_at_noon_is_an_alarm_and_ends_by_itself(
    tmp_path: Path, store: DuckDbStore
) -> None:
    """Without settings; a person may set minutes, or switch it off."""
    appdb, clock = AppDb(tmp_path / "onhook.db"), Stopped(MONDAY + timedelta(minutes=20))
    await appdb.add_pbx(name="Office", sn=SN, secret="first-secret", now_us=1)
    watch = SilenceMonitor(appdb=appdb, store=store, clock=clock)
    await watch.check_all()
    assert await appdb.alarms.open_alarms() == []
    clock.current_time = MONDAY + timedelta(hours=2)
    await watch.check_all()
    (alarm,) = await appdb.alarms.open_alarms()
    assert (alarm.kind, "since 2026-04-27 08:55" in alarm.detail) == ("silence", True)
    await appdb.sync_states.save_silence_minutes(SN, 0)
    await watch.check_all()
    assert await appdb.alarms.open_alarms() == []
    await appdb.sync_states.save_silence_minutes(SN, 30)
    await watch.check_all()
    assert len(await appdb.alarms.open_alarms()) == 1
    await appdb.close()


async def test_silence_monitor_calls_in_the_future_do_not_hide_later_events(tmp_path: Path) -> None:
    """A PBX whose clock was ahead has many calls that begin after all others."""
    store, appdb = await open_store(tmp_path / "calls.duckdb"), AppDb(tmp_path / "onhook.db")
    await appdb.add_pbx(name="Office", sn=SN, secret="first-secret", now_us=1)
    await appdb.sync_states.save_silence_minutes(SN, 60)
    minutes = [timedelta(minutes=number) for number in range(250)]
    ahead = [
        call(record(MONDAY + timedelta(days=600) + minute, received_at=MONDAY - DAY + minute)) for minute in minutes
    ]
    right = [call(record(MONDAY - minute, received_at=MONDAY - minute)) for minute in minutes[1:]]
    fetched = [call(record(MONDAY - minute, received_at=MONDAY + DAY, via="backfill")) for minute in minutes]
    await store.put(StoreBatch(calls=[*ahead, *right, *fetched], quarantined=[], reparsed_seqs=[], position=1))
    clock = Stopped(MONDAY)
    monitor = SilenceMonitor(appdb=appdb, store=store, clock=clock)
    await monitor.check_all()
    assert await appdb.alarms.open_alarms() == []
    clock.current_time = MONDAY + timedelta(hours=2)
    await monitor.check_all()
    (alarm,) = await appdb.alarms.open_alarms()
    assert "since 2026-04-27 08:59" in alarm.detail
    await appdb.close()
    await store.close()


async def test_silence_monitor_time_is_in_the_zone_of_the_server(tmp_path: Path, store: DuckDbStore) -> None:
    clock, zone = Stopped(MONDAY + timedelta(hours=2)), ZoneInfo("Europe/Berlin")
    async with AppDb(tmp_path / "onhook.db") as appdb:
        await appdb.add_pbx(name="Office", sn=SN, secret="first-secret", now_us=1)
        await SilenceMonitor(appdb=appdb, store=store, clock=clock, zone=zone).check_all()
        (alarm,) = await appdb.alarms.open_alarms()
    assert alarm.detail == "no call end event since 2026-04-27 10:55:00+02:00"


@pytest.mark.parametrize("pbx_zone", ["Europe/Berlin", None])
async def test_silence_monitor_hours_are_those_of_the_wall_clock_after_a_clock_change(
    tmp_path: Path, pbx_zone: str | None
) -> None:
    """In an office that opens at 8, the silence before is none on the Monday after the end of summer time either."""
    berlin = ZoneInfo("Europe/Berlin")
    times = [
        (datetime(2026, 9, 21, 8, tzinfo=berlin) + timedelta(days=day, minutes=5 * part)).astimezone(UTC)
        for day in range(33)
        for part in range(9 * 12)
        if day % 7 < 5
    ]
    calls = [call(record(received_at, received_at=received_at)) for received_at in times]
    store, clock = await open_store(tmp_path / "calls.duckdb"), Stopped(datetime(2026, 10, 26, 7, 59, tzinfo=berlin))
    await store.put(StoreBatch(calls=calls, quarantined=[], reparsed_seqs=[], position=1))
    async with AppDb(tmp_path / "onhook.db") as appdb:
        zone = "Asia/Tokyo" if pbx_zone else "Europe/Berlin"
        await appdb.add_pbx(name="Office", sn=SN, secret="first-secret", zone=pbx_zone, now_us=1)
        monitor = SilenceMonitor(appdb=appdb, store=store, clock=clock, zone=ZoneInfo(zone))
        await monitor.check_all()
        assert await appdb.alarms.open_alarms() == []
        clock.current_time = datetime(2026, 10, 26, 8, 50, tzinfo=berlin)
        await monitor.check_all()
        assert [alarm.kind for alarm in await appdb.alarms.open_alarms()] == ["silence"]
    await store.close()
