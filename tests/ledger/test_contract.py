"""Contract of every ledger implementation."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from onhook.ledger.contract import (
    CONTROL_DIALECT,
    AppendResult,
    Counter,
    CounterKey,
    Ledger,
    LedgerEntry,
    RewrittenContent,
)
from onhook.ledger.sqlite import SqliteLedger
from tests.ledger.entries import NOW, SN, entries, entry
from tests.ledger.jetstream_server import JetStreamServer

LONG_SECONDS = 60.0
"""A wait that a test does not wait for."""


@pytest.fixture(params=["sqlite", "jetstream"])
async def ledger(request: pytest.FixtureRequest, tmp_path: Path, stream_name: str) -> AsyncIterator[Ledger]:
    """Yield an empty ledger of each implementation."""
    ledger: Ledger
    if request.param == "jetstream":
        server: JetStreamServer = request.getfixturevalue("jetstream_server")
        ledger = await server.create_ledger(stream_name)
    else:
        ledger = SqliteLedger(tmp_path / "ledger.db")
    yield ledger
    await ledger.close()


async def test_ledger_empty_returns_nothing(ledger: Ledger) -> None:
    assert await ledger.append([]) == []
    assert await ledger.read(0, 10) == []
    assert await ledger.get([1, 2]) == []
    assert await ledger.last_seq() == 0
    assert await ledger.counters() == []


async def test_append_any_bytes_are_read_back_unchanged(ledger: Ledger) -> None:
    original = [
        entry(1),
        entry(2, body=b"", signature="", peer="", key=bytes(16)),
        entry(3, body=bytes(range(256)) * 1024, sn='Zoë\'s "PBX"\t☎', key=b"\xff" * 16, received_at=0),
    ]
    appended = await ledger.append(original)
    raw_events = await ledger.read(0, 10)
    assert [_as_entry(raw_event) for raw_event in raw_events] == original
    assert [raw_event.seq for raw_event in raw_events] == [result.seq for result in appended]


async def test_delete_removes_named_events_but_never_the_last(ledger: Ledger) -> None:
    """A number is never reused, and a repeat of a deleted event is recognised."""
    appended = await ledger.append(entries(1, 4))
    first, second, third, last = (result.seq for result in appended)
    await ledger.delete([])
    await ledger.delete([first, third, last, last + 100])
    assert [raw_event.seq for raw_event in await ledger.read(0, 10)] == [second, last]
    assert await ledger.get([first, second]) == await ledger.read(0, 1)
    assert await ledger.last_seq() == last
    (next_result,) = await ledger.append([entry(5)])
    assert next_result.seq > last


async def test_append_repeats_of_deleted_events_are_not_stored(ledger: Ledger) -> None:
    """Of the same PBX; among new entries and repeats, each has its own result. The last event was not deleted."""
    first, second, last = (result.seq for result in await ledger.append(entries(1, 3)))
    await ledger.delete([first, last])
    batch = [entry(1), entry(4), entry(1, sn="other"), entry(2), entry(3), entry(1)]
    results = await ledger.append(batch)
    assert [result.outcome for result in results] == ["deleted", "new", "new", "duplicate", "duplicate", "deleted"]
    assert [result.seq for result in results] == [0, last + 1, last + 2, second, last, 0]
    assert [raw_event.seq for raw_event in await ledger.read(0, 10)] == [second, last, last + 1, last + 2]


async def test_append_many_repeats_of_deleted_events_are_recognised(ledger: Ledger) -> None:
    seqs = [result.seq for result in await ledger.append(entries(1, 400))]
    await ledger.delete(seqs)
    results = await ledger.append(entries(1, 401))
    assert [result.outcome for result in results] == ["deleted"] * 399 + ["duplicate", "new"]


async def test_append_repeats_of_deleted_events_under_another_number_of_their_sender_are_not_stored(
    ledger: Ledger,
) -> None:
    """The sender has them by now; nothing of the other numbers is stored with a new entry."""
    first, second, _last = (result.seq for result in await ledger.append(entries(1, 3)))
    await ledger.delete([first])
    await ledger.rewrite({second: RewrittenContent("yeastar", b"{}")})
    further_sns = ("another", SN)
    batch = [entry(number, sn="standby", further_sns=further_sns) for number in (1, 2, 4)]
    results = await ledger.append([*batch, entry(1, sn="standby", further_sns=("another",))])
    assert [result.outcome for result in results] == ["deleted", "duplicate", "new", "new"]
    assert [result.seq for result in results[:2]] == [0, second]
    (stored,) = await ledger.get([results[2].seq])
    assert (stored.sn, stored.further_sns) == ("standby", ())
    (repeat,) = await ledger.append(batch[2:])
    assert repeat == AppendResult(results[2].seq, "duplicate")


async def test_append_batch_numbers_follow_order_of_entries(ledger: Ledger) -> None:
    batch = entries(1, 300)
    appended = await ledger.append(batch)
    seqs = [result.seq for result in appended]
    assert seqs == sorted(set(seqs))
    assert all(result.outcome == "new" for result in appended)
    assert [raw_event.body for raw_event in await ledger.read(0, 1_000)] == [original.body for original in batch]
    assert await ledger.last_seq() == seqs[-1]


async def test_append_repeat_returns_number_of_first(ledger: Ledger) -> None:
    """Repeats within one call and between calls are stored once."""
    first = await ledger.append([entry(1), entry(2), entry(1)])
    second = await ledger.append([entry(3), entry(2), entry(3), entry(4), entry(1)])
    first_seq, second_seq = first[0].seq, first[1].seq
    third_seq, fourth_seq = second[0].seq, second[3].seq
    assert first == [
        AppendResult(first_seq, "new"),
        AppendResult(second_seq, "new"),
        AppendResult(first_seq, "duplicate"),
    ]
    assert second == [
        AppendResult(third_seq, "new"),
        AppendResult(second_seq, "duplicate"),
        AppendResult(third_seq, "duplicate"),
        AppendResult(fourth_seq, "new"),
        AppendResult(first_seq, "duplicate"),
    ]
    assert [raw_event.key for raw_event in await ledger.read(0, 10)] == [entry(number).key for number in (1, 2, 3, 4)]


async def test_append_repeat_leaves_first_unchanged(ledger: Ledger) -> None:
    await ledger.append([entry(1)])
    await ledger.append([entry(1, via="websocket", received_at=NOW + 99, body=b"in other words")])
    assert [_as_entry(raw_event) for raw_event in await ledger.read(0, 10)] == [entry(1)]


async def test_append_same_key_of_other_pbx_is_new(ledger: Ledger) -> None:
    appended = await ledger.append([entry(1), entry(1, sn="3651XXXXXXXX")])
    assert [result.outcome for result in appended] == ["new", "new"]


async def test_read_pages_return_everything_once_in_order(ledger: Ledger) -> None:
    await ledger.append(entries(1, 25))
    read: list[bytes] = []
    after = 0
    while raw_events := await ledger.read(after, 10):
        assert len(raw_events) <= 10
        read += [raw_event.body for raw_event in raw_events]
        after = raw_events[-1].seq
    assert read == [original.body for original in entries(1, 25)]


async def test_read_large_bodies_returns_smaller_pages(ledger: Ledger) -> None:
    large = [entry(number, body=bytes(256 * 1024)) for number in range(300)]
    await ledger.append(large)
    page = await ledger.read(0, 300)
    assert 0 < len(page) < 300
    read = page
    while page := await ledger.read(page[-1].seq, 300):
        read += page
    assert [raw_event.key for raw_event in read] == [original.key for original in large]


async def test_get_returns_existing_numbers_once_in_order(ledger: Ledger) -> None:
    seqs = [result.seq for result in await ledger.append(entries(1, 1_200))]
    raw_events = await ledger.get([seqs[7], seqs[3], seqs[3], seqs[-1] + 1_000, *seqs[100:1_150]])
    assert [raw_event.seq for raw_event in raw_events] == [seqs[3], seqs[7], *seqs[100:1_150]]


async def test_append_concurrent_tasks_store_every_entry_once(ledger: Ledger) -> None:
    results = await asyncio.gather(*(ledger.append(entries(n * 10, n * 10 + 14)) for n in range(50)))
    assert len({result.seq for appended in results for result in appended}) == 505
    assert sum(result.outcome == "new" for appended in results for result in appended) == 505
    assert len(await ledger.read(0, 1_000)) == 505


async def test_add_counts_sums_per_key_with_first_and_last_time(ledger: Ledger) -> None:
    invalid, stored = CounterKey("invalid_signature", SN, ""), CounterKey("stored", SN, "30012")
    await ledger.add_counts({invalid: 2, stored: 5}, NOW)
    await ledger.add_counts({}, NOW + 1)
    await ledger.add_counts({invalid: 1}, NOW + 7)
    assert await ledger.counters() == [
        Counter("invalid_signature", SN, "", 3, NOW, NOW + 7),
        Counter("stored", SN, "30012", 5, NOW, NOW),
    ]


async def test_add_counts_has_the_address_of_the_last_sender(ledger: Ledger) -> None:
    """Of a later count without one it stays, and an earlier count does not replace it."""
    invalid = CounterKey("invalid_signature", SN, "")
    await ledger.add_counts({invalid: 1}, NOW, {invalid: "192.0.2.1"})
    await ledger.add_counts({invalid: 1}, NOW + 2, {invalid: "192.0.2.2"})
    await ledger.add_counts({invalid: 1}, NOW + 1, {invalid: "192.0.2.3"})
    await ledger.add_counts({invalid: 1}, NOW + 3)
    assert await ledger.counters() == [Counter("invalid_signature", SN, "", 4, NOW, NOW + 3, "192.0.2.2")]


async def test_add_counts_many_unknown_pbxs_are_bounded(ledger: Ledger) -> None:
    """The newest serial numbers are listed, and the total is exact."""
    for first in range(0, 3_000, 500):
        await ledger.add_counts(
            {CounterKey("unknown_pbx", f"S{n}", ""): 1 for n in range(first, first + 500)}, NOW + first
        )
    await ledger.add_counts({CounterKey("stored", SN, "30012"): 1}, NOW - 1)
    counters = await ledger.counters()
    unknown_pbxs = [counter for counter in counters if counter.kind == "unknown_pbx"]
    assert len(counters) <= 1_000
    assert sum(counter.count for counter in unknown_pbxs) == 3_000
    assert {"S2999", "S2500"} <= {counter.sn for counter in unknown_pbxs}
    assert ("", "others") in {(counter.sn, counter.label) for counter in unknown_pbxs}


async def test_counters_of_one_kind_hide_none_of_another(ledger: Ledger) -> None:
    """Forged serial numbers are of few kinds; the latest counters are first."""
    await ledger.add_counts({CounterKey("stored", SN, f"30012 {n}"): 1 for n in range(3)}, NOW - 1)
    await ledger.add_counts({CounterKey("unknown_pbx", f"S{n}", ""): 1 for n in range(1_000)}, NOW)
    counters = await ledger.counters()
    assert len(counters) == 1_000
    assert [counter.kind for counter in counters[-4:]] == ["unknown_pbx", "stored", "stored", "stored"]


async def test_subtract_counts_deletes_counters_that_fall_to_zero(ledger: Ledger) -> None:
    first, second, unknown = (CounterKey("unregistered", sn, SN) for sn in ("A", "B", "C"))
    await ledger.add_counts({first: 5, second: 2}, NOW)
    await ledger.subtract_counts({})
    await ledger.subtract_counts({first: 3, second: 2, unknown: 7})
    assert await ledger.counters() == [Counter("unregistered", "A", SN, 2, NOW, NOW)]
    await ledger.subtract_counts({first: 9})
    assert await ledger.counters() == []


def _as_entry(raw_event: LedgerEntry) -> LedgerEntry:
    return LedgerEntry(**{name: getattr(raw_event, name) for name in LedgerEntry.__struct_fields__})


async def test_wait_ends_with_the_next_event(ledger: Ledger) -> None:
    """At once where there is one already; by another task's append; without one at the time-out."""
    assert not await ledger.wait(0, 0.01)
    (result,) = await ledger.append([entry(1)])
    assert await ledger.wait(result.seq - 1, LONG_SECONDS)
    waiting = asyncio.create_task(ledger.wait(result.seq, LONG_SECONDS))
    await asyncio.sleep(0)
    await ledger.append([entry(2)])
    assert await waiting


