"""Calls whose CDRs came in several raw events: each party, queue and ring group is one row of the store."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from onhook.cdr.call_assembly import PbxFacts
from onhook.cdr.identity import extract_number
from onhook.cdr.record import Call
from onhook.ledger.contract import LedgerEntry
from onhook.ledger.sqlite import SqliteLedger
from onhook.pbx.asterisk import call_collector, files
from onhook.pbx.asterisk.call_collector import MISSING_CDR_SECONDS, AsteriskParserConfig, CallCollector
from onhook.pbx.asterisk.files import collect_calls
from onhook.pbx.asterisk.messages import AmiMessage
from onhook.pbx.asterisk.payload import Asterisk
from onhook.pbx.cdr_archive import ArchivedCall
from onhook.store.duckdb import open_store
from tests.pbx.asterisk.ami_streams import build_event, events
from tests.pbx.asterisk.test_reported_calls import read_stream
from tests.test_projector import RECEIVED_AT, ProjectorHarness

ASTERISK = Asterisk()
CONFIG = AsteriskParserConfig(trunks=("trunk-a",), inbound_contexts=("from-trunk", "from-pstn"))

STREAMS = (
    *("ring_group", "ring_group_of_local_channels", "freepbx_ring_group", "freepbx_follow_me"),
    *("queue_ring_all", "queue_of_local_channels", "queue_of_local_members"),
)

REPEATED_NUMBERS = {("queue_of_local_channels", 2): "6410"}
"""A queue has a row in each part where neither has the CDR with which it began, until a back-fill has read all."""

Leg = tuple[str, str, int | None]


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[ProjectorHarness]:
    store = await open_store(tmp_path / "calls.duckdb")
    opened = ProjectorHarness(SqliteLedger(tmp_path / "ledger.db"), store, {"asterisk": ASTERISK})
    yield opened
    await store.close()
    await opened.ledger.close()


async def append_bodies(harness: ProjectorHarness, sn: str, bodies: Sequence[bytes], via: str) -> None:
    entries = [
        LedgerEntry(sn=sn, dialect="asterisk", via=via, received_at=RECEIVED_AT, key=ASTERISK.peek(body).key, body=body)
        for body in bodies
    ]
    await harness.ledger.append(entries)


def collect(messages: Sequence[AmiMessage], cut_before: int | None = None) -> list[bytes]:
    """Return the bodies of a stream, with the line cut before one of its events."""
    collector = CallCollector(CONFIG)
    calls = []
    for number, message in enumerate(messages):
        calls += collector.flush() if number == cut_before else []
        calls += collector.add_event(message, now=1.0)
    return [call.body for call in (*calls, *collector.pop_completed(2.0 + MISSING_CDR_SECONDS))]


def is_cdr(event: AmiMessage) -> bool:
    return event.get("Event") == "Cdr"


def legs_of(call: Call) -> list[Leg]:
    return sorted((extract_number(leg.call_to), leg.status, leg.talk_duration) for leg in call.legs)


async def test_line_cut_between_two_cdrs_leaves_no_row_of_its_own(harness: ProjectorHarness) -> None:
    """Neither before a back-fill nor after it, whichever CDRs came first."""
    whole_calls = {name: read_stream(name)[0] for name in STREAMS}
    cuts = {
        f"{name} {cut}": (name, cut, [number for number, event in enumerate(events(name)) if is_cdr(event)][cut])
        for name in STREAMS
        for cut in range(1, sum(map(is_cdr, events(name))))
    }
    await harness.publish({sn: PbxFacts(dialect="asterisk") for sn in cuts})
    for sn, (name, _cut, cut_before) in cuts.items():
        await append_bodies(harness, sn, collect(events(name), cut_before), "ami")
    await harness.projector.catch_up()
    for call in await harness.calls():
        name, cut, _cut_before = cuts[call.sn]
        expected = sorted(number for number, _status, _talk in legs_of(whole_calls[name]))
        repeated = REPEATED_NUMBERS.get((name, cut))
        numbers = [number for number, _status, _talk in legs_of(call)]
        assert numbers == sorted([*expected, *([repeated] if repeated else [])]), call.sn
    for sn, (name, _cut, _cut_before) in cuts.items():
        await append_bodies(harness, sn, collect(events(name)), "backfill")
    await harness.projector.catch_up()
    for call in await harness.calls():
        assert legs_of(call) == legs_of(whole_calls[cuts[call.sn][0]]), call.sn


def attempt(number: int, *, answered: bool = False, data: str = "support,t") -> AmiMessage:
    """Return the CDR of a queue's attempt to reach an agent, two seconds after the one before."""
    second = 2 * number
    return build_event(
        "Cdr",
        LastApplication="Queue",
        LastData=data,
        LinkedID="1777309476.1",
        UniqueID="1777309476.1",
        Source="5550199",
        Destination="6400",
        Channel="PJSIP/trunk-a-00000001",
        DestinationChannel=f"PJSIP/400{5 + number % 2}-{number + 2:08x}",
        StartTime=f"2026-04-27 19:04:{second:02}",
        AnswerTime=f"2026-04-27 19:04:{second + 1:02}" if answered else "",
        EndTime=f"2026-04-27 19:04:{second + 2:02}",
        Disposition="ANSWERED" if answered else "NO ANSWER",
        Duration="2",
        BillableSeconds="1" if answered else "0",
    )


