"""Projection from the ledger to the store, exactly once."""

import asyncio
import json
import logging
import random
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onhook.cdr.call_assembly import PbxFacts
from onhook.cdr.identity import CallKey
from onhook.cdr.number_plan import parse_number_plan
from onhook.cdr.record import Call
from onhook.cdr.record_filter import RecordFilter
from onhook.ledger.contract import LedgerEntry
from onhook.ledger.facts_publisher import FactsPublisher
from onhook.ledger.sqlite import SqliteLedger
from onhook.lib.clock import SystemClock
from onhook.lib.errors import NotFound, Unavailable
from onhook.pbx.dialect import Dialects
from onhook.pbx.yeastar.payload import Yeastar
from onhook.projector.projector import Projector
from onhook.store.contract import Store, StoreBatch
from onhook.store.duckdb import open_store
from tests.counts import examples

SN = "3651XXXXXXXX"
YEASTAR = Yeastar()
DIALECTS: Dialects = {"yeastar": YEASTAR}
RECEIVED_AT = 1_782_844_800_000_000


def event(number: int, call_to: str, sn: str = SN, **changes: Any) -> bytes:
    """Return the event of one leg: call `number`, a minute after the previous call, in a zone of UTC+3."""
    members = {
        "call_id": f"{1782844637 + 60 * number}.{number}",
        "time_start": f"2026-06-30 {21 + (37 + number) // 60:02}:{(37 + number) % 60:02}:17",
        "call_from": "5550199",
        "call_to": call_to,
        "call_duration": 40,
        "talk_duration": 30,
        "status": "ANSWERED",
        "type": "Inbound",
    }
    return json.dumps({"type": 30012, "sn": sn, "msg": json.dumps(members | changes)}).encode()


def entry(body: bytes, sn: str = SN, via: str = "webhook") -> LedgerEntry:
    """Return the ledger entry of a body, as stored by the intake."""
    return LedgerEntry(
        sn=sn, dialect="yeastar", via=via, received_at=RECEIVED_AT, key=YEASTAR.peek(body).key, body=body
    )


class ProjectorHarness:
    """A ledger, a store and a projector between them."""

    @classmethod
    async def open(cls, folder: Path) -> "ProjectorHarness":
        """Open a harness on real files."""
        return cls(SqliteLedger(folder / "ledger.db"), await open_store(folder / "calls.duckdb"))

    def __init__(self, ledger: SqliteLedger, store: Store, dialects: Dialects = DIALECTS) -> None:
        self.ledger = ledger
        self.store = store
        self.projector = Projector(ledger=ledger, store=store, dialects=dialects, clock=SystemClock())

    async def publish(self, facts: Mapping[str, PbxFacts]) -> None:
        """Append facts to the ledger."""

        async def read_facts() -> Mapping[str, PbxFacts]:
            return facts

        await FactsPublisher(self.ledger, read_facts, SystemClock()).publish()

    async def put_events(self, *bodies: bytes) -> None:
        """Append events to the ledger and project them."""
        await self.ledger.append([entry(body) for body in bodies])
        await self.projector.catch_up()

    async def calls(self) -> list[Call]:
        """Return all calls, the latest first."""
        return list((await self.store.calls(RecordFilter(), 1_000)).data)


@asynccontextmanager
async def open_harness(folder: Path) -> AsyncIterator[ProjectorHarness]:
    """Open a harness on real files; close it afterwards."""
    harness = await ProjectorHarness.open(folder)
    try:
        yield harness
    finally:
        await harness.store.close()
        await harness.ledger.close()


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[ProjectorHarness]:
    """A new harness."""
    async with open_harness(tmp_path) as harness:
        yield harness


async def test_projector_legs_in_several_batches_are_one_call(harness: ProjectorHarness) -> None:
    await harness.put_events(event(0, "1001", time_start="2026-06-30 21:37:27"))
    await harness.put_events(event(0, "6200", call_duration=10, talk_duration=10), event(1, "1002"))
    assert [(call.answered_by, len(call.legs)) for call in await harness.calls()] == [("1002", 1), ("1001", 2)]
    assert (await harness.store.counts()) == {"records": 3, "calls": 2, "quarantined": 0, "position": 3}


async def test_projector_unreadable_event_is_quarantined_without_delaying_others(harness: ProjectorHarness) -> None:
    await harness.put_events(
        b'{"type":30012,"sn":"S","msg":"{broken"}', event(1, "1001", time_start="2026-02-30 10:00:00"), event(2, "1001")
    )
    quarantined = await harness.store.quarantine(10)
    assert [entry.seq for entry in quarantined] == [1, 2]
    assert "2026-02-30" in quarantined[1].reason
    assert len(await harness.calls()) == 1


