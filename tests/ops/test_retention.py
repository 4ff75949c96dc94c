"""Retention deletes whole calls with their events and notes: nothing that is pending, nothing younger
than configured.
"""

import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.deliveries import CALL_DELIVERIES_MAX
from onhook.appdb.delivery_rows import NewDelivery
from onhook.appdb.destination_spec import DestinationSpec
from onhook.appdb.pbx_facts import AppDbPbxFacts
from onhook.appdb.stored_json import RowUnreadable
from onhook.cdr.merge import UNREGISTERED
from onhook.cdr.record_filter import RecordFilter
from onhook.cdr.sync_types import AlarmKind
from onhook.config import Config
from onhook.ledger.contract import CONTROL_DIALECT, AppendResult, CounterKey, LedgerEntry
from onhook.ledger.control_entries import Forgotten, decode_control
from onhook.ledger.facts_publisher import FactsPublisher
from onhook.ledger.sqlite import SqliteLedger
from onhook.lib.clock import SystemClock
from onhook.lib.errors import Unavailable
from onhook.lib.file_lock import file_lock
from onhook.ops import retention
from onhook.ops.rebuild import LOCK_NAME, rebuilt_store_path
from onhook.ops.retention import DAY_MICROSECONDS, Retention, RetentionTotals
from onhook.pbx.registry import dialects
from onhook.projector.projector import Projector
from onhook.store.duckdb import DuckDbStore, open_store
from tests.factories import BOB, QUEUE, SN, STARTED_AT, details

OTHER_SN = "3699OTHER"
YEASTAR = dialects()["yeastar"]


class RetentionHarness:
    """A ledger, a store, an application database, and the parts between them; ages are in days before now."""

    def __init__(self, directory: Path, ledger: SqliteLedger, appdb: AppDb, store: DuckDbStore) -> None:
        self.directory = directory
        self.ledger = ledger
        self.store = store
        self.appdb = appdb
        self.projector = self.projector_into(store)
        self.clock = SystemClock()
        self.keys = 0

    def projector_into(self, store: DuckDbStore) -> Projector:
        return Projector(ledger=self.ledger, store=store, dialects=dialects(), clock=SystemClock())

    async def publish(self) -> None:
        """Append the facts of the PBXs to the ledger, and project them."""
        await FactsPublisher(self.ledger, AppDbPbxFacts(self.appdb), self.clock).publish()
        await self.projector.catch_up()

    async def report(
        self,
        call: int,
        age: int,
        *,
        sn: str = SN,
        call_to: str = BOB,
        status: str = "ANSWERED",
        via: str = "webhook",
        call_age: int | None = None,
    ) -> int:
        """Store one leg of a call, received so many days ago; return the number of the event. The call is half a year
        old unless `call_age` says otherwise.
        """
        started_at = STARTED_AT if call_age is None else self.clock.now() - timedelta(days=call_age)
        leg = details(started_at + timedelta(minutes=call), call_id=call_id(call), call_to=call_to, status=status)
        return await self.keep(YEASTAR.format(leg, sn, "p-2026"), age, sn, via)

    async def keep(self, body: bytes, age: int, sn: str = SN, via: str = "webhook") -> int:
        seq = await self.append(body, age, sn, via)
        await self.projector.catch_up()
        return seq

    async def append(self, body: bytes, age: int, sn: str, via: str = "webhook", dialect: str = "yeastar") -> int:
        self.keys += 1
        entry = LedgerEntry(
            sn=sn, dialect=dialect, via=via, key=self.keys.to_bytes(16, "big"), body=body,
            received_at=self.clock.microseconds() - age * DAY_MICROSECONDS - 1,
        )  # fmt: skip
        (appended,) = await self.ledger.append([entry])
        return appended.seq

    async def forget(self, keep_days: int = 0) -> RetentionTotals:
        config = Config(data=self.directory, keep_days=keep_days)
        return await Retention(
            config=config,
            appdb=self.appdb,
            ledger=self.ledger,
            store=self.store,
            projector=self.projector,
            clock=self.clock,
        ).run_cycle()

    async def seqs(self) -> list[int]:
        """Return the numbers of the events of PBXs."""
        return [event.seq for event in await self.ledger.read(0, 1_000) if event.dialect != CONTROL_DIALECT]


