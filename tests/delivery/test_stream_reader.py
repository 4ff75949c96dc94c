"""Reading a stream."""

from datetime import timedelta

from onhook.appdb.destinations import Stream
from onhook.cdr.record_filter import RecordFilter
from onhook.delivery.record_reader import RecordReader
from onhook.delivery.stream_reader import StreamReader
from tests.delivery.factories import destination
from tests.delivery.harness import DeliveryHarness, make_calls
from tests.factories import STARTED_AT, call, record

LATER = STARTED_AT + timedelta(hours=1)


def _stream(until: int | None = None, record_filter: RecordFilter | None = None) -> Stream:
    return Stream(stream_id=7, filter=record_filter or RecordFilter(), cursor=0, until=until)


async def test_stream_reader_replay_ends_at_its_number(harness: DeliveryHarness) -> None:
    """It is finished when all of it is acknowledged, and has a filter of its own."""
    await harness.put_calls(*make_calls(1, status="BUSY"), *make_calls(3))
    track = StreamReader(_stream(until=3, record_filter=RecordFilter(status="ANSWERED")), 0, destination())
    stretch = await track.read(RecordReader(harness.store, harness.position_notifier), LATER)
    assert ([record.seq for record in stretch.records], stretch.last_seq) == ([2, 3], 3)
    assert (track.is_live, track.is_at_end, track.is_finished) == (False, True, False)
    track.ack_window.read_to = 3
    assert track.is_finished


async def test_stream_reader_live_stream_never_ends(harness: DeliveryHarness) -> None:
    await harness.put_calls(*make_calls(2))
    track = StreamReader(_stream(), 0, destination())
    track.ack_window.read_to = (
        await track.read(RecordReader(harness.store, harness.position_notifier), LATER)
    ).last_seq
    assert (track.ack_window.acknowledged_to, track.is_live, track.is_finished) == (2, True, False)


async def test_stream_reader_call_is_notified_when_it_is_quiet(harness: DeliveryHarness) -> None:
    """Live a moment later, in a replay at once; its legs are one record."""
    first = record()
    await harness.put_calls(
        call(first, record(STARTED_AT + timedelta(seconds=20), call_id=first.call_id, call_to="1003"))
    )
    reading, per_call = RecordReader(harness.store, harness.position_notifier), destination(notifies_of="calls")
    soon = await StreamReader(_stream(), 0, per_call).read(reading, STARTED_AT + timedelta(seconds=1))
    assert (soon.records, soon.last_seq) == ([], 0)
    for until in (None, 2):
        stretch = await StreamReader(_stream(until), 0, per_call).read(reading, LATER if until is None else STARTED_AT)
        assert ([record.seq for record in stretch.records], stretch.last_seq) == ([2], 2)
