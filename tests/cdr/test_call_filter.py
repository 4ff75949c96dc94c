"""Filters on whole calls."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
import pytest

from onhook.cdr.call_filter import CallFilter, parse_call_filter
from onhook.lib.errors import UsageError
from tests.factories import QUEUE, SN, STARTED_AT, call, record

BERLIN = ZoneInfo("Europe/Berlin")
SECOND = timedelta(seconds=1)
DURATION_HINT = "write a whole number from 0 to 999999999"
TIME_HINT = "write 2026-04-27T19:04:36+08:00"
CALL = msgspec.structs.replace(
    call(record(src_trunk_name="trunk-in", did_number="5550000", call_duration=20, talk_duration=14)),
    wait_duration=6,
    ring_duration=5,
)


@pytest.mark.parametrize(
    ("call_filter", "is_match"),
    [
        (CallFilter(), True),
        (CallFilter(answered_by="Bob<1002>"), True),
        (CallFilter(answered_by="1001"), False),
        (CallFilter(caller="1001"), True),
        (CallFilter(caller="1002"), False),
        (CallFilter(dialled="1002"), True),
        (CallFilter(dialled="1001"), False),
        (CallFilter(by_trunk="trunk-in"), True),
        (CallFilter(by_trunk="trunk-out"), False),
        (CallFilter(by_did="5550000"), True),
        (CallFilter(by_did="5550001"), False),
        (CallFilter(min_wait_duration=6, max_wait_duration=6), True),
        (CallFilter(min_wait_duration=7), False),
        (CallFilter(max_wait_duration=5), False),
        (CallFilter(min_ring_duration=5, max_ring_duration=5), True),
        (CallFilter(min_ring_duration=6), False),
        (CallFilter(max_ring_duration=4), False),
        (CallFilter(weekday=1), True),
        (CallFilter(weekday=2), False),
        (CallFilter(hour_of_day=11), True),
        (CallFilter(hour_of_day=13, zone="Europe/Berlin"), True),
        (CallFilter(hour_of_day=11, zone="Europe/Berlin"), False),
        (CallFilter(under_way_at=STARTED_AT), True),
        (CallFilter(under_way_at=STARTED_AT - SECOND), False),
        (CallFilter(under_way_at=STARTED_AT + 19 * SECOND), True),
        (CallFilter(under_way_at=STARTED_AT + 20 * SECOND), False),
        (CallFilter(ended_since=STARTED_AT + 20 * SECOND), True),
        (CallFilter(ended_since=STARTED_AT + 20.5 * SECOND), False),
        (CallFilter(numbers=("1002", "5550100")), True),
        (CallFilter(numbers=("100",)), False),
        (CallFilter(name="ALI"), True),
        (CallFilter(name="Carol"), False),
        (CallFilter(name="Carol", name_parties=((SN, "1002"),)), True),
        (CallFilter(name="Carol", name_parties=(("", "1001"),)), True),
        (CallFilter(name="Carol", name_parties=(("another", "1002"), ("", "100"))), False),
        (CallFilter(name_parties=(("another", "1002"),)), True),
        (CallFilter(call_keys=((SN, CALL.call_id),)), True),
        (CallFilter(call_keys=(("another", CALL.call_id),)), False),
        (CallFilter(note="call"), False),
        (CallFilter(note="call", note_call_keys=((SN, CALL.call_id),)), True),
        (CallFilter(note="call", note_call_keys=(("another", CALL.call_id),)), False),
    ],
)
def test_call_filter_matches_each_condition(call_filter: CallFilter, is_match: bool) -> None:
    assert call_filter.matches(CALL) is is_match


@pytest.mark.parametrize(("note", "is_match"), [("Calls BACK on Monday", True), ("", False), (7, False), (None, False)])
def test_call_filter_note_is_searched_on_the_pbx_too(note: object, is_match: bool) -> None:
    """The note of any leg counts, in any case; a value that is no text never matches."""
    first = record()
    noted = record(call_id=first.call_id, extra={"call_note": note})
    assert CallFilter(note="calls back").matches(call(first, noted)) is is_match
    assert CallFilter(note="calls back", call_keys=()).matches(call(first, noted)) is False


def test_call_filter_outbound_trunk_counts_without_an_inbound_one() -> None:
    outbound = call(record(dst_trunk_name="trunk-out"))
    assert CallFilter(by_trunk="trunk-out").matches(outbound)


def test_call_filter_unknown_values_match_no_limit() -> None:
    unknown = msgspec.structs.replace(CALL, wait_duration=None, ended_at=None)
    assert CallFilter().matches(unknown)
    assert not CallFilter(max_wait_duration=100).matches(unknown)
    assert not CallFilter(under_way_at=STARTED_AT).matches(unknown)
    assert not CallFilter(ended_since=STARTED_AT).matches(unknown)


def test_call_filter_number_and_name_must_match_the_same_leg() -> None:
    queue = record(call_to=QUEUE)
    agent = record(call_id=queue.call_id)
    two_leg_call = call(queue, agent)
    assert CallFilter(numbers=("6400",), name="Queue").matches(two_leg_call)
    assert not CallFilter(numbers=("1002",), name="Queue").matches(two_leg_call)


def test_parse_call_filter_reads_texts_numbers_and_a_time() -> None:
    parsed = parse_call_filter(
        {
            "caller": " 1001 ",
            "weekday": "7",
            "min_wait_duration": "0",
            "by_did": " ",
            "under_way_at": "2026-04-27T13:04",
            "ended_since": "2026-04-27T13:05",
        },
        BERLIN,
    )
    assert parsed == CallFilter(
        caller="1001",
        weekday=7,
        min_wait_duration=0,
        under_way_at=datetime(2026, 4, 27, 11, 4, tzinfo=UTC),
        ended_since=datetime(2026, 4, 27, 11, 5, tzinfo=UTC),
        zone="Europe/Berlin",
    )


def test_parse_call_filter_keeps_the_offset_of_a_time() -> None:
    parsed = parse_call_filter({"under_way_at": "2026-04-27T13:04+08:00"}, BERLIN)
    assert parsed.under_way_at == datetime(2026, 4, 27, 5, 4, tzinfo=UTC)
    assert parsed.under_way_at.tzinfo is UTC


@pytest.mark.parametrize(
    ("name", "text", "message"),  # a message shows at most 40 characters of the text
    [
        ("weekday", "0", "invalid weekday: '0': write a whole number from 1 to 7"),
        ("weekday", "8", "invalid weekday: '8': write a whole number from 1 to 7"),
        ("hour_of_day", "24", "invalid hour_of_day: '24': write a whole number from 0 to 23"),
        ("hour_of_day", "-1", "invalid hour_of_day: '-1': write a whole number from 0 to 23"),
        ("min_wait_duration", "1.5", f"invalid min_wait_duration: '1.5': {DURATION_HINT}"),
        ("min_wait_duration", "٣", f"invalid min_wait_duration: '٣': {DURATION_HINT}"),
        ("max_ring_duration", "1000000000", f"invalid max_ring_duration: '1000000000': {DURATION_HINT}"),
        ("max_ring_duration", "x" * 41, f"invalid max_ring_duration: '{'x' * 40}': {DURATION_HINT}"),
        ("under_way_at", "noon", f"under_way_at is not a time: 'noon': {TIME_HINT}"),
        ("ended_since", "7d", f"ended_since is not a time: '7d': {TIME_HINT}"),
        ("under_way_at", "x" * 41, f"under_way_at is not a time: '{'x' * 40}': {TIME_HINT}"),
        (
            "under_way_at",
            "0001-01-01T00:00+14:00",
            f"under_way_at is not a time: '0001-01-01T00:00+14:00': {TIME_HINT}",
        ),
    ],
)
def test_parse_call_filter_invalid_text_is_rejected(name: str, text: str, message: str) -> None:
    with pytest.raises(UsageError) as error_info:
        parse_call_filter({name: text}, BERLIN)
    assert str(error_info.value) == message


def test_parse_call_filter_largest_duration_is_accepted() -> None:
    assert parse_call_filter({"max_wait_duration": "999999999"}, BERLIN).max_wait_duration == 999_999_999