async def test_retry_after_upgrade_removes_readable_events_from_quarantine(tmp_path: Path) -> None:
    async with open_harness(tmp_path) as harness:
        old_harness = ProjectorHarness(harness.ledger, harness.store, dialects={})
        await old_harness.put_events(event(0, "1001"), b"{broken")
        assert [entry.seq for entry in await harness.store.quarantine(10)] == [1, 2]
        for _ in range(2):
            assert [entry.seq for entry in await harness.projector.retry([1, 2])] == [2]
            assert [entry.seq for entry in await harness.store.quarantine(10)] == [2]
            assert len(await harness.calls()) == 1
        assert await harness.store.position() == await harness.ledger.last_seq() == 4
        with pytest.raises(NotFound):
            await harness.projector.retry([99])


async def test_projector_body_with_one_unreadable_event_is_a_call_and_in_the_quarantine(tmp_path: Path) -> None:
    """Also when it is parsed again; it leaves the quarantine with its calls."""
    body = json.dumps([json.loads(event(0, "1001")), json.loads(event(1, "1002", time_start="soon"))]).encode()
    async with open_harness(tmp_path) as harness:
        await harness.put_events(body, event(2, "1003"), b"{broken")
        for _ in range(2):
            quarantined = await harness.store.quarantine(10)
            assert [entry.seq for entry in quarantined] == [1, 3]
            assert "1 of 2 events" in quarantined[0].reason
            assert "'soon'" in quarantined[0].reason
            assert [call.answered_by for call in await harness.calls()] == ["1003", "1001"]
            assert await harness.projector.find_seqs_without_records(quarantined) == [3]
            assert await harness.projector.retry([1, 3]) == quarantined

        find_remaining = AsyncMock(return_value=[])
        await harness.projector.forget(await harness.ledger.get([1]), find_remaining)
        assert (await harness.store.counts())["quarantined"] == 1


async def test_projector_call_stays_for_an_event_that_is_deleted_later(tmp_path: Path) -> None:
    """A store that is made afterwards has the same quarantine, although it does not see why the call stayed."""
    body = json.dumps([json.loads(event(0, "1001")), json.loads(event(1, "1002", time_start="soon"))]).encode()
    async with open_harness(tmp_path) as harness:
        await harness.put_events(body)

        async def find_remaining(_calls: object) -> Collection[CallKey]:
            await harness.ledger.append([entry(event(0, "1003"))])
            return []

        forgotten = await harness.projector.forget(await harness.ledger.get([1]), find_remaining)
        assert forgotten is not None
        assert (forgotten.entry.calls, forgotten.entry.seqs, forgotten.call_count) == ((), (), 0)
        later = await harness.projector.forget(await harness.ledger.get([2]), AsyncMock(return_value=[]))
        assert later is not None
        assert (later.entry.seqs, later.call_count) == ((2,), 1)
        await harness.ledger.delete(later.entry.seqs)

        store = await open_store(tmp_path / "later.duckdb")
        try:
            later_harness = ProjectorHarness(harness.ledger, store)
            await later_harness.projector.catch_up()
            quarantined = await store.quarantine(10)
            assert quarantined == await harness.store.quarantine(10)
            assert [entry.seq for entry in quarantined] == [1]
            assert await later_harness.calls() == await harness.calls() == []
        finally:
            await store.close()


async def test_projector_parser_error_quarantines_one_event(tmp_path: Path) -> None:
    class FaultyParser(Yeastar):
        """Fails on calls to Bob."""

        def parse(self, body: bytes) -> Any:
            if b"1002" in body:
                raise ZeroDivisionError("call to Bob")
            return super().parse(body)

    async with open_harness(tmp_path) as harness:
        await ProjectorHarness(harness.ledger, harness.store, {"yeastar": FaultyParser()}).put_events(
            event(0, "1002"), event(1, "1001")
        )
        assert "ZeroDivisionError: call to Bob" in (await harness.store.quarantine(10))[0].reason
        assert len(await harness.calls()) == 1


async def test_projector_later_report_replaces_leg(harness: ProjectorHarness) -> None:
    await harness.put_events(event(0, "1001"))
    await harness.put_events(event(0, "1001", talk_duration=31))
    (call,) = await harness.calls()
    assert [(leg.talk_duration, leg.seq) for leg in call.legs] == [(31, 2)]


