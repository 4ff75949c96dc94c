"""Gaps are filled from what an Asterisk keeps itself; nothing is claimed that it does not reach over."""

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
from onhook.sync.access import create_cdr_sync, expand_rotated_files
from onhook.sync.adapters import AppDbSyncState, EmptyCallLookup
from onhook.sync.api_backfill import BackfillTotals
from onhook.sync.pbx_sync import PbxSync
from tests.pbx.asterisk.ami_streams import bodies, events
from tests.pbx.asterisk.scenarios import SCENARIOS
from tests.pbx.asterisk.test_files import COLUMNS, as_csv, rows
from tests.sync.test_asterisk_sync import SN, Stopped

EPOCHS = sorted({int(row["linkedid"].partition(".")[0]) for row in rows()})
FIRST, LAST = (datetime.fromtimestamp(epoch, UTC) for epoch in (EPOCHS[0], EPOCHS[-1]))
CALLS = len({row["linkedid"] for row in rows()})
SECOND, MINUTE, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1)
WHY = "it was not heard: no connection"


class Filling:
    """An Asterisk that keeps its CDRs in a file, and whoever fills its gaps from there."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "Master.csv"
        self.appdb = AppDb(folder / "onhook.db")
        self.appdb.add_pbx(name="Office", sn=SN, secret="nobody-knows-this", dialect="asterisk", now_us=1)
        self.appdb.asterisks.add(
            AsteriskPbx(sn=SN, host="a", port=1, user="u", trunks=("trunk-a",), inbound=("from-trunk",)), "s"
        )
        self.ledger = SqliteLedger(folder / "ledger.db")
        self.clock = Stopped()
        self.clock.at = LAST + 10 * MINUTE
        self.accept: Ingestor = create_ingestor(appdb=self.appdb, ledger=self.ledger, clock=self.clock)
        self.source = CdrSource(location=str(self.path))
        self.notes = AppDbSyncState(appdb=self.appdb, store=None, clock=self.clock, sn=SN)

    def caretaker(self) -> PbxSync:
        return create_cdr_sync(
            SN,
            lambda: expand_rotated_files(self.source),
            appdb=self.appdb,
            sync_state=self.notes,
            load_intervals=self.notes.intervals,
            call_lookup=EmptyCallLookup(),
            ingestor=self.accept,
            clock=self.clock,
            jitter=lambda: 0.5,
        )

    async def fill(self, until: datetime | None = None) -> BackfillTotals:
        return await self.caretaker().backfill(FIRST - 2 * DAY, until, compares_days=False)

    def not_heard(self, since: datetime, until: datetime) -> None:
        self.notes.save_intervals(add_disconnection(self.notes.intervals(), since, until, WHY))

    def heard(self, since: datetime, until: datetime) -> None:
        self.notes.save_intervals(add_interval(self.notes.intervals(), Interval(since, until, "connected", "alive")))

    def gaps(self) -> list[Interval]:
        return [interval for interval in self.notes.intervals() if interval.state == "gap"]

    def alarms(self) -> set[str]:
        return {open_alarm.kind for open_alarm in self.appdb.alarms.open_alarms()}

    def write(self, lines: Sequence[str]) -> None:
        self.path.write_text("".join(lines))

    async def hear_all(self) -> None:
        """As if everything had come over the connection."""
        declared = RegisteredPbx(sn=SN, dialect="asterisk")
        for scenario in SCENARIOS:
            for body in bodies(events(scenario.name)):
                assert await self.accept.ingest(declared, body, "ami") == "stored"


def lines() -> list[str]:
    """The file as Asterisk writes it, some older calls first, which are of another day."""
    older = [line.replace("2026-11-", "2026-10-").replace('"179', '"178') for line in as_csv(list(COLUMNS))[:3]]
    return [*older, *as_csv(list(COLUMNS))]


@pytest.fixture
async def filling(tmp_path: Path) -> AsyncIterator[Filling]:
    one = Filling(tmp_path)
    yield one
    await one.accept.close()
    await one.ledger.close()
    one.appdb.close()


async def test_a_gap_is_filled_by_what_the_file_has(filling: Filling) -> None:
    """Every call of it is kept, the gap is complete, and nobody is alarmed: they were known to be missing."""
    filling.write(lines())
    filling.not_heard(FIRST - MINUTE, LAST - SECOND)
    found = await filling.fill()
    assert (found.new, found.missed, found.unreadable) == (found.rows, 0, 0)
    assert len(await filling.ledger.read(0, 1000)) == CALLS
    assert filling.gaps() == []
    assert filling.alarms() == set()


async def test_what_was_heard_is_here_already(filling: Filling) -> None:
    """Seen by both ways a call is one report; a second reading finds nothing new either."""
    filling.write(lines())
    await filling.hear_all()
    found = await filling.fill()
    assert (found.new, found.same) == (0, found.rows)
    assert len(await filling.ledger.read(0, 1000)) == CALLS


async def test_a_gap_stays_open_until_the_file_has_a_call_after_it(filling: Filling) -> None:
    """A file that nobody writes any more ends somewhere too: its next call closes the gap, and is waited for."""
    filling.write(lines())
    end = LAST + 5 * MINUTE
    filling.not_heard(FIRST - MINUTE, end)
    found = await filling.fill()
    assert found.new
    (left,) = filling.gaps()
    assert (left.since >= LAST, left.until, left.reason) == (True, end, WHY)


async def test_a_gap_from_before_the_file_stays(filling: Filling) -> None:
    """What was written before is lost, unless somebody has an older file."""
    filling.write(as_csv(list(COLUMNS)))
    filling.not_heard(FIRST - 30 * MINUTE, LAST - SECOND)
    await filling.fill()
    (left,) = filling.gaps()
    assert (left.since, left.until) == (FIRST - 30 * MINUTE, FIRST)


async def test_a_file_that_was_rotated_is_read_whole(filling: Filling) -> None:
    """A call may be in both: it is put together."""
    whole = lines()
    filling.path.with_name("Master.csv.1").write_text("".join(whole[:11]))
    filling.write(whole[11:])
    filling.not_heard(FIRST - MINUTE, LAST - SECOND)
    await filling.hear_all()
    found = await filling.fill()
    assert (found.new, filling.gaps()) == (0, [])


async def test_a_call_that_should_have_been_heard_alarms(filling: Filling) -> None:
    """The connection was alive, and told nothing of it; what else was heard then is a gap until it is compared."""
    filling.write(lines())
    filling.heard(FIRST - MINUTE, LAST + MINUTE)
    found = await filling.fill()
    assert found.missed == found.new == found.rows
    assert filling.alarms() == {"missed"}


async def test_a_line_that_cannot_be_read_is_kept_and_told(filling: Filling) -> None:
    """As any report that says nothing: in the quarantine, and an alarm."""
    filling.write([*lines()[:6], "torn,line\n", *lines()[6:]])
    found = await filling.fill()
    assert found.unreadable == 1
    assert filling.alarms() == {"unreadable"}
    assert b"torn,line\n" in [one.body for one in await filling.ledger.read(0, 1000)]


async def test_a_call_that_ended_just_now_is_left_to_the_next_time(filling: Filling) -> None:
    """One of its CDRs may not be written yet."""
    filling.write(lines())
    filling.clock.at = LAST + 2 * SECOND
    await filling.fill()
    first = len(await filling.ledger.read(0, 1000))
    filling.clock.at = LAST + 5 * MINUTE
    await filling.fill()
    assert first < len(await filling.ledger.read(0, 1000)) == CALLS


async def test_a_stretch_alone_can_be_asked_for(filling: Filling) -> None:
    """Calls that began before its end, no others."""
    filling.write(lines())
    middle = datetime.fromtimestamp(EPOCHS[CALLS // 2], UTC)
    await filling.fill(middle)
    assert len(await filling.ledger.read(0, 1000)) == CALLS // 2


async def test_a_table_says_the_same(filling: Filling, tmp_path: Path) -> None:
    """As a FreePBX has it: `calldate`, a number of its own, and columns that nobody asked for."""
    names = {"start": "calldate"} | {name: name for name in COLUMNS if name not in ("start", "answer", "end")}
    with closing(sqlite3.connect(tmp_path / "master.db")) as database, database:
        database.execute(f"CREATE TABLE cdr (id INTEGER PRIMARY KEY, cnum TEXT, {', '.join(names.values())})")
        marks, columns = ", ".join("?" * len(names)), ", ".join(names.values())
        values = [[row[name] for name in names] for row in rows()]
        database.executemany(f"INSERT INTO cdr ({columns}) VALUES ({marks})", values)  # noqa: S608 - names of a test
    filling.source = parse_cdr_source(str(tmp_path / "master.db"))
    await filling.hear_all()
    found = await filling.fill()
    assert (found.new, found.same) == (0, found.rows)


async def test_what_is_not_there_is_told(filling: Filling) -> None:
    """By whoever reads it; the alarm is of what the PBX keeps, not of the connection."""
    with pytest.raises(NotFound):
        await filling.fill()
    caretaker = filling.caretaker()
    caretaker.on_failed(OnhookError("no such file"))
    filling.clock.at += 10 * MINUTE
    caretaker.on_failed(OnhookError("no such file"))
    assert filling.alarms() == {"source"}
    filling.write(lines())
    caretaker.on_connected()
    assert filling.alarms() == set()