async def test_wait_is_not_ended_by_a_repeat(ledger: Ledger) -> None:
    (result,) = await ledger.append([entry(1)])
    waiting = asyncio.create_task(wait_for_next(ledger, result.seq))
    await ledger.append([entry(1)])
    await asyncio.sleep(0)
    assert not waiting.done()
    (second_result,) = await ledger.append([entry(2)])
    assert await waiting == second_result.seq


async def wait_for_next(ledger: Ledger, seq: int) -> int:
    """Wait for an event after a number, as a reader does; return the number of the last one."""
    while not await ledger.wait(seq, LONG_SECONDS):
        pass
    return await ledger.last_seq()


async def test_append_control_entries_are_in_order_among_the_events(ledger: Ledger) -> None:
    (first,) = await ledger.append([entry(1)])
    assert await ledger.has_events()
    last_control_seq = await ledger.append_control([b"a", b"a", b"b"], last_control_seq=0, now_us=NOW)
    (second,) = await ledger.append([entry(2)])
    assert first.seq < last_control_seq < second.seq
    assert await ledger.last_control_seq() == last_control_seq
    control_entries = await ledger.control_entries(0, 10)
    assert [(item.dialect, item.body, item.received_at) for item in control_entries] == [
        (CONTROL_DIALECT, body, NOW) for body in (b"a", b"a", b"b")
    ]
    assert await ledger.control_entries(0, 2) == control_entries[:2]
    assert await ledger.control_entries(control_entries[1].seq, 10) == control_entries[2:]
    assert (await ledger.read(first.seq, 10))[:3] == control_entries


