"""Old calls are forgotten whole, with their reports and notes: never what is owed, never more than was asked for."""

from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.deliveries import CALL_DELIVERIES_MAX, NewDelivery
from onhook.appdb.destination_spec import DestinationSpec
from onhook.appdb.pbx_facts import AppDbPbxFacts
from onhook.cdr.record_filter import RecordFilter
from onhook.config import Config
from onhook.ledger.contract import LedgerEntry
from onhook.ledger.sqlite import SqliteLedger
from onhook.lib.clock import SystemClock
from onhook.lib.errors import Unavailable
from onhook.ops import retention
from onhook.ops.instance_lock import file_lock
from onhook.ops.rebuild import LOCK_NAME, rebuilt_store_path
from onhook.ops.retention import DAY_MICROSECONDS, Retention, RetentionTotals
from onhook.pbx.registry import dialects
from onhook.projector import Projector
from onhook.store.duckdb import DuckDbStore, open_store
from tests.factories import BOB, QUEUE, SN, STARTED_AT, details

OTHER_SN = "3699OTHER"
YEASTAR = dialects()["yeastar"]


class House:
    """A ledger, a store, settings, and what goes between them; ages are in days before now."""

    def __init__(self, directory: Path, ledger: SqliteLedger, appdb: AppDb, store: DuckDbStore) -> None:
        self.directory = directory
        self.ledger = ledger
        self.store = store
        self.appdb = appdb
        self.projector = self.projector_into(store)
        self.clock = SystemClock()
        self.keys = 0

    def projector_into(self, store: DuckDbStore) -> Projector:
        facts = AppDbPbxFacts(self.appdb)
        return Projector(ledger=self.ledger, store=store, dialects=dialects(), get_facts=facts)

    async def report(self, call: int, age: int, *, sn: str = SN, call_to: str = BOB, status: str = "ANSWERED") -> int:
        """One leg of a call by its number, received so many days ago; the number of the report."""
        leg = details(STARTED_AT + timedelta(minutes=call), call_id=call_id(call), call_to=call_to, status=status)
        return await self.keep(YEASTAR.format(leg, sn, "p-2026"), age, sn)

    async def keep(self, body: bytes, age: int, sn: str = SN) -> int:
        seq = await self.append(body, age, sn)
        await self.projector.catch_up()
        return seq

    async def append(self, body: bytes, age: int, sn: str) -> int:
        self.keys += 1
        entry = LedgerEntry(
            sn=sn, dialect="yeastar", via="webhook", key=self.keys.to_bytes(16, "big"), body=body,
            received_at=self.clock.microseconds() - age * DAY_MICROSECONDS - 1,
        )  # fmt: skip
        (appended,) = await self.ledger.append([entry])
        return appended.seq

    async def forget(self, keep_days: int = 0) -> RetentionTotals:
        config = Config(data=self.directory, keep_days=keep_days)
        return await Retention(
            config=config, appdb=self.appdb, ledger=self.ledger, projector=self.projector, clock=self.clock
        ).run_cycle()

    async def seqs(self) -> list[int]:
        return [one.seq for one in await self.ledger.read(0, 1_000)]


def call_id(number: int) -> str:
    return f"{int(STARTED_AT.timestamp()) + 60 * number}.{number}"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[House]:
    ledger, store = SqliteLedger(tmp_path / "ledger.db"), await open_store(tmp_path / "calls.duckdb")
    with closing(AppDb(tmp_path / "onhook.db")) as appdb:
        for name, sn in (("office", SN), ("branch", OTHER_SN)):
            appdb.add_pbx(name=name, sn=sn, secret="0123456789", now_us=1)
        yield House(tmp_path, ledger, appdb, store)
    await store.close()
    await ledger.close()


async def kept_calls(server: House) -> Sequence[str]:
    """The ids of the calls that are kept: the same in a store that is made anew from the ledger."""
    again = await open_store(server.directory / f"again-{server.keys}.duckdb")
    await server.projector_into(again).catch_up()
    found = [(await store.calls(RecordFilter(), 1_000)).data for store in (server.store, again)]
    await again.close()
    assert found[0] == found[1]
    return sorted(one.call_id for one in found[0])


async def test_nothing_is_deleted_unless_somebody_says_so(server: House) -> None:
    """However old it is."""
    await server.report(1, 5_000)
    await server.report(2, 0)
    assert await server.forget() == RetentionTotals()
    assert await server.seqs() == [1, 2]
    assert server.appdb.audit.latest(10) == []


