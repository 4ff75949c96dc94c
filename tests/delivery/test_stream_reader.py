"""A stream, being read."""

from datetime import timedelta

from onhook.appdb.destinations import Stream
from onhook.cdr.record_filter import RecordFilter
from onhook.delivery.record_reader import RecordReader
from onhook.delivery.stream_reader import StreamReader
from tests.delivery.factories import subscription
from tests.delivery.harness import House, some_calls
from tests.factories import STARTED_AT, call, record

LATER = STARTED_AT + timedelta(hours=1)


def _stream(until: int | None = None, where: RecordFilter | None = None) -> Stream:
    return Stream(stream_id=7, where=where or RecordFilter(), cursor=0, until=until)


async def test_a_replay_ends_at_its_number(house: House) -> None:
    """It reads nothing behind it, is done when all of it is settled, and has a filter of its own."""
    await house.say(*some_calls(1, status="BUSY"), *some_calls(3))
    track = StreamReader(_stream(until=3, where=RecordFilter(status="ANSWERED")), 0, subscription())
    stretch = await track.read(RecordReader(house.store, house.feed), LATER)
    assert ([one.seq for one in stretch.records], stretch.last) == ([2, 3], 3)
    assert (track.is_live, track.is_read_up, track.has_ended) == (False, True, False)
    track.window.read_to = 3
    assert track.has_ended


async def test_the_live_stream_never_ends(house: House) -> None:
    """However far it is read."""
    await house.say(*some_calls(2))
    track = StreamReader(_stream(), 0, subscription())
    track.window.read_to = (await track.read(RecordReader(house.store, house.feed), LATER)).last
    assert (track.window.settled_to, track.is_live, track.has_ended) == (2, True, False)


async def test_a_whole_call_is_told_when_it_is_quiet(house: House) -> None:
    """Live a moment later, in a replay at once; its legs are one record."""
    first = record()
    await house.say(call(first, record(STARTED_AT + timedelta(seconds=20), call_id=first.call_id, call_to="1003")))
    reading, per_call = RecordReader(house.store, house.feed), subscription(per="call")
    soon = await StreamReader(_stream(), 0, per_call).read(reading, STARTED_AT + timedelta(seconds=1))
    assert (soon.records, soon.last) == ([], 0)
    for until in (None, 2):
        stretch = await StreamReader(_stream(until), 0, per_call).read(reading, LATER if until is None else STARTED_AT)
        assert ([one.seq for one in stretch.records], stretch.last) == ([2], 2)