async def test_append_control_after_another_entry_appends_nothing(ledger: Ledger) -> None:
    """Not the same body either: the caller decides anew."""
    first_seq = await ledger.append_control([b"a"], last_control_seq=0, now_us=NOW)
    assert await ledger.append_control([b"b"], last_control_seq=0, now_us=NOW) == 0
    assert await ledger.append_control([b"a"], last_control_seq=first_seq + 1, now_us=NOW) == 0
    assert len(await ledger.read(0, 10)) == 1
    assert await ledger.append_control([b"a"], last_control_seq=first_seq, now_us=NOW) > first_seq


async def test_append_control_at_the_same_time_one_wins(ledger: Ledger) -> None:
    seqs = await asyncio.gather(
        *(ledger.append_control([b"%d" % number], last_control_seq=0, now_us=NOW) for number in range(8))
    )
    assert sum(seq > 0 for seq in seqs) == 1
    assert len(await ledger.control_entries(0, 10)) == 1


async def test_ledger_with_control_entries_alone_has_no_events(ledger: Ledger) -> None:
    assert not await ledger.has_events()
    await ledger.append_control([b"a"], last_control_seq=0, now_us=NOW)
    assert not await ledger.has_events()


@pytest.mark.parametrize("changes", [{"sn": "\ud800"}, {"peer": "\udfff"}, {"received_at": 2**63}])
async def test_append_entry_that_cannot_be_stored_fails_alone(ledger: Ledger, changes: dict[str, Any]) -> None:
    results = await ledger.append([entry(1), entry(2, **changes), entry(3)])
    assert [result.outcome for result in results] == ["new", "unavailable", "new"]
    assert results[1].seq == 0
    assert [raw_event.seq for raw_event in await ledger.read(0, 10)] == [results[0].seq, results[2].seq]