def call_id(number: int) -> str:
    return f"{int(STARTED_AT.timestamp()) + 60 * number}.{number}"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RetentionHarness]:
    ledger, store = SqliteLedger(tmp_path / "ledger.db"), await open_store(tmp_path / "calls.duckdb")
    async with AppDb(tmp_path / "onhook.db") as appdb:
        for name, sn in (("office", SN), ("branch", OTHER_SN)):
            await appdb.add_pbx(name=name, sn=sn, secret="0123456789", now_us=1)
        yield RetentionHarness(tmp_path, ledger, appdb, store)
    await store.close()
    await ledger.close()


async def kept_calls(server: RetentionHarness) -> Sequence[str]:
    """Return the ids of the stored calls: the same in a store that is rebuilt from the ledger."""
    rebuilt_store = await open_store(server.directory / f"again-{server.keys}.duckdb")
    await server.projector_into(rebuilt_store).catch_up()
    call_lists = [(await store.calls(RecordFilter(), 1_000)).data for store in (server.store, rebuilt_store)]
    await rebuilt_store.close()
    assert call_lists[0] == call_lists[1]
    return sorted(call.call_id for call in call_lists[0])


async def test_retention_is_off_by_default(server: RetentionHarness) -> None:
    await server.report(1, 5_000)
    await server.report(2, 0)
    assert await server.forget() == RetentionTotals()
    assert await server.seqs() == [1, 2]
    assert "retention" not in [entry.credential for entry in await server.appdb.audit.latest(10)]


async def test_retention_deletes_whole_calls(server: RetentionHarness) -> None:
    """With all legs, versions, notes, and events that could not be parsed; younger ones stay; another cycle changes
    nothing.
    """
    await server.report(1, 100, call_to=QUEUE)
    await server.report(1, 100)
    await server.report(1, 95, status="BUSY")
    await server.keep(b'{"type":30012,"sn":"%s"}' % SN.encode(), 100)
    await server.report(2, 89)
    await server.report(3, 0)
    await server.appdb.notes.write(SN, call_id(1), "calls back", "", author="Alice", now_us=1)
    await server.appdb.notes.write(SN, call_id(2), "stays", "", author="Alice", now_us=1)
    assert await server.forget(90) == RetentionTotals(raw_events=4, calls=1)
    assert await server.seqs() == [5, 6]
    assert await kept_calls(server) == [call_id(2), call_id(3)]
    assert await server.appdb.notes.history(SN, call_id(1)) == []
    assert await server.appdb.notes.history(SN, call_id(2)) != []
    line, *_ = await server.appdb.audit.latest(10)
    assert (line.actor, line.action) == ("onhook", "deleted expired calls: 1, raw events: 4")
    assert await server.forget(90) == RetentionTotals()


async def test_retention_call_with_a_recent_correction_stays_whole(server: RetentionHarness) -> None:
    """With its old legs, also after a rebuild."""
    await server.report(1, 100, call_to=QUEUE)
    await server.report(1, 100)
    await server.report(1, 10, status="BUSY")
    await server.report(2, 0)
    assert await server.forget(90) == RetentionTotals()
    assert await server.seqs() == [1, 2, 3, 4]
    assert await kept_calls(server) == [call_id(1), call_id(2)]


