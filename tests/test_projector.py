"""From the ledger to the store, exactly once."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onhook.cdr.call_assembly import PbxFacts
from onhook.cdr.record import Call
from onhook.cdr.record_filter import RecordFilter
from onhook.ledger.contract import LedgerEntry
from onhook.ledger.sqlite import SqliteLedger
from onhook.lib.errors import NotFound, Unavailable
from onhook.pbx.dialect import Dialects
from onhook.pbx.yeastar.payload import Yeastar
from onhook.projector import Projector
from onhook.store.contract import Store, StoreBatch
from onhook.store.duckdb import open_store

SN = "3651XXXXXXXX"
YEASTAR = Yeastar()
DIALECTS: Dialects = {"yeastar": YEASTAR}
RECEIVED_AT = 1_782_844_800_000_000


def event(number: int, call_to: str, **changes: Any) -> bytes:
    """The event of one leg: call `number`, a minute after the one before, in a zone of UTC+3."""
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
    return json.dumps({"type": 30012, "sn": SN, "msg": json.dumps(members | changes)}).encode()


def entry(body: bytes) -> LedgerEntry:
    """A body as intake would have kept it."""
    return LedgerEntry(
        sn=SN, dialect="yeastar", via="webhook", received_at=RECEIVED_AT, key=YEASTAR.peek(body).key, body=body
    )


class ProjectorHarness:
    """A ledger, a store and a projector between them."""

    @classmethod
    async def open(cls, folder: Path) -> "ProjectorHarness":
        """On real files."""
        return cls(SqliteLedger(folder / "ledger.db"), await open_store(folder / "calls.duckdb"))

    def __init__(self, ledger: SqliteLedger, store: Store, dialects: Dialects = DIALECTS) -> None:
        self.ledger = ledger
        self.store = store
        self.projector = Projector(
            ledger=ledger, store=store, dialects=dialects, get_facts=lambda sn: PbxFacts(name="office")
        )

    async def put_events(self, *bodies: bytes) -> None:
        """The PBX sends these, and they are read."""
        await self.ledger.append([entry(body) for body in bodies])
        await self.projector.catch_up()

    async def calls(self) -> list[Call]:
        """All calls, the latest first."""
        return list((await self.store.calls(RecordFilter(), 1_000)).data)


@asynccontextmanager
async def open_harness(folder: Path) -> AsyncIterator[ProjectorHarness]:
    """A harness of its own, on real files."""
    harness = await ProjectorHarness.open(folder)
    try:
        yield harness
    finally:
        await harness.store.close()
        await harness.ledger.close()


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[ProjectorHarness]:
    """One that is new."""
    async with open_harness(tmp_path) as one:
        yield one


async def test_legs_in_any_batches_are_one_call(harness: ProjectorHarness) -> None:
    """A leg that comes in a later stretch of the ledger joins the call that is there."""
    await harness.put_events(event(0, "1001", time_start="2026-06-30 21:37:27"))
    await harness.put_events(event(0, "6200", call_duration=10, talk_duration=10), event(1, "1002"))
    assert [(call.answered_by, len(call.legs)) for call in await harness.calls()] == [("1002", 1), ("1001", 2)]
    assert (await harness.store.counts()) == {"records": 3, "calls": 2, "quarantined": 0, "position": 3}


async def test_what_cannot_be_read_is_kept_aside_and_holds_up_nothing(harness: ProjectorHarness) -> None:
    """The quarantine says which report and why; the reports after it are read."""
    await harness.put_events(
        b'{"type":30012,"sn":"S","msg":"{broken"}', event(1, "1001", time_start="2026-02-30 10:00:00"), event(2, "1001")
    )
    quarantined = await harness.store.quarantine(10)
    assert [one.seq for one in quarantined] == [1, 2]
    assert "2026-02-30" in quarantined[1].reason
    assert len(await harness.calls()) == 1


async def test_after_an_upgrade_the_quarantine_is_read_again(tmp_path: Path) -> None:
    """A report that an earlier version could not read becomes a call, once; the others stay."""
    async with open_harness(tmp_path) as harness:
        older = ProjectorHarness(harness.ledger, harness.store, dialects={})
        await older.put_events(event(0, "1001"), b"{broken")
        assert [one.seq for one in await harness.store.quarantine(10)] == [1, 2]
        for _ in range(2):
            assert [one.seq for one in await harness.projector.retry([1, 2])] == [2]
            assert [one.seq for one in await harness.store.quarantine(10)] == [2]
            assert len(await harness.calls()) == 1
        assert await harness.store.position() == 2
        with pytest.raises(NotFound):
            await harness.projector.retry([99])


async def test_a_reader_that_fails_on_one_report_goes_on_with_the_next(tmp_path: Path) -> None:
    """A fault in a dialect is one report's misfortune, said in its reason."""

    class Faulty(Yeastar):
        """Fails on Bob."""

        def parse(self, body: bytes) -> Any:
            if b"1002" in body:
                raise ZeroDivisionError("at Bob")
            return super().parse(body)

    async with open_harness(tmp_path) as harness:
        await ProjectorHarness(harness.ledger, harness.store, {"yeastar": Faulty()}).put_events(
            event(0, "1002"), event(1, "1001")
        )
        assert "ZeroDivisionError: at Bob" in (await harness.store.quarantine(10))[0].reason
        assert len(await harness.calls()) == 1