@pytest.mark.parametrize("answered_number", [None, 3, 19])
@pytest.mark.parametrize("source", ["events", "file"])
async def test_call_with_more_cdrs_than_a_part_has_one_row_of_its_queue(
    harness: ProjectorHarness, monkeypatch: pytest.MonkeyPatch, source: str, answered_number: int | None
) -> None:
    """Which begins with the first attempt, ends with the last one, and is answered in whichever part that was."""
    monkeypatch.setattr(call_collector, "CDRS_MAX", 6)
    monkeypatch.setattr(files, "CDRS_MAX", 6)
    cdrs = [attempt(number, answered=number == answered_number) for number in range(20)]
    if source == "file":
        rows = [dict(cdr.lines) for cdr in cdrs]
        columns = {
            "LastApplication": "lastapp",
            "LastData": "lastdata",
            "Source": "src",
            "Destination": "dst",
            "DestinationChannel": "dstchannel",
            "StartTime": "start",
            "AnswerTime": "answer",
            "EndTime": "end",
            "BillableSeconds": "billsec",
        }
        named_rows = [{columns.get(name, name.lower()): value for name, value in row.items()} for row in rows]
        calls = collect_calls((files.normalize_row(row) for row in named_rows), CONFIG)
        bodies = [call.body for call in calls if isinstance(call, ArchivedCall)]
    else:
        bodies = collect(cdrs)
    assert len(bodies) == 4
    await append_bodies(harness, "LAB", bodies, "ami")
    await harness.projector.catch_up()
    (call,) = await harness.calls()
    (queue,) = (leg for leg in call.legs if extract_number(leg.call_to) == "6400")
    status, talk = ("NO ANSWER", 0) if answered_number is None else ("ANSWERED", 1)
    assert (queue.time_start, queue.call_duration, queue.status, queue.talk_duration) == (
        *("2026-04-27 19:04:00", 40, status, talk),
    )
    assert len(call.legs) == 21


def test_parts_of_a_call_begin_with_a_bounded_number_of_cdrs() -> None:
    cdrs = [attempt(number % 20, data=f"queue-{number}") for number in range(100)]
    assert len(call_collector.list_group_begins(cdrs)) == call_collector.GROUP_BEGINS_MAX


def test_calls_in_parts_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_collector, "CDRS_MAX", 1)
    monkeypatch.setattr(call_collector, "CALLS_IN_PARTS_MAX", 2)
    collector = CallCollector(CONFIG)
    for number in range(5):
        lines = dict(attempt(0).lines) | {"LinkedID": f"1777309476.{number}"}
        collector.add_event(AmiMessage(tuple(lines.items())), now=1.0)
    assert len(collector._group_begins) == 2
