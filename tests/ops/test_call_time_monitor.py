"""Alarms of PBXs whose clock is wrong, by the times of their calls."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from onhook.appdb.appdb import AppDb
from onhook.cdr.call_assembly import PbxFacts, ReportedLeg, assemble_call
from onhook.cdr.record import Call
from onhook.lib.clock import SystemClock
from onhook.ops.call_time_monitor import CallTimeMonitor
from onhook.pbx.yeastar.payload import Yeastar
from onhook.store.contract import StoreBatch
from onhook.store.duckdb import DuckDbStore, open_store
from tests.factories import SN, call, record

PAYLOADS = Path(__file__).parents[1] / "payloads"
NOW = datetime(2026, 11, 28, 4, tzinfo=UTC)


class Office:
    """A PBX, its calls, and the monitor."""

    def __init__(self, store: DuckDbStore, appdb: AppDb) -> None:
        self._store = store
        self._seq = 0
        self.appdb = appdb
        self.monitor = CallTimeMonitor(appdb=appdb, store=store, clock=SystemClock())

    async def add_call(
        self,
        wrong_by: timedelta,
        via: str = "webhook",
        legs: int = 1,
        *,
        has_ids: bool = True,
        after: timedelta = timedelta(),
    ) -> None:
        """Store a call that was received `after` NOW, and ended this long from then."""
        self._seq += 1
        started_at = NOW + after + wrong_by
        records = [
            record(
                started_at,
                call_id=f"{int(started_at.timestamp()) + self._seq}.1" if has_ids else f"call-{self._seq}",
                **({} if has_ids else {"uid": ""}),
                call_to=str(1001 + leg),
                received_at=NOW + after,
                via=via,
                seq=self._seq,
            )
            for leg in range(legs)
        ]
        await self._put(call(*records))

    async def put(self, assembled_call: Call) -> None:
        """Store a call."""
        self._seq += 1
        await self._put(assembled_call)

    async def _put(self, assembled_call: Call) -> None:
        batch = StoreBatch(calls=[assembled_call], quarantined=[], reparsed_seqs=[], position=self._seq)
        await self._store.put(batch)

    async def alarms(self) -> list[str]:
        await self.monitor.check()
        return [alarm.detail for alarm in await self.appdb.alarms.open_alarms()]


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    store, appdb = await open_store(tmp_path / "calls.duckdb"), AppDb(tmp_path / "onhook.db")
    await appdb.add_pbx(name="Office", sn=SN, secret="first-secret", now_us=1)
    yield Office(store, appdb)
    await appdb.close()
    await store.close()


YEARS = timedelta(days=-9_827)


@pytest.mark.parametrize("wrong_by", [YEARS, timedelta(days=600), timedelta(hours=-2), timedelta(hours=2)])
async def test_three_calls_in_a_row_at_a_wrong_time_are_an_alarm(office: Office, wrong_by: timedelta) -> None:
    """One and two are not; a call that is right ends it."""
    for expected in (0, 0, 1, 1):
        await office.add_call(wrong_by)
        assert len(await office.alarms()) == expected
    await office.add_call(timedelta())
    assert await office.alarms() == []


async def test_three_events_of_a_pbx_whose_clock_is_in_2000_are_an_alarm(office: Office) -> None:
    """As a PBX sent them whose battery is empty."""
    (reported,) = Yeastar().parse((PAYLOADS / "d1_clock_back_in_2000.json").read_bytes())
    epoch, _, number = reported.call_id.partition(".")
    for call_number in range(3):
        own = msgspec.structs.replace(reported, call_id=f"{epoch}.{int(number) + call_number}")
        leg = ReportedLeg(details=own, seq=call_number + 1, via="webhook", received_at=NOW)
        await office.put(assemble_call(SN, [leg], PbxFacts()))
        assert len(await office.alarms()) == (call_number == 2)
    (detail,) = await office.alarms()
    assert "9828 days" in detail, detail


async def test_alarm_says_by_how_much(office: Office) -> None:
    for _ in range(3):
        await office.add_call(timedelta(hours=-25))
    (detail,) = await office.alarms()
    assert "ended 1 day, 0:59:" in detail or "ended 1 day, 1:00:" in detail


async def test_alarm_of_a_pbx_whose_zone_is_assumed_says_how_to_set_it(office: Office) -> None:
    """Its calls seem to be off by the hours of its zone."""
    for has_ids, wrong_by, word in (
        (False, timedelta(hours=5), "--zone"),
        (False, YEARS, "NTP"),
        (True, timedelta(hours=5), "NTP"),
    ):
        for _ in range(3):
            await office.add_call(wrong_by, has_ids=has_ids)
        await office.alarms()
        (alarm,) = await office.appdb.alarms.open_alarms()
        assert word in alarm.hint
        assert ("onhook pbx change Office" in alarm.hint) is (word == "--zone")
        await office.add_call(timedelta())
        await office.alarms()


async def test_alarm_by_calls_and_alarm_by_the_api_do_not_end_each_other(office: Office) -> None:
    """A PBX five minutes slow, whose API says so: its calls are within the hour."""
    await office.appdb.alarms.raise_alarm(SN, "skew", "the clock is 5 minutes behind", hint="set it", now_us=1)
    await office.add_call(timedelta(minutes=-5))
    assert await office.alarms() == ["the clock is 5 minutes behind"]


async def test_legs_of_one_call_count_once(office: Office) -> None:
    await office.add_call(YEARS, legs=5)
    assert await office.alarms() == []


@pytest.mark.parametrize("via", ["backfill", "import"])
async def test_fetched_calls_do_not_count(office: Office, via: str) -> None:
    for _ in range(5):
        await office.add_call(YEARS, via=via)
    assert await office.alarms() == []


async def test_calls_at_the_right_time_between_wrong_ones_are_no_alarm(office: Office) -> None:
    for wrong_by in (YEARS, YEARS, timedelta(), YEARS, YEARS):
        await office.add_call(wrong_by)
        assert await office.alarms() == []


async def test_monitor_that_starts_late_looks_back(office: Office) -> None:
    for _ in range(3):
        await office.add_call(YEARS)
    assert len(await office.alarms()) == 1


async def test_calls_without_evidence_are_compared_with_the_offset_of_others(office: Office) -> None:
    """A PBX at UTC+8 whose clock is right: some of its call ids have no time."""
    await office.add_call(timedelta())
    for _ in range(4):
        await office.add_call(timedelta(), has_ids=False)
        assert await office.alarms() == []


async def test_calls_without_evidence_long_after_the_last_one_with_it_decide_nothing(office: Office) -> None:
    """As after the change of daylight saving time: the offset of then is not that of now, and may be an hour off."""
    await office.add_call(timedelta())
    later = timedelta(hours=12)
    for _ in range(3):
        await office.add_call(timedelta(hours=6, minutes=58), has_ids=False, after=later)
    assert await office.alarms() == []
    await office.add_call(timedelta(), after=later)
    for _ in range(3):
        await office.add_call(timedelta(hours=6, minutes=58), has_ids=False, after=later + timedelta(hours=1))
    assert len(await office.alarms()) == 1