async def test_retention_pbx_override_applies(server: RetentionHarness) -> None:
    """Shorter or longer than that of the installation, or for ever."""
    for number, (age, sn) in enumerate(((100, SN), (100, OTHER_SN), (40, SN), (40, OTHER_SN), (0, SN))):
        await server.report(number, age, sn=sn)
    await server.appdb.retention_overrides.put(SN, 30)
    assert await server.forget(0) == RetentionTotals(raw_events=2, calls=2)
    assert await server.seqs() == [2, 4, 5]
    await server.appdb.retention_overrides.put(OTHER_SN, 0)
    assert await server.forget(30) == RetentionTotals()
    await server.appdb.retention_overrides.put(OTHER_SN, None)
    assert await server.forget(90) == RetentionTotals(raw_events=1, calls=1)
    assert await server.seqs() == [4, 5]


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE retention_overrides SET sn = CAST(x'ff' AS TEXT)",
        "UPDATE retention_overrides SET days = -1",
        "UPDATE serial_numbers SET pbx_sn = CAST(x'ff' AS TEXT)",
        "UPDATE alarms SET kind = 'boredom'",
    ],
)
async def test_retention_row_that_cannot_be_read_deletes_nothing(server: RetentionHarness, damage: str) -> None:
    """It may keep calls longer than the installation does."""
    await server.report(1, 100)
    await server.report(2, 0)
    await server.appdb.retention_overrides.put(SN, 0)
    await server.appdb.serial_numbers.add(SN, "3699FURTHER")
    await server.appdb.alarms.raise_alarm(SN, "silence", "no calls", hint="look", now_us=1)
    with closing(sqlite3.connect(server.directory / "onhook.db", isolation_level=None)) as connection:
        assert connection.execute(damage).rowcount == 1
    with pytest.raises(RowUnreadable, match="nothing is deleted"):
        await server.forget(90)
    assert await server.seqs() == [1, 2]


async def test_retention_pending_calls_stay(server: RetentionHarness) -> None:
    """Records that a destination has yet to read, paused or not; and a retried delivery, until it is accepted."""
    for number in range(4):
        await server.report(number, 100)
    destination, _ = await server.appdb.destinations.add(
        "CRM", DestinationSpec(url="https://crm.example.com"), None, after=2, now_us=1
    )
    waiting = NewDelivery(notification_id="x", seq=1, call=(SN, call_id(0)), body=b"{}", due_at=1, pending_since=1)
    await server.appdb.deliveries.add(destination.destination_id, waiting)
    await server.appdb.destinations.set_state("CRM", "paused")
    assert await server.forget(90) == RetentionTotals(raw_events=1, calls=1)
    assert await server.seqs() == [1, 3, 4]
    await server.appdb.destinations.remove("CRM")
    assert await server.forget(90) == RetentionTotals(raw_events=3, calls=3)


async def test_retention_call_pending_in_part_stays_whole(server: RetentionHarness) -> None:
    """One of its legs is yet to be read by a destination."""
    for call, call_to in ((1, QUEUE), (2, BOB), (1, BOB), (3, BOB)):
        await server.report(call, 100, call_to=call_to)
    await server.appdb.destinations.add("CRM", DestinationSpec(url="https://crm.example.com"), None, after=2, now_us=1)
    assert await server.forget(90) == RetentionTotals(raw_events=1, calls=1)
    assert await server.seqs() == [1, 3, 4]
    assert await kept_calls(server) == [call_id(1), call_id(3)]


async def test_retention_call_with_many_deliveries_stays(server: RetentionHarness) -> None:
    """However many of its events were delivered before."""
    await server.report(1, 100)
    await server.report(2, 0)
    destination, _ = await server.appdb.destinations.add(
        "CRM", DestinationSpec(url="https://crm.example.com"), None, after=9, now_us=1
    )
    for n in range(CALL_DELIVERIES_MAX + 1):
        waiting = NewDelivery(
            notification_id=f"{n}", seq=1, call=(SN, call_id(1)), body=b"{}", due_at=1, pending_since=1
        )
        await server.appdb.deliveries.add(destination.destination_id, waiting)
    rows = await server.appdb._database.rows("SELECT max(delivery_id) FROM deliveries")
    await server.appdb._database.write("UPDATE deliveries SET state = 'delivered' WHERE delivery_id < ?", rows[0])
    assert await server.forget(90) == RetentionTotals()
    await server.appdb._database.write("UPDATE deliveries SET state = 'delivered'")
    assert await server.forget(90) == RetentionTotals(raw_events=1, calls=1)


