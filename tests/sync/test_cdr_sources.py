"""Gaps filled from the CDR source of an Asterisk; coverage is only claimed as far as it reaches."""

import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.asterisks import AsteriskPbx
from onhook.appdb.cdr_sources import CdrSource, parse_cdr_source
from onhook.cdr.coverage import Interval, add_disconnection, add_interval
from onhook.ledger.sqlite import SqliteLedger
from onhook.lib.errors import NotFound, OnhookError
from onhook.receiver.ingest import Ingestor
from onhook.receiver.pbx_registry import RegisteredPbx
from onhook.runtime.adapters.ingest import create_ingestor
from onhook.sync.appdb_state import AppDbSyncState
from onhook.sync.call_lookup import EmptyCallLookup
from onhook.sync.cdr_sources import create_cdr_sync, expand_rotated_files
from onhook.sync.contract import BackfillTotals
from onhook.sync.pbx_sync import PbxSync
from tests.ledger.entries import read_events
from tests.pbx.asterisk.ami_streams import bodies, events
from tests.pbx.asterisk.scenarios import SCENARIOS
from tests.pbx.asterisk.test_files import COLUMNS, as_csv, rows
from tests.sync.test_asterisk_sync import SN, ManualClock

EPOCHS = sorted({int(row["linkedid"].partition(".")[0]) for row in rows()})
FIRST, LAST = (datetime.fromtimestamp(epoch, UTC) for epoch in (EPOCHS[0], EPOCHS[-1]))
CALLS = len({row["linkedid"] for row in rows()})
SECOND, MINUTE, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1)
GAP_REASON = "not connected: no connection"