async def test_old_calls_go_whole(server: House) -> None:
    """With all legs, versions, notes, and what could not be read; younger ones stay; once more changes nothing."""
    await server.report(1, 100, call_to=QUEUE)
    await server.report(1, 100)
    await server.report(1, 95, status="BUSY")
    await server.keep(b'{"type":30012,"sn":"%s"}' % SN.encode(), 100)
    await server.report(2, 89)
    await server.report(3, 0)
    server.appdb.notes.write(SN, call_id(1), "calls back", "", author="Alice", now_us=1)
    server.appdb.notes.write(SN, call_id(2), "stays", "", author="Alice", now_us=1)
    assert await server.forget(90) == RetentionTotals(raw_events=4, calls=1)
    assert await server.seqs() == [5, 6]
    assert await kept_calls(server) == [call_id(2), call_id(3)]
    assert server.appdb.notes.history(SN, call_id(1)) == []
    assert server.appdb.notes.history(SN, call_id(2)) != []
    (line,) = server.appdb.audit.latest(10)
    assert (line.actor, line.action) == ("onhook", "deleted expired calls: 1, raw events: 4")
    assert await server.forget(90) == RetentionTotals()


async def test_a_correction_keeps_its_call_whole(server: House) -> None:
    """A call of which something was said of late stays, with its old legs, and is the same when it is made again."""
    await server.report(1, 100, call_to=QUEUE)
    await server.report(1, 100)
    await server.report(1, 10, status="BUSY")
    await server.report(2, 0)
    assert await server.forget(90) == RetentionTotals()
    assert await server.seqs() == [1, 2, 3, 4]
    assert await kept_calls(server) == [call_id(1), call_id(2)]


async def test_a_pbx_can_have_a_rule_of_its_own(server: House) -> None:
    """Shorter or longer than that of the installation, or for ever."""
    for number, (age, sn) in enumerate(((100, SN), (100, OTHER_SN), (40, SN), (40, OTHER_SN), (0, SN))):
        await server.report(number, age, sn=sn)
    server.appdb.retention_overrides.put(SN, 30)
    assert await server.forget(0) == RetentionTotals(raw_events=2, calls=2)
    assert await server.seqs() == [2, 4, 5]
    server.appdb.retention_overrides.put(OTHER_SN, 0)
    assert await server.forget(30) == RetentionTotals()
    server.appdb.retention_overrides.put(OTHER_SN, None)
    assert await server.forget(90) == RetentionTotals(raw_events=1, calls=1)
    assert await server.seqs() == [4, 5]


async def test_what_is_owed_stays(server: House) -> None:
    """What a subscription has yet to read, paused or not; and an event that waits, until it is taken."""
    for number in range(4):
        await server.report(number, 100)
    one, _ = server.appdb.destinations.add(
        "CRM", DestinationSpec(url="https://crm.example.com"), None, after=2, now_us=1
    )
    waiting = NewDelivery(notification_id="x", seq=1, call=(SN, call_id(0)), body=b"{}", due_at=1, pending_since=1)
    server.appdb.deliveries.add(one.destination_id, waiting)
    server.appdb.destinations.set_state("CRM", "paused")
    assert await server.forget(90) == RetentionTotals(raw_events=1, calls=1)
    assert await server.seqs() == [1, 3, 4]
    server.appdb.destinations.remove("CRM")
    assert await server.forget(90) == RetentionTotals(raw_events=2, calls=2)


async def test_a_call_that_is_owed_in_part_stays_whole(server: House) -> None:
    """One of its legs is yet to be read by a subscription."""
    for call, call_to in ((1, QUEUE), (2, BOB), (1, BOB), (3, BOB)):
        await server.report(call, 100, call_to=call_to)
    server.appdb.destinations.add("CRM", DestinationSpec(url="https://crm.example.com"), None, after=2, now_us=1)
    assert await server.forget(90) == RetentionTotals(raw_events=1, calls=1)
    assert await server.seqs() == [1, 3, 4]
    assert await kept_calls(server) == [call_id(1), call_id(3)]


