"""Facts of PBXs as control entries: stored and read, published once by any number of processes, applied in order."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onhook.cdr.call_assembly import PbxFacts
from onhook.cdr.number_plan import NumberPlan
from onhook.ledger.contract import CONTROL_DIALECT, RawEvent
from onhook.ledger.control_entries import (
    ControlEntry,
    FactsChanged,
    FactsHistory,
    ReRead,
    StoredFacts,
    decode_control,
    encode_control,
    find_changes,
    list_facts,
)
from onhook.ledger.facts_publisher import FactsPublisher
from onhook.ledger.sqlite import SqliteLedger
from onhook.lib.clock import SystemClock
from onhook.lib.errors import Unavailable
from tests.ledger.entries import NOW, entry

OFFICE = PbxFacts(
    sn="Office",
    name="Head office",
    zone=ZoneInfo("Europe/Berlin"),
    number_plan=NumberPlan(extension_digits_max=4, queue=("7000-7999",)),
    encoding="gbk",
    signers=(frozenset({"BRANCH", "OFFICE"}),),
    removed_sns={"OLD": 17},
)
BRANCH = PbxFacts(sn="BRANCH", name="Branch")
ALL_FACTS = {"OFFICE": OFFICE, "STANDBY": OFFICE, "BRANCH": BRANCH}


class Facts:
    """Facts that a test changes, and publishers of them."""

    def __init__(self, ledger: SqliteLedger) -> None:
        self.ledger = ledger
        self.current: Mapping[str, PbxFacts] = ALL_FACTS

    async def read(self) -> Mapping[str, PbxFacts]:
        return self.current

    def publisher(self) -> FactsPublisher:
        return FactsPublisher(self.ledger, self.read, SystemClock())

    async def published(self) -> Mapping[str, PbxFacts]:
        """Return the facts as a store has them at the end of the ledger."""
        history = FactsHistory(0)
        entries = [(item.seq, decode_control(item)) for item in await self.ledger.control_entries(0, 1_000)]
        history.load([(seq, item) for seq, item in entries if isinstance(item, FactsChanged)], 2**62)
        return history.facts


@pytest.fixture
async def facts(tmp_path: Path) -> AsyncIterator[Facts]:
    ledger = SqliteLedger(tmp_path / "ledger.db")
    yield Facts(ledger)
    await ledger.close()


def raw_event(body: bytes) -> RawEvent:
    return RawEvent(
        seq=1, sn="", dialect=CONTROL_DIALECT, via=CONTROL_DIALECT, received_at=NOW, key=b"0" * 16, body=body
    )


def test_control_entry_is_read_as_it_was_written() -> None:
    items: list[ControlEntry] = [*list_facts(ALL_FACTS).values(), ReRead(), ReRead(seqs=(1, 2))]
    for item in items:
        assert decode_control(raw_event(encode_control(item))) == item


@pytest.mark.parametrize("body", [b"", b"{}", b'{"kind":"later"}', b"\xff", b'{"kind":"facts_changed"}'])
def test_control_entry_of_a_newer_version_is_unavailable(body: bytes) -> None:
    with pytest.raises(Unavailable, match="entry 1 of the ledger cannot be read"):
        decode_control(raw_event(body))


def test_facts_in_a_zone_that_is_not_known_here_are_unavailable() -> None:
    history = FactsHistory(0)
    with pytest.raises(Unavailable, match="Mars/Base"):
        history.load([(1, FactsChanged(sn="A", sns=("A",), facts=StoredFacts(zone="Mars/Base")))], 1)


async def test_publish_appends_what_has_changed(facts: Facts) -> None:
    publisher = facts.publisher()
    last_seq = await publisher.publish()
    assert await facts.published() == ALL_FACTS
    assert await publisher.publish() == await facts.publisher().publish() == last_seq
    facts.current = {"OFFICE": OFFICE, "BRANCH": BRANCH, "STANDBY": BRANCH}
    await publisher.publish()
    assert await facts.published() == facts.current
    facts.current = {"BRANCH": BRANCH}
    await facts.publisher().publish()
    assert await facts.published() == facts.current


async def test_publish_two_processes_append_each_change_once(facts: Facts) -> None:
    first, second = facts.publisher(), facts.publisher()
    await first.publish()
    await second.publish()
    facts.current = {"BRANCH": PbxFacts(sn="BRANCH", name="Renamed")}
    before = len(await facts.ledger.control_entries(0, 100))
    assert await second.publish() == await first.publish()
    assert len(await facts.ledger.control_entries(0, 100)) == before + 2
    assert await facts.published() == facts.current


async def test_publish_of_a_process_that_is_overtaken_brings_nothing_back(facts: Facts) -> None:
    """It read the facts before another process changed and published them."""
    slow = facts.publisher()
    await slow.publish()
    stale = {"BRANCH": PbxFacts(sn="BRANCH", name="stale")}

    async def read_and_be_overtaken() -> Mapping[str, PbxFacts]:
        if facts.current is ALL_FACTS:
            facts.current = {"BRANCH": PbxFacts(sn="BRANCH", name="newest")}
            await facts.publisher().publish()
            return stale
        return facts.current

    slow._read_facts = read_and_be_overtaken
    await slow.publish()
    assert await facts.published() == facts.current


async def test_prepare_publishes_the_facts_of_a_new_pbx_first(facts: Facts) -> None:
    """Once: then nothing is awaited."""
    publisher = facts.publisher()
    preparation = publisher.prepare([entry(1, sn="Branch")])
    assert preparation is not None
    await preparation
    assert await facts.published() == ALL_FACTS
    assert publisher.prepare([entry(2, sn="Branch")]) is None


async def test_prepare_of_a_pbx_that_the_ledger_knows_needs_no_database(facts: Facts) -> None:
    await facts.publisher().publish()
    publisher = facts.publisher()

    async def fail() -> Mapping[str, PbxFacts]:
        raise Unavailable("the database is locked")

    publisher._read_facts = fail
    preparation = publisher.prepare([entry(1, sn="branch")])
    assert preparation is not None
    await preparation
    unknown = publisher.prepare([entry(1, sn="other")])
    assert unknown is not None
    with pytest.raises(Unavailable):
        await unknown


async def test_publish_into_an_older_ledger_has_its_events_read_by_the_first_facts(facts: Facts) -> None:
    await facts.ledger.append([entry(1)])
    await facts.publisher().publish()
    entries = [decode_control(item) for item in await facts.ledger.control_entries(0, 10)]
    assert entries[-1] == ReRead()
    facts.current = {"BRANCH": BRANCH}
    await facts.publisher().publish()
    assert sum(item == ReRead() for item in map(decode_control, await facts.ledger.control_entries(0, 10))) == 1


SNS = st.sampled_from(["A", "B", "C", "D"])


@given(st.lists(st.dictionaries(SNS, SNS, max_size=4), max_size=6))
def test_facts_after_any_changes_are_the_last_ones(owners_list: list[dict[str, str]]) -> None:
    """Whichever PBX has which serial numbers, and in whichever order that changes."""
    history, published = FactsHistory(0), dict[str, FactsChanged]()
    for seq, owners in enumerate(owners_list, 1):
        current = {sn: PbxFacts(sn=owner, name=f"{owner}{seq % 2}") for sn, owner in owners.items()}
        for change in find_changes(published, current):
            published[change.sn] = change
            history.advance(seq, change)
        assert history.facts == current