class CdrSyncHarness:
    """An Asterisk with a CDR file, and the sync that fills its gaps."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "Master.csv"
        self.appdb = AppDb(folder / "onhook.db")
        self.ledger = SqliteLedger(folder / "ledger.db")
        self.clock = ManualClock()
        self.clock.current_time = LAST + 10 * MINUTE
        self.ingestor: Ingestor = create_ingestor(appdb=self.appdb, ledger=self.ledger, clock=self.clock)
        self.source = CdrSource(location=str(self.path))
        self.sync_state = AppDbSyncState(appdb=self.appdb, store=None, clock=self.clock, sn=SN)

    async def add_asterisk(self) -> None:
        await self.appdb.add_pbx(name="Office", sn=SN, secret="not-a-known-secret", dialect="asterisk", now_us=1)
        await self.appdb.asterisks.add(
            AsteriskPbx(sn=SN, host="a", port=1, user="u", trunks=("trunk-a",), inbound=("from-trunk",)), "s"
        )

    def pbx_sync(self) -> PbxSync:
        return create_cdr_sync(
            SN,
            lambda: expand_rotated_files(self.source),
            appdb=self.appdb,
            sync_state=self.sync_state,
            load_intervals=self.sync_state.intervals,
            call_lookup=EmptyCallLookup(),
            ingestor=self.ingestor,
            clock=self.clock,
            jitter=lambda: 0.5,
        )

    async def fill(self, until: datetime | None = None) -> BackfillTotals:
        return await self.pbx_sync().backfill(FIRST - 2 * DAY, until, compares_days=False)

    async def not_connected(self, since: datetime, until: datetime) -> None:
        await self.sync_state.change_intervals(lambda intervals: add_disconnection(intervals, since, until, GAP_REASON))

    async def connected(self, since: datetime, until: datetime) -> None:
        await self.sync_state.change_intervals(
            lambda intervals: add_interval(intervals, Interval(since, until, "connected", "alive"))
        )

    async def gaps(self) -> list[Interval]:
        return [interval for interval in await self.sync_state.intervals() if interval.state == "gap"]

    async def alarms(self) -> set[str]:
        return {open_alarm.kind for open_alarm in await self.appdb.alarms.open_alarms()}

    def write(self, lines: Sequence[str]) -> None:
        self.path.write_text("".join(lines))

    async def ingest_live_calls(self) -> None:
        """Ingest every call as received live."""
        registered_pbx = RegisteredPbx(sn=SN, dialect="asterisk")
        for scenario in SCENARIOS:
            for body in bodies(events(scenario.name)):
                assert await self.ingestor.ingest(registered_pbx, body, "ami") == "stored"


def lines() -> list[str]:
    """Return the file as Asterisk writes it, after some older calls of another day."""
    older = [line.replace("2026-11-", "2026-10-").replace('"179', '"178') for line in as_csv(list(COLUMNS))[:3]]
    return [*older, *as_csv(list(COLUMNS))]


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[CdrSyncHarness]:
    harness = CdrSyncHarness(tmp_path)
    await harness.add_asterisk()
    yield harness
    await harness.ingestor.close()
    await harness.ledger.close()
    await harness.appdb.close()


async def test_cdr_sync_gap_is_filled_from_the_file(harness: CdrSyncHarness) -> None:
    """Every call of it is stored, the gap is complete, and there is no alarm: they were known to be missing."""
    harness.write(lines())
    await harness.not_connected(FIRST - MINUTE, LAST - SECOND)
    totals = await harness.fill()
    assert (totals.new, totals.missed, totals.unreadable) == (totals.rows, 0, 0)
    assert len(await read_events(harness.ledger)) == CALLS
    assert await harness.gaps() == []
    assert await harness.alarms() == set()


async def test_cdr_sync_call_received_live_is_a_duplicate(harness: CdrSyncHarness) -> None:
    """A second reading finds nothing new either."""
    harness.write(lines())
    await harness.ingest_live_calls()
    totals = await harness.fill()
    assert (totals.new, totals.same) == (0, totals.rows)
    assert len(await read_events(harness.ledger)) == CALLS


async def test_cdr_sync_gap_stays_until_the_file_has_a_later_call(harness: CdrSyncHarness) -> None:
    """A file that is no longer written ends somewhere too."""
    harness.write(lines())
    end = LAST + 5 * MINUTE
    await harness.not_connected(FIRST - MINUTE, end)
    totals = await harness.fill()
    assert totals.new
    (left,) = await harness.gaps()
    assert (left.since >= LAST, left.until, left.reason) == (True, end, GAP_REASON)


async def test_cdr_sync_gap_before_the_file_stays(harness: CdrSyncHarness) -> None:
    harness.write(as_csv(list(COLUMNS)))
    await harness.not_connected(FIRST - 30 * MINUTE, LAST - SECOND)
    await harness.fill()
    (left,) = await harness.gaps()
    assert (left.since, left.until) == (FIRST - 30 * MINUTE, FIRST)


async def test_cdr_sync_rotated_file_is_read_completely(harness: CdrSyncHarness) -> None:
    """A call may be in both parts: it is assembled."""
    whole = lines()
    harness.path.with_name("Master.csv.1").write_text("".join(whole[:11]))
    harness.write(whole[11:])
    await harness.not_connected(FIRST - MINUTE, LAST - SECOND)
    await harness.ingest_live_calls()
    totals = await harness.fill()
    assert (totals.new, await harness.gaps()) == (0, [])


async def test_cdr_sync_call_missed_while_connected_raises_an_alarm(harness: CdrSyncHarness) -> None:
    """The rest of that connected time is a gap until it is compared."""
    harness.write(lines())
    await harness.connected(FIRST - MINUTE, LAST + MINUTE)
    totals = await harness.fill()
    assert totals.missed == totals.new == totals.rows
    assert await harness.alarms() == {"missed"}


async def test_cdr_sync_line_that_cannot_be_parsed_is_stored_and_reported(harness: CdrSyncHarness) -> None:
    """In the quarantine, and by an alarm."""
    harness.write([*lines()[:6], "torn,line\n", *lines()[6:]])
    totals = await harness.fill()
    assert totals.unreadable == 1
    assert await harness.alarms() == {"unreadable"}
    assert b"torn,line\n" in [event.body for event in await read_events(harness.ledger)]


async def test_cdr_sync_call_that_ended_just_now_is_left_to_the_next_run(harness: CdrSyncHarness) -> None:
    """One of its CDRs may not be written yet."""
    harness.write(lines())
    harness.clock.current_time = LAST + 2 * SECOND
    await harness.fill()
    first = len(await read_events(harness.ledger))
    harness.clock.current_time = LAST + 5 * MINUTE
    await harness.fill()
    assert first < len(await read_events(harness.ledger)) == CALLS


async def test_cdr_sync_limited_window_fetches_its_calls_only(harness: CdrSyncHarness) -> None:
    harness.write(lines())
    middle = datetime.fromtimestamp(EPOCHS[CALLS // 2], UTC)
    await harness.fill(middle)
    assert len(await read_events(harness.ledger)) == CALLS // 2


async def test_cdr_sync_table_gives_the_same_calls(harness: CdrSyncHarness, tmp_path: Path) -> None:
    """As a FreePBX has it: `calldate`, a sequence, and additional columns."""
    names = {"start": "calldate"} | {name: name for name in COLUMNS if name not in ("start", "answer", "end")}
    with closing(sqlite3.connect(tmp_path / "master.db")) as database, database:
        database.execute(f"CREATE TABLE cdr (id INTEGER PRIMARY KEY, cnum TEXT, {', '.join(names.values())})")
        marks, columns = ", ".join("?" * len(names)), ", ".join(names.values())
        values = [[row[name] for name in names] for row in rows()]
        database.executemany(f"INSERT INTO cdr ({columns}) VALUES ({marks})", values)  # noqa: S608 - names of a test
    harness.source = parse_cdr_source(str(tmp_path / "master.db"))
    await harness.ingest_live_calls()
    totals = await harness.fill()
    assert (totals.new, totals.same) == (0, totals.rows)


async def test_cdr_sync_missing_source_raises_its_alarm(harness: CdrSyncHarness) -> None:
    """About the CDR source, not about the connection."""
    with pytest.raises(NotFound):
        await harness.fill()
    pbx_sync = harness.pbx_sync()
    await pbx_sync.on_failed(OnhookError("no such file"))
    harness.clock.current_time += 10 * MINUTE
    await pbx_sync.on_failed(OnhookError("no such file"))
    assert await harness.alarms() == {"source"}
    harness.write(lines())
    await pbx_sync.on_connected()
    assert await harness.alarms() == set()


async def test_sync_state_hints_have_the_name_of_the_pbx(tmp_path: Path) -> None:
    """The present one, quoted for a shell; a PBX that was removed has only its serial number."""
    harness = CdrSyncHarness(tmp_path)
    assert await harness.sync_state.pbx_argument() == SN
    await harness.add_asterisk()
    await harness.appdb.change_pbx("Office", {"name": "Head office"})
    assert await harness.sync_state.pbx_argument() == "'Head office'"
    await harness.ingestor.close()
    await harness.ledger.close()
    await harness.appdb.close()