async def test_retention_unprocessed_events_stay(server: RetentionHarness) -> None:
    """The hub was down: new events may belong to an old call."""
    await server.report(1, 100)
    await server.report(2, 100)
    await server.append(YEASTAR.format(details(STARTED_AT, call_id=call_id(3)), SN, "p-2026"), 100, SN)
    await server.append(YEASTAR.format(details(STARTED_AT, call_id=call_id(4)), SN, "p-2026"), 0, SN)
    assert await server.forget(90) == RetentionTotals(raw_events=2, calls=2)
    assert await server.seqs() == [3, 4]


async def test_retention_waits_for_a_rebuild(server: RetentionHarness) -> None:
    """The new store would contain deleted calls without events."""
    await server.report(1, 100)
    await server.report(2, 0)
    with file_lock(server.directory / LOCK_NAME):
        assert await server.forget(90) == RetentionTotals()
    assert await server.forget(90) == RetentionTotals(raw_events=1, calls=1)


async def test_retention_last_event_stays(server: RetentionHarness) -> None:
    """Later numbers continue after it, and the store is not ahead of the ledger."""
    await server.report(1, 500)
    await server.report(2, 500)
    assert await server.forget(90) == RetentionTotals(raw_events=1, calls=1)
    assert await server.seqs() == [2]
    assert await server.report(3, 0) == 4
    assert await kept_calls(server) == [call_id(2), call_id(3)]