async def test_what_is_owed_of_a_call_with_many_rows_stays(server: House) -> None:
    """However many of its events went through before."""
    await server.report(1, 100)
    await server.report(2, 0)
    one, _ = server.appdb.destinations.add(
        "CRM", DestinationSpec(url="https://crm.example.com"), None, after=9, now_us=1
    )
    for n in range(CALL_DELIVERIES_MAX + 1):
        waiting = NewDelivery(
            notification_id=f"{n}", seq=1, call=(SN, call_id(1)), body=b"{}", due_at=1, pending_since=1
        )
        server.appdb.deliveries.add(one.destination_id, waiting)
    rows = server.appdb._database.rows("SELECT max(delivery_id) FROM deliveries")
    server.appdb._database.write("UPDATE deliveries SET state = 'delivered' WHERE delivery_id < ?", rows[0])
    assert await server.forget(90) == RetentionTotals()
    server.appdb._database.write("UPDATE deliveries SET state = 'delivered'")
    assert await server.forget(90) == RetentionTotals(raw_events=1, calls=1)


async def test_what_was_not_read_yet_stays(server: House) -> None:
    """The hub was away: what it has to read may belong to an old call."""
    await server.report(1, 100)
    await server.report(2, 100)
    read_until = await server.store.position()
    await server.append(YEASTAR.format(details(STARTED_AT, call_id=call_id(3)), SN, "p-2026"), 100, SN)
    await server.append(YEASTAR.format(details(STARTED_AT, call_id=call_id(4)), SN, "p-2026"), 0, SN)
    assert await server.forget(90) == RetentionTotals(raw_events=2, calls=2)
    assert await server.store.position() == read_until
    assert await server.seqs() == [3, 4]


async def test_nothing_goes_while_the_store_is_made_again(server: House) -> None:
    """What was read for the new one would stand in it with no report behind it."""
    await server.report(1, 100)
    await server.report(2, 0)
    with file_lock(server.directory / LOCK_NAME):
        assert await server.forget(90) == RetentionTotals()
    assert await server.forget(90) == RetentionTotals(raw_events=1, calls=1)


async def test_the_last_report_stays(server: House) -> None:
    """However old: the numbers go on from there, and the store is not ahead of the ledger."""
    await server.report(1, 500)
    await server.report(2, 500)
    assert await server.forget(90) == RetentionTotals(raw_events=1, calls=1)
    assert await server.seqs() == [2]
    assert await server.report(3, 0) == 3
    assert await kept_calls(server) == [call_id(2), call_id(3)]


async def test_a_round_that_is_cut_short_is_done_by_the_next(server: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the notes cannot be deleted now, the reports stay: by them the next round finds whose notes have to go."""
    await server.report(1, 100)
    await server.report(2, 0)
    server.appdb.notes.write(SN, call_id(1), "calls back", "", author="Alice", now_us=1)

    def fail(_calls: Sequence[tuple[str, str]]) -> None:
        raise Unavailable("the disk is full", hint="free disk space")

    with monkeypatch.context() as patched:
        patched.setattr(server.appdb.notes, "delete_for_calls", fail)
        with pytest.raises(Unavailable):
            await server.forget(90)
    assert await server.seqs() == [1, 2]
    assert await server.forget(90) == RetentionTotals(raw_events=1, calls=1)
    assert server.appdb.notes.history(SN, call_id(1)) == []


async def test_what_a_round_deleted_before_it_was_cut_short_is_in_the_audit_log(
    server: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deleted is deleted, however the round ended."""
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
    (noted, *_) = server.appdb.audit.latest(5)
    assert noted.action == "deleted expired calls: 1, raw events: 1"


async def test_a_report_that_can_be_read_by_now_leaves_the_quarantine(server: House) -> None:
    """What stood there from before an upgrade goes with its report."""
    leg = details(STARTED_AT, call_id=call_id(1))
    await server.append(YEASTAR.format(leg, SN, "p-2026"), 100, SN)
    facts = AppDbPbxFacts(server.appdb)
    await Projector(ledger=server.ledger, store=server.store, dialects={}, get_facts=facts).catch_up()
    await server.report(2, 0)
    assert [one.seq for one in await server.store.quarantine(10)] == [1]
    assert await server.forget(90) == RetentionTotals(raw_events=1, calls=1)
    assert await server.store.quarantine(10) == []


async def test_nothing_is_deleted_while_a_store_waits_to_take_its_place(server: House) -> None:
    """It has the old calls, and would bring them back."""
    await server.report(1, 100)
    await server.report(2, 0)
    config = Config(data=server.directory)
    await (await open_store(rebuilt_store_path(config))).close()
    assert await server.forget(90) == RetentionTotals()
    rebuilt_store_path(config).unlink()
    assert await server.forget(90) == RetentionTotals(raw_events=1, calls=1)