async def test_a_later_report_of_a_leg_replaces_it(harness: ProjectorHarness) -> None:
    """Rule 2: the number of the report that says it goes with it."""
    await harness.put_events(event(0, "1001"))
    await harness.put_events(event(0, "1001", talk_duration=31))
    (call,) = await harness.calls()
    assert [(leg.talk_duration, leg.seq) for leg in call.legs] == [(31, 2)]


class Failing:
    """A store whose `put` fails a number of times, before or after it has put."""

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
            raise Unavailable("the answer got lost")


@pytest.mark.parametrize("failures", [["before"], ["after"], ["after", "before", "after"]])
async def test_a_put_that_fails_before_or_after_is_repeated_without_harm(
    harness: ProjectorHarness, failures: list[str]
) -> None:
    """Whether or not the store had kept it, trying again gives each call once."""
    failing: Any = Failing(harness.store, failures)
    projector = Projector(ledger=harness.ledger, store=failing, dialects=DIALECTS, get_facts=lambda sn: PbxFacts())
    for number in range(len(failures)):
        await harness.ledger.append([entry(event(number, "1001"))])
        with pytest.raises(Unavailable):
            await projector.step()
    await projector.catch_up()
    count = len(failures)
    assert await harness.store.counts() == {"records": count, "calls": count, "quarantined": 0, "position": count}


async def test_trouble_is_told_once_when_it_begins_and_once_when_it_ends(
    harness: ProjectorHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that fails three times in a row is one trouble; afterwards the call is there."""
    monkeypatch.setattr("onhook.projector.RETRY_SECONDS", 0)
    told: list[str] = []
    failing: Any = Failing(harness.store, ["before"] * 3)
    projector = Projector(
        ledger=harness.ledger,
        store=failing,
        dialects=DIALECTS,
        get_facts=lambda sn: PbxFacts(),
        on_error=lambda error: told.append(str(error)),
    )
    await harness.ledger.append([entry(event(0, "1001"))])
    announced: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    running = asyncio.create_task(projector.run(announced.set_result))
    assert await announced == 1
    running.cancel()
    await asyncio.wait([running])
    assert told == ["the disk is full", "None"]
    assert len(await harness.calls()) == 1


def remove_ledger(folder: Path) -> None:
    """As if it had been lost."""
    for file in folder.glob("ledger.db*"):
        file.unlink()


async def test_a_store_that_is_ahead_of_its_ledger_is_named(tmp_path: Path) -> None:
    """With an older ledger put back, new reports would get numbers that the store thinks it has: nothing is skipped."""
    async with open_harness(tmp_path) as harness:
        await harness.put_events(*(event(number, "1001") for number in range(3)))
    remove_ledger(tmp_path)
    async with open_harness(tmp_path) as harness:
        with pytest.raises(Unavailable, match="onhook rebuild"):
            await harness.put_events(event(7, "1002"))


LEGS = [
    event(number, call_to, time_start=f"2026-06-30 21:{37 + number}:{17 + second}")
    for number in range(3)
    for second, call_to in enumerate(("6200", "6400", "1001"))
]


@settings(max_examples=15)
@given(st.permutations(LEGS), st.lists(st.sampled_from(LEGS), max_size=9), st.randoms(use_true_random=False))
async def test_any_order_and_repetition_gives_the_same_calls(
    tmp_path_factory: pytest.TempPathFactory, legs: Sequence[bytes], repeats: Sequence[bytes], chance: random.Random
) -> None:
    """However reports are shuffled, doubled and cut into stretches, the calls are those of the tidy harness."""

    def without_numbers(calls: Sequence[Call]) -> list[Call]:
        replace = msgspec.structs.replace
        return [replace(call, legs=tuple(replace(leg, seq=0) for leg in call.legs)) for call in calls]

    async with (
        open_harness(tmp_path_factory.mktemp("tidy")) as tidy,
        open_harness(tmp_path_factory.mktemp("wild")) as wild,
    ):
        await tidy.put_events(*LEGS)
        bodies = [*legs, *repeats]
        while bodies:
            count = chance.randint(1, len(bodies))
            await wild.put_events(*bodies[:count])
            del bodies[:count]
        assert without_numbers(await wild.calls()) == without_numbers(await tidy.calls())


async def test_a_zone_that_was_configured_is_used(tmp_path: Path) -> None:
    """What we were told of a PBX reaches the record."""
    async with open_harness(tmp_path) as harness:
        facts = PbxFacts(name="berlin", zone=ZoneInfo("Europe/Berlin"))
        harness.projector = Projector(
            ledger=harness.ledger, store=harness.store, dialects=DIALECTS, get_facts=lambda sn: facts
        )
        await harness.put_events(event(0, "1001", call_id="opaque"))
        (call,) = await harness.calls()
        assert (call.pbx, call.legs[0].utc_offset, call.legs[0].offset_from) == ("berlin", "+02:00", "configured")