async def test_projector_unregistered_sender_is_quarantined_until_its_serial_number_is_the_pbx_s(
    harness: ProjectorHarness,
) -> None:
    """With the command that adds it; then its calls are those of the PBX, as if they had come by webhook."""
    facts = {SN: PbxFacts(sn=SN, name="head office")}
    projector = harness.projector
    await harness.ledger.append([entry(event(0, "1001", "other"), via="unregistered"), entry(event(1, "1001"))])
    await harness.publish(facts)
    await projector.catch_up()
    (quarantined,) = await harness.store.quarantine(10)
    assert "onhook pbx change 'head office' --add-sn other" in quarantined.reason
    await harness.publish(dict.fromkeys((SN, "OTHER"), PbxFacts(sn=SN, name="head office")))
    assert await projector.retry([1]) == []
    records = await harness.store.records_after(0, 10)
    assert [(record.sn, record.pbx, record.via) for record in records] == [(SN, "head office", "webhook")] * 2


OFFICE, BRANCH = PbxFacts(sn=SN, name="office"), PbxFacts(sn="BRANCH", name="branch")
AFTER_REMOVAL = "was removed from the PBX 'office'"


@pytest.mark.parametrize(
    ("facts", "signer_sn", "reason"),
    [
        ({"OTHER": OFFICE}, SN, ""),
        ({"OTHER": OFFICE}, SN.lower(), ""),
        ({"OTHER": OFFICE}, "BRANCH", "belongs to the PBX 'office', and a secret of branch signs the event"),
        ({"OTHER": PbxFacts(sn="OTHER", name="other")}, SN, "belongs to the PBX 'other', and a secret of office"),
        ({"OTHER": PbxFacts(sn="OTHER", signers=(frozenset({"OTHER", SN}),))}, SN, ""),
        ({"OTHER": PbxFacts(sn="GONE")}, "GONE", ""),
        ({"OTHER": PbxFacts(sn="GONE")}, SN, "belongs to the PBX 'GONE', and a secret of office signs the event"),
        ({"OTHER": PbxFacts(sn=SN, name="office", removed_sns={"OTHER": RECEIVED_AT})}, SN, AFTER_REMOVAL),
        ({"OTHER": PbxFacts(sn=SN, name="office", removed_sns={"OTHER": RECEIVED_AT + 1})}, SN, ""),
        ({"OTHER": PbxFacts(sn=SN, name="office", removed_sns={"THIRD": RECEIVED_AT})}, SN, ""),
    ],
)
async def test_projector_unregistered_event_is_a_call_only_of_the_pbx_that_signs_it(
    harness: ProjectorHarness, facts: dict[str, PbxFacts], signer_sn: str, reason: str
) -> None:
    """Its PBX owns the serial number, and accepted it when the event arrived; or the owner has, or had, the same
    secret.
    """
    await harness.publish({SN: OFFICE, "BRANCH": BRANCH, **facts})
    await harness.ledger.append([entry(event(0, "1001", "other"), signer_sn, "unregistered")])
    await harness.projector.catch_up()
    quarantined = await harness.store.quarantine(10)
    assert len(await harness.calls()) == 1 - len(quarantined)
    assert [reason in item.reason for item in quarantined] == [True] * bool(reason)


async def test_projector_event_of_a_removed_serial_number_that_was_registered_is_the_pbx_s(
    harness: ProjectorHarness,
) -> None:
    """The device was a PBX of its own when it sent it."""
    await harness.publish({"OTHER": PbxFacts(sn=SN, name="office", removed_sns={"OTHER": RECEIVED_AT})})
    await harness.ledger.append([entry(event(0, "1001", "other"), "other")])
    await harness.projector.catch_up()
    assert [call.sn for call in await harness.calls()] == [SN]


async def test_projector_events_are_read_by_the_facts_before_them(harness: ProjectorHarness) -> None:
    """What is stored stays, but for the name of the PBX, and is joined where the facts say that it belongs to another
    serial number.
    """
    await harness.publish({SN: PbxFacts(sn=SN, name="before", number_plan=parse_number_plan({"ivr": "1001"}))})
    await harness.ledger.append([entry(event(0, "1001"))])
    await harness.publish({SN: PbxFacts(sn=SN, name="after")})
    await harness.ledger.append([entry(event(1, "1001"))])
    await harness.projector.catch_up()
    calls = sorted(await harness.calls(), key=lambda call: call.call_id)
    assert [(call.sn, call.pbx, call.answered_by) for call in calls] == [(SN, "after", ""), (SN, "after", "1001")]
    await harness.publish(dict.fromkeys((SN, "NEW"), PbxFacts(sn="NEW", name="last")))
    await harness.ledger.append([entry(event(2, "1001"))])
    await harness.projector.catch_up()
    records = await harness.store.records_after(0, 10)
    assert [(record.sn, record.pbx) for record in records] == [("NEW", "last")] * 3


