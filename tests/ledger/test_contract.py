"""What every ledger must do, whatever engine it stands on."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from onhook.ledger.contract import AppendResult, Counter, CounterKey, Ledger, LedgerEntry
from onhook.ledger.sqlite import SqliteLedger
from tests.ledger.entries import NOW, SN, entries, entry


@pytest.fixture(params=[SqliteLedger])
async def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Ledger]:
    """Each member of the family, empty."""
    one: Ledger = request.param(tmp_path / "ledger.db")
    yield one
    await one.close()


async def test_an_empty_ledger_says_so(ledger: Ledger) -> None:
    """Nothing has the number 0, and nothing follows it."""
    assert await ledger.append([]) == []
    assert await ledger.read(0, 10) == []
    assert await ledger.get([1, 2]) == []
    assert await ledger.last_seq() == 0
    assert await ledger.counters() == []


async def test_what_was_appended_is_read_as_it_was(ledger: Ledger) -> None:
    """All members come back unchanged, whatever bytes and characters they hold."""
    kept = [
        entry(1),
        entry(2, body=b"", signature="", peer="", key=bytes(16)),
        entry(3, body=bytes(range(256)) * 1024, sn='Zoë\'s "PBX"\t☎', key=b"\xff" * 16, received_at=0),
    ]
    appended = await ledger.append(kept)
    reports = await ledger.read(0, 10)
    assert [_as_entry(report) for report in reports] == kept
    assert [report.seq for report in reports] == [one.seq for one in appended]


async def test_what_is_forgotten_is_gone(ledger: Ledger) -> None:
    """Those alone that are named, but never the last; a number is never given again, and a repeat is new."""
    appended = await ledger.append(entries(1, 4))
    first, second, third, last = (one.seq for one in appended)
    await ledger.delete([])
    await ledger.delete([first, third, last, last + 100])
    assert [report.seq for report in await ledger.read(0, 10)] == [second, last]
    assert await ledger.get([first, second]) == await ledger.read(0, 1)
    assert await ledger.last_seq() == last
    (again,) = await ledger.append([entry(1)])
    assert again.is_new
    assert again.seq > last


async def test_numbers_grow_in_the_order_given(ledger: Ledger) -> None:
    """For any number of entries at once, the order of numbers is the order of the entries."""
    given = entries(1, 300)
    appended = await ledger.append(given)
    seqs = [one.seq for one in appended]
    assert seqs == sorted(set(seqs))
    assert all(one.is_new for one in appended)
    assert [report.body for report in await ledger.read(0, 1_000)] == [one.body for one in given]
    assert await ledger.last_seq() == seqs[-1]


async def test_a_repeat_has_the_number_of_the_first(ledger: Ledger) -> None:
    """Exact repeats are told from new ones, within one call and between calls, and are stored once."""
    first = await ledger.append([entry(1), entry(2), entry(1)])
    second = await ledger.append([entry(3), entry(2), entry(3), entry(4), entry(1)])
    one, two = first[0].seq, first[1].seq
    three, four = second[0].seq, second[3].seq
    assert first == [AppendResult(one, True), AppendResult(two, True), AppendResult(one, False)]
    assert second == [
        AppendResult(three, True),
        AppendResult(two, False),
        AppendResult(three, False),
        AppendResult(four, True),
        AppendResult(one, False),
    ]
    assert [report.key for report in await ledger.read(0, 10)] == [entry(number).key for number in (1, 2, 3, 4)]


async def test_the_first_of_a_repeat_stays_as_it_was(ledger: Ledger) -> None:
    """A repeat that came later, by another way, changes nothing."""
    await ledger.append([entry(1)])
    await ledger.append([entry(1, via="websocket", received_at=NOW + 99, body=b"in other words")])
    assert [_as_entry(report) for report in await ledger.read(0, 10)] == [entry(1)]


async def test_two_pbxs_may_say_the_same(ledger: Ledger) -> None:
    """The same key under another serial number is another report."""
    appended = await ledger.append([entry(1), entry(1, sn="3651XXXXXXXX")])
    assert [one.is_new for one in appended] == [True, True]


async def test_reading_goes_on_after_a_number(ledger: Ledger) -> None:
    """Page by page, everything is read once and in order."""
    await ledger.append(entries(1, 25))
    read: list[bytes] = []
    after = 0
    while reports := await ledger.read(after, 10):
        assert len(reports) <= 10
        read += [report.body for report in reports]
        after = reports[-1].seq
    assert read == [one.body for one in entries(1, 25)]


async def test_large_bodies_come_in_smaller_pages(ledger: Ledger) -> None:
    """A page of the largest bodies does not fill the memory, and nothing is left out."""
    large = [entry(number, body=bytes(256 * 1024)) for number in range(300)]
    await ledger.append(large)
    page = await ledger.read(0, 300)
    assert 0 < len(page) < 300
    read = page
    while page := await ledger.read(page[-1].seq, 300):
        read += page
    assert [report.key for report in read] == [one.key for one in large]


async def test_reports_are_got_by_number(ledger: Ledger) -> None:
    """In order of number, each once; numbers that nobody has are left out."""
    seqs = [one.seq for one in await ledger.append(entries(1, 1_200))]
    got = await ledger.get([seqs[7], seqs[3], seqs[3], seqs[-1] + 1_000, *seqs[100:1_150]])
    assert [report.seq for report in got] == [seqs[3], seqs[7], *seqs[100:1_150]]


async def test_appends_at_once_are_all_kept(ledger: Ledger) -> None:
    """Many tasks that append at the same time: every entry once, every number once."""
    results = await asyncio.gather(*(ledger.append(entries(n * 10, n * 10 + 14)) for n in range(50)))
    assert len({one.seq for appended in results for one in appended}) == 505
    assert sum(one.is_new for appended in results for one in appended) == 505
    assert len(await ledger.read(0, 1_000)) == 505


async def test_marks_are_added_up(ledger: Ledger) -> None:
    """Each different mark has one tally, which remembers the first and the last time; the latest comes first."""
    wrong, kept = CounterKey("invalid_signature", SN, ""), CounterKey("stored", SN, "30012")
    await ledger.add_counts({wrong: 2, kept: 5}, NOW)
    await ledger.add_counts({}, NOW + 1)
    await ledger.add_counts({wrong: 1}, NOW + 7)
    assert await ledger.counters() == [
        Counter("invalid_signature", SN, "", 3, NOW, NOW + 7),
        Counter("stored", SN, "30012", 5, NOW, NOW),
    ]


async def test_strangers_cannot_fill_the_ledger(ledger: Ledger) -> None:
    """However many serial numbers knock, their tallies are bounded, the newest are shown, and none is forgotten."""
    for first in range(0, 3_000, 500):
        await ledger.add_counts(
            {CounterKey("unknown_pbx", f"S{n}", ""): 1 for n in range(first, first + 500)}, NOW + first
        )
    await ledger.add_counts({CounterKey("stored", SN, "30012"): 1}, NOW - 1)
    tallies = await ledger.counters()
    strangers = [tally for tally in tallies if tally.kind == "unknown_pbx"]
    assert len(tallies) <= 1_000
    assert sum(tally.count for tally in strangers) == 3_000
    assert {"S2999", "S2500"} <= {tally.sn for tally in strangers}
    assert ("", "others") in {(tally.sn, tally.label) for tally in strangers}


def _as_entry(report: LedgerEntry) -> LedgerEntry:
    return LedgerEntry(**{name: getattr(report, name) for name in LedgerEntry.__struct_fields__})