async def test_retention_interrupted_cycle_is_completed_by_the_next(
    server: RetentionHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the notes cannot be deleted now, the events stay: by them the next cycle finds the notes."""
    await server.report(1, 100)
    await server.report(2, 0)
    await server.appdb.notes.write(SN, call_id(1), "calls back", "", author="Alice", now_us=1)

    def fail(_calls: Sequence[tuple[str, str]]) -> None:
        raise Unavailable("the disk is full", hint="free disk space")

    with monkeypatch.context() as patched:
        patched.setattr(server.appdb.notes, "delete_for_calls", fail)
        with pytest.raises(Unavailable):
            await server.forget(90)
    assert await server.seqs() == [1, 2]
    assert await server.forget(90) == RetentionTotals(raw_events=1)
    assert await server.appdb.notes.history(SN, call_id(1)) == []


async def test_retention_interrupted_cycle_is_in_the_audit_log(
    server: RetentionHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what was deleted."""
    monkeypatch.setattr(retention, "SLICE_RAW_EVENTS", 1)
    for number in range(3):
        await server.report(number, 100 if number < 2 else 0)
    forget, times = server.ledger.delete, 0

    async def fail_at_the_second(seqs: Sequence[int]) -> None:
        nonlocal times
        times += 1
        if times == 2:
            raise Unavailable("the disk is full", hint="free disk space")
        await forget(seqs)

    monkeypatch.setattr(server.ledger, "delete", fail_at_the_second)
    with pytest.raises(Unavailable):
        await server.forget(90)
    (noted, *_) = await server.appdb.audit.latest(5)
    assert noted.action == "deleted expired calls: 2, raw events: 1"


@pytest.mark.parametrize("via", ["backfill", "import"])
async def test_retention_old_rows_expire_by_the_time_of_their_call(server: RetentionHarness, via: str) -> None:
    """A gap that was filled late, or a file of last year: the next cycle deletes what it had deleted in time."""
    await server.report(1, 0, via=via, call_age=91)
    await server.report(2, 0, via=via, call_age=89)
    await server.report(3, 0, call_age=91)
    await server.report(4, 0)
    assert await server.forget(90) == RetentionTotals(raw_events=1, calls=1)
    assert await kept_calls(server) == [call_id(2), call_id(3), call_id(4)]


async def test_retention_old_rows_of_a_pbx_with_a_wrong_clock_stay(server: RetentionHarness) -> None:
    """Until they expire by the time when they were received."""
    await server.report(1, 0, via="backfill")
    await server.report(2, 0, via="backfill", sn=OTHER_SN)
    await server.report(3, 91, via="backfill")
    await server.report(4, 0, call_age=0)
    await server.appdb.alarms.raise_alarm(SN, "clock", "its calls ended a year ago", hint="set its clock", now_us=1)
    assert await server.forget(90) == RetentionTotals(raw_events=2, calls=2)
    assert await kept_calls(server) == [call_id(1), call_id(4)]


@pytest.mark.parametrize("kind", ["clock", "skew"])
async def test_retention_old_rows_stay_after_a_wrong_clock_was_set_right(
    server: RetentionHarness, kind: AlarmKind
) -> None:
    """What was received while the clock was wrong, and some hours before and after, when that was not known yet, or
    when calls from that time were fetched. A back-fill of old calls at another time is deleted.
    """
    await server.report(1, 9, via="backfill", call_age=9_000)
    await server.report(2, 6, via="backfill", call_age=9_000)
    await server.report(3, 5, via="backfill", call_age=9_000)
    await server.report(4, 4, via="backfill", call_age=9_000)
    await server.report(5, 1, via="backfill", call_age=9_000)
    await server.report(6, 0, call_age=0)
    began_at = server.clock.microseconds() - 5 * DAY_MICROSECONDS - DAY_MICROSECONDS // 2
    await server.appdb.alarms.raise_alarm(SN, kind, "its calls ended years ago", hint="set it", now_us=began_at)
    await server.appdb.alarms.end(SN, kind, now_us=began_at + DAY_MICROSECONDS)
    assert await server.forget(90) == RetentionTotals(raw_events=2, calls=2)
    assert await kept_calls(server) == [call_id(number) for number in (2, 3, 4, 6)]


async def test_retention_override_applies_to_the_history_of_a_further_serial_number(
    server: RetentionHarness,
) -> None:
    """Longer or shorter; also of a serial number whose PBX was joined in turn."""
    await server.appdb.add_pbx(name="first", sn="FIRST", secret="0123456789", now_us=1)
    for number, sn in enumerate(("FIRST", OTHER_SN, SN)):
        await server.report(number, 100, sn=sn)
    await server.report(3, 0)
    await server.appdb.remove_pbx("first")
    await server.appdb.serial_numbers.add(OTHER_SN, "FIRST")
    await server.appdb.remove_pbx("branch")
    await server.appdb.serial_numbers.add(SN, OTHER_SN)
    await server.publish()
    await server.appdb.retention_overrides.put(SN, 120)
    assert await server.forget(90) == RetentionTotals()
    await server.appdb.retention_overrides.put(SN, 30)
    assert await server.forget(0) == RetentionTotals(raw_events=3, calls=3)
    assert await server.seqs() == [4]


async def test_retention_call_with_an_old_event_and_an_old_row_goes_with_both(server: RetentionHarness) -> None:
    """The row replaced the event in the store; the ledger has both."""
    await server.report(1, 100)
    await server.report(2, 0, call_age=0)
    await server.report(1, 0, via="backfill", status="NO ANSWER")
    await server.report(1, 0, via="backfill", call_to=QUEUE)
    await server.report(3, 0, call_age=0)
    assert await server.forget(90) == RetentionTotals(raw_events=3, calls=1)
    assert await server.seqs() == [2, 5]
    assert await kept_calls(server) == [call_id(2), call_id(3)]


async def test_retention_old_rows_pending_for_a_destination_stay(server: RetentionHarness) -> None:
    await server.report(1, 0, via="backfill")
    await server.report(2, 0, via="backfill")
    await server.report(3, 0)
    await server.appdb.destinations.add("CRM", DestinationSpec(url="https://crm.example.com"), None, after=1, now_us=1)
    assert await server.forget(90) == RetentionTotals(raw_events=1, calls=1)
    assert await kept_calls(server) == [call_id(2), call_id(3)]


async def test_retention_entries_stay_until_destinations_have_followed_them(server: RetentionHarness) -> None:
    """A database that cannot be reached for days deletes the calls afterwards; their raw events are gone at once."""
    spec = DestinationSpec(url="http://127.0.0.1:1/", allow_private=True)
    destination, _secret = await server.appdb.destinations.add("BI", spec, "s" * 32, after=1_000, now_us=1)
    await server.appdb.store_positions.report_follower(destination.destination_id, 0)
    for call, age in enumerate((100, 80, 60, 1)):
        await server.report(call, age)
    for keep_days in (90, 70, 50):
        await server.forget(keep_days)
    entries = await list_forgotten(server)
    assert [call.call_id for entry in entries.values() for call in entry.calls] == [call_id(call) for call in range(3)]
    assert await server.seqs() == [4]
    await server.appdb.store_positions.report_follower(destination.destination_id, sorted(entries)[1])
    await server.forget(50)
    assert list(await list_forgotten(server)) == sorted(entries)[2:]


async def list_forgotten(server: RetentionHarness) -> dict[int, Forgotten]:
    """Return the entries about deleted calls that the ledger has, by their numbers."""
    controls = {event.seq: decode_control(event) for event in await server.ledger.control_entries(0, 100)}
    return {seq: entry for seq, entry in controls.items() if isinstance(entry, Forgotten)}


async def test_retention_deleted_event_received_again_is_not_stored(server: RetentionHarness) -> None:
    """It is recognised however often it comes, and nothing of it is sent on."""
    await server.report(1, 100)
    await server.report(2, 0)
    (captured,) = await server.ledger.get([1])
    await server.forget(90)
    for _ in range(2):
        assert await server.ledger.append([captured]) == [AppendResult(0, "deleted")]
    assert await server.projector.catch_up() == 3
    assert await kept_calls(server) == [call_id(2)]


async def test_retention_call_with_events_in_several_batches_counts_once(
    server: RetentionHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "SLICE_RAW_EVENTS", 2)
    for status in ("ANSWERED", "NO ANSWER", "BUSY", "FAILED", "ANSWERED"):
        await server.report(1, 100, status=status)
    await server.report(2, 0)
    assert await server.forget(90) == RetentionTotals(raw_events=5, calls=1)
    (noted, *_) = await server.appdb.audit.latest(5)
    assert noted.action == "deleted expired calls: 1, raw events: 5"


async def test_retention_event_that_parses_now_leaves_the_quarantine(server: RetentionHarness) -> None:
    """An entry from before an upgrade goes with its event."""
    leg = details(STARTED_AT, call_id=call_id(1))
    await server.append(YEASTAR.format(leg, SN, "p-2026"), 100, SN)
    await Projector(ledger=server.ledger, store=server.store, dialects={}, clock=SystemClock()).catch_up()
    await server.report(2, 0)
    assert [entry.seq for entry in await server.store.quarantine(10)] == [1]
    assert await server.forget(90) == RetentionTotals(raw_events=1)
    assert await server.store.quarantine(10) == []


async def test_retention_deleted_events_of_an_unregistered_serial_number_are_counted_no_longer(
    server: RetentionHarness,
) -> None:
    """Those that are kept of it count as before."""
    for call, age in ((1, 100), (2, 100), (3, 10)):
        leg = details(STARTED_AT, call_id=call_id(call))
        await server.append(YEASTAR.format(leg, "STANDBY", "p-2026"), age, SN, UNREGISTERED)
    leg = details(STARTED_AT, call_id=call_id(5))
    await server.append(YEASTAR.format(leg, "STANDBY", "p-2026"), 100, SN, UNREGISTERED, dialect="of a newer version")
    await server.report(4, 0)
    await server.ledger.add_counts({CounterKey("unregistered", "STANDBY", SN): 3}, 1)
    assert await server.forget(90) == RetentionTotals(raw_events=3)
    assert await server.forget(90) == RetentionTotals()
    assert [(counter.sn, counter.count) for counter in await server.ledger.counters()] == [("STANDBY", 1)]
    assert len(await server.store.quarantine(10)) == 1


async def test_retention_waits_for_a_rebuilt_store_to_be_installed(server: RetentionHarness) -> None:
    """It has the old calls, and would bring them back."""
    await server.report(1, 100)
    await server.report(2, 0)
    config = Config(data=server.directory)
    await (await open_store(rebuilt_store_path(config))).close()
    assert await server.forget(90) == RetentionTotals()
    rebuilt_store_path(config).unlink()
    assert await server.forget(90) == RetentionTotals(raw_events=1, calls=1)