class FailingStore:
    """A store whose `put` fails several times, before or after storing."""

    def __init__(self, store: Store, failures: Sequence[str]) -> None:
        self._store = store
        self._failures = list(failures)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def put(self, batch: StoreBatch) -> None:
        """Fail as planned."""
        failure = self._failures.pop(0) if self._failures else ""
        if failure == "before":
            raise Unavailable("the disk is full")
        await self._store.put(batch)
        if failure == "after":
            raise Unavailable("the reply was lost")


@pytest.mark.parametrize("failures", [["before"], ["after"], ["after", "before", "after"]])
async def test_projector_failed_put_is_retried_without_duplicates(
    harness: ProjectorHarness, failures: list[str]
) -> None:
    failing_store: Any = FailingStore(harness.store, failures)
    projector = Projector(ledger=harness.ledger, store=failing_store, dialects=DIALECTS, clock=SystemClock())
    for number in range(len(failures)):
        await harness.ledger.append([entry(event(number, "1001"))])
        with pytest.raises(Unavailable):
            await projector.step()
    await projector.catch_up()
    count = len(failures)
    assert await harness.store.counts() == {"records": count, "calls": count, "quarantined": 0, "position": count}


async def test_projector_failure_is_reported_once_at_begin_and_end(
    harness: ProjectorHarness, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("onhook.projector.projector.RETRY_SECONDS", 0)
    caplog.set_level(logging.INFO, "projector")
    failing_store: Any = FailingStore(harness.store, ["before"] * 3)
    projector = Projector(
        ledger=harness.ledger,
        store=failing_store,
        dialects=DIALECTS,
        clock=SystemClock(),
    )
    await harness.ledger.append([entry(event(0, "1001"))])
    position: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    run_task = asyncio.create_task(projector.run(position.set_result))
    assert await position == 1
    run_task.cancel()
    await asyncio.wait([run_task])
    assert [(line.message, getattr(line, "error", "")) for line in caplog.records] == [
        ("cannot write to the store: events wait in the ledger", "the disk is full"),
        ("projection resumed", ""),
    ]
    assert len(await harness.calls()) == 1


def remove_ledger(folder: Path) -> None:
    """Delete the ledger."""
    for file in folder.glob("ledger.db*"):
        file.unlink()


async def test_projector_store_ahead_of_ledger_is_unavailable(tmp_path: Path) -> None:
    """With an old_harness ledger, new raw events get numbers that the store has already: none may be skipped."""
    async with open_harness(tmp_path) as harness:
        await harness.put_events(*(event(number, "1001") for number in range(3)))
    remove_ledger(tmp_path)
    async with open_harness(tmp_path) as harness:
        with pytest.raises(Unavailable, match="onhook rebuild"):
            await harness.put_events(event(7, "1002"))


async def test_projector_store_of_another_ledger_is_unavailable(tmp_path: Path) -> None:
    """Also where that ledger has as many events: the event at the store's position is another one."""
    async with open_harness(tmp_path) as harness:
        await harness.put_events(*(event(number, "1001") for number in range(3)))
    remove_ledger(tmp_path)
    async with open_harness(tmp_path) as harness:
        await harness.ledger.append([entry(event(number, "1002")) for number in range(3, 9)])
        with pytest.raises(Unavailable, match=r"event 3 differs.*onhook rebuild"):
            await harness.projector.catch_up()
        assert len(await harness.calls()) == 3


async def test_projector_event_at_the_position_was_deleted_goes_on(tmp_path: Path) -> None:
    async with open_harness(tmp_path) as harness:
        await harness.put_events(*(event(number, "1001") for number in range(3)))
        await harness.ledger.append([entry(event(4, "1001"))])
        await harness.ledger.delete([1, 2, 3])
    async with open_harness(tmp_path) as harness:
        await harness.projector.catch_up()
        assert len(await harness.calls()) == 4


LEGS = [
    event(number, call_to, time_start=f"2026-06-30 21:{37 + number}:{17 + second}")
    for number in range(3)
    for second, call_to in enumerate(("6200", "6400", "1001"))
]


@settings(max_examples=examples(15))
@given(st.permutations(LEGS), st.lists(st.sampled_from(LEGS), max_size=9), st.randoms(use_true_random=False))
async def test_projector_any_order_and_repetition_gives_same_calls(
    tmp_path_factory: pytest.TempPathFactory, legs: Sequence[bytes], repeats: Sequence[bytes], rng: random.Random
) -> None:
    """The raw events are shuffled, repeated and split into random batches."""

    def drop_seqs(calls: Sequence[Call]) -> list[Call]:
        replace = msgspec.structs.replace
        return [replace(call, legs=tuple(replace(leg, seq=0) for leg in call.legs)) for call in calls]

    async with (
        open_harness(tmp_path_factory.mktemp("ordered")) as ordered,
        open_harness(tmp_path_factory.mktemp("shuffled")) as shuffled,
    ):
        await ordered.put_events(*LEGS)
        bodies = [*legs, *repeats]
        while bodies:
            count = rng.randint(1, len(bodies))
            await shuffled.put_events(*bodies[:count])
            del bodies[:count]
        assert drop_seqs(await shuffled.calls()) == drop_seqs(await ordered.calls())


async def test_projector_configured_zone_is_used(tmp_path: Path) -> None:
    async with open_harness(tmp_path) as harness:
        facts = PbxFacts(sn=SN, name="berlin", zone=ZoneInfo("Europe/Berlin"))
        await harness.publish({SN: facts})
        await harness.put_events(event(0, "1001", call_id="opaque"))
        (call,) = await harness.calls()
        assert (call.pbx, call.legs[0].utc_offset, call.legs[0].offset_from) == ("berlin", "+02:00", "configured")


@pytest.mark.parametrize("time_start", ["2026-06-30 21:37+03", "2026-06-30 213717.5"])
async def test_projector_event_with_zone_in_time_start_is_quarantined(tmp_path: Path, time_start: str) -> None:
    async with open_harness(tmp_path) as harness:
        await harness.put_events(event(0, "1001", time_start=time_start), event(1, "1002"))
        assert (await harness.store.counts())["quarantined"] == 1


async def test_projector_that_is_stopped_while_it_catches_up_leaves_no_task(harness: ProjectorHarness) -> None:
    """As a rebuild that ends with its process: what is being read ahead would fail when the files are closed."""
    reads_ahead = asyncio.Event()

    class ClosingLedger:
        """A ledger whose second read lasts until it is closed."""

        def __getattr__(self, name: str) -> Any:
            return getattr(harness.ledger, name)

        async def read(self, after_seq: int, limit: int) -> list[Any]:
            if after_seq:
                reads_ahead.set()
                await asyncio.Event().wait()
            return await harness.ledger.read(after_seq, limit)

    await harness.ledger.append([entry(event(0, "1001"))])
    projector = Projector(
        ledger=ClosingLedger(),
        store=harness.store,
        dialects=DIALECTS,
        clock=SystemClock(),
    )
    catching_up = asyncio.create_task(projector.catch_up())
    await asyncio.wait_for(reads_ahead.wait(), 20)
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    catching_up.cancel()
    await asyncio.wait([catching_up])
    assert all(task.done() for task in tasks)


@pytest.mark.parametrize("encoding", ["", "gbk"])
async def test_projector_encoding_of_the_pbx_is_used(tmp_path: Path, encoding: str) -> None:
    """A body in UTF-8 is read as such, whatever is set; without the setting a name in GBK is lost."""
    async with open_harness(tmp_path) as harness:
        await harness.publish({SN: PbxFacts(sn=SN, encoding=encoding)})
        texts = [event(number, "NAME<1001>").decode().replace("NAME", "王小明") for number in (0, 1)]
        await harness.put_events(texts[0].encode("gbk"), texts[1].encode())
        in_utf_8, in_gbk = await harness.calls()
        assert in_utf_8.legs[0].call_to == "王小明<1001>"
        assert (in_gbk.legs[0].call_to == "王小明<1001>") is (encoding == "gbk")


async def test_projector_catches_up_no_further_than_the_ledger(harness: ProjectorHarness) -> None:
    await harness.ledger.append([entry(event(0, "1001"))])
    await harness.projector.catch_up_to(1)
    assert await harness.store.position() == 1
    with pytest.raises(Unavailable, match="no entry 7"):
        await harness.projector.catch_up_to(7)