async def test_rewrite_keeps_number_key_and_times_and_repeats_are_recognised(ledger: Ledger) -> None:
    seqs = [result.seq for result in await ledger.append(entries(1, 300))]
    await ledger.rewrite({seq: RewrittenContent("erased", b"nothing") for seq in seqs[:250]})
    raw_events = await ledger.read(0, 1_000)
    assert [raw_event.seq for raw_event in raw_events] == seqs
    first, original = raw_events[0], entry(1)
    assert (first.dialect, first.body, first.signature) == ("erased", b"nothing", "")
    assert (first.key, first.received_at, first.via, first.peer) == (
        *(original.key, original.received_at, original.via, original.peer),
    )
    assert _as_entry(raw_events[-1]) == entry(300)
    assert [result.outcome for result in await ledger.append([entry(1)])] == ["duplicate"]


async def test_erasure_states_never_go_back(ledger: Ledger) -> None:
    assert (await ledger.erasure_states(), await ledger.erasure_position()) == ({}, 0)
    await ledger.set_erasure_state([3, 4], "rewritten")
    await ledger.set_erasure_state([3], "finished")
    await ledger.set_erasure_state([3, 4], "rewritten")
    await ledger.set_erasure_position(17)
    assert await ledger.erasure_states() == {3: "finished", 4: "rewritten"}
    assert await ledger.erasure_position() == 17


async def test_overwrite_deleted_leaves_all_entries(ledger: Ledger) -> None:
    seqs = [result.seq for result in await ledger.append(entries(1, 500))]
    await ledger.delete(seqs[:300])
    await ledger.overwrite_deleted()
    await ledger.overwrite_deleted()
    assert [_as_entry(raw_event) for raw_event in await ledger.read(0, 1_000)] == entries(301, 500)
    assert [result.outcome for result in await ledger.append([entry(501)])] == ["new"]


async def test_control_entries_large_bodies_returns_smaller_pages(ledger: Ledger) -> None:
    last_seq = 0
    for _entry in range(3):
        last_seq = await ledger.append_control([b"x" * 20_000_000], last_control_seq=last_seq, now_us=NOW)
    assert [raw_event.seq for raw_event in await ledger.control_entries(0, 10)] == [1, 2]
    assert [raw_event.seq for raw_event in await ledger.control_entries(2, 10)] == [3]


async def test_ledger_that_replaced_none_begins_at_0_and_has_an_identity_of_its_own(
    ledger: Ledger, tmp_path: Path
) -> None:
    assert await ledger.begin_seq() == 0
    identity = await ledger.identity()
    assert len(identity) == 32
    assert await ledger.identity() == identity
    other = SqliteLedger(tmp_path / "other.db")
    assert await other.identity() != identity
    await other.close()
