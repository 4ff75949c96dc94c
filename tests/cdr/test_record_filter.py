"""Record filters."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from onhook.cdr.access_scope import AccessScope
from onhook.cdr.call_filter import CallFilter
from onhook.cdr.record_filter import (
    DURATION_DIGITS_MAX,
    TEXT_CHARACTERS_MAX,
    RecordFilter,
    parse_filter,
    parse_period,
    parse_time,
)
from onhook.lib.errors import UsageError
from tests.factories import PBX, QUEUE, SN, STARTED_AT, call, record

SECOND = timedelta(seconds=1)

NOW = datetime(2026, 10, 25, 11, 30, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")

ALL_FILTERS = (
    "since, until, pbx, sn, call_id, number, call_from, call_to, status, type, trunk, did_number, "
    "min_talk_duration, max_talk_duration, extra"
)
SECONDS_HINT = "write whole seconds, such as 30"
TIME_HINT = "write 2026-04-27, 2026-04-27T19:04:36+08:00, today, yesterday or 12h"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-04-27", "2026-04-26T22:00:00+00:00"),
        ("2026-04-27T19:04:36", "2026-04-27T17:04:36+00:00"),
        ("2026-04-27 19:04:36", "2026-04-27T17:04:36+00:00"),
        ("2026-04-27T19:04:36Z", "2026-04-27T19:04:36+00:00"),
        ("2026-04-27T19:04:36+08:00", "2026-04-27T11:04:36+00:00"),
        ("2026-04-27T19:04:36 08:00", "2026-04-27T11:04:36+00:00"),
        ("now", "2026-10-25T11:30:00+00:00"),
        ("today", "2026-10-24T22:00:00+00:00"),
        ("yesterday", "2026-10-23T22:00:00+00:00"),
        ("12h", "2026-10-24T23:30:00+00:00"),
        ("30m", "2026-10-25T11:00:00+00:00"),
        ("7d", "2026-10-17T22:00:00+00:00"),
        ("2w", "2026-10-10T22:00:00+00:00"),
    ],
)
def test_parse_time_valid_text_returns_utc(text: str, expected: str) -> None:
    """Dates and times are in the reader's zone, also on the day on which summer time ends; an explicit
    offset counts.
    """
    parsed = parse_time(text, BERLIN, NOW)
    assert parsed == datetime.fromisoformat(expected)
    assert parsed.tzinfo is UTC


@pytest.mark.parametrize(
    ("text", "expected"), [("today", "2026-04-27T22:00:00+00:00"), ("yesterday", "2026-04-26T22:00:00+00:00")]
)
def test_parse_time_named_day_late_in_the_evening_is_a_day_of_the_zone(text: str, expected: str) -> None:
    """In Berlin the next day has begun; and it begins on the second, whatever the time is now."""
    late = datetime(2026, 4, 27, 23, 30, 15, 250_000, tzinfo=UTC)
    assert parse_time(text, BERLIN, late) == datetime.fromisoformat(expected)


@pytest.mark.parametrize(
    "text", ["2026-02-30", "tomorrow", "12", "99999w", "-1d", "", "2026-04-27 19:04:36 08:00", "2026-04-27T19:04:3x"]
)
def test_parse_time_invalid_text_names_the_filter(text: str) -> None:
    with pytest.raises(UsageError) as error_info:
        parse_time(text, BERLIN, NOW, name="since")
    assert str(error_info.value) == f"since is not a time: {text!r}: {TIME_HINT}"


def test_parse_period_empty_until_is_now() -> None:
    assert parse_period("1h", "", BERLIN, NOW) == (NOW - timedelta(hours=1), NOW)
    assert parse_period("2h", "1h", BERLIN, NOW) == (NOW - timedelta(hours=2), NOW - timedelta(hours=1))


@pytest.mark.parametrize(
    ("since", "until", "expected_text"),
    [
        ("1h", "1h", "since is not before until: exchange the two"),
        ("now", "", "since is not before until: exchange the two"),
        ("soon", "", f"since is not a time: 'soon': {TIME_HINT}"),
        ("1h", "soon", f"until is not a time: 'soon': {TIME_HINT}"),
    ],
)
def test_parse_period_invalid_is_rejected(since: str, until: str, expected_text: str) -> None:
    with pytest.raises(UsageError) as error_info:
        parse_period(since, until, BERLIN, NOW)
    assert str(error_info.value) == expected_text


def test_parse_time_without_a_name_is_called_time() -> None:
    with pytest.raises(UsageError, match=r"^time is not a time: 'soon'"):
        parse_time("soon", BERLIN, NOW)


def test_parse_filter_empty_text_is_ignored() -> None:
    read = parse_filter({"status": " no_answer ", "min_talk_duration": "30", "pbx": ""}, BERLIN, NOW)
    assert read == RecordFilter(status="no_answer", min_talk_duration=30)


def test_parse_filter_extra_is_kept_as_text() -> None:
    read = parse_filter({"extra": " account_code=4711 "}, BERLIN, NOW)
    assert read == RecordFilter(extra="account_code=4711")


def test_parse_filter_date_is_a_day_of_the_zone() -> None:
    read = parse_filter({"since": "2026-04-27", "until": "2026-04-28"}, BERLIN, NOW)
    assert read.since == datetime(2026, 4, 26, 22, tzinfo=UTC)
    assert read.until == datetime(2026, 4, 27, 22, tzinfo=UTC)


def test_parse_filter_longest_text_and_duration_are_accepted() -> None:
    text, duration = "x" * TEXT_CHARACTERS_MAX, "9" * DURATION_DIGITS_MAX
    read = parse_filter({"trunk": text, "max_talk_duration": duration}, BERLIN, NOW)
    assert (read.trunk, read.max_talk_duration) == (text, int(duration))


@pytest.mark.parametrize(
    ("words", "status", "is_match"),
    [
        ("no_answer", "NO ANSWER", True),
        ("busy,no answer", "NO ANSWER", True),
        ("busy, failed", "NO ANSWER", False),
        ("!answered", "NO ANSWER", True),
        ("!answered", "", True),
        ("! answered, noanswer", "NO ANSWER", False),
    ],
)
def test_matches_status_list_or_negation(words: str, status: str, is_match: bool) -> None:
    assert RecordFilter(status=words).matches(record(status=status)) is is_match
    assert RecordFilter(type=words).matches(record(type=status)) is is_match


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"colour": "red"}, f"unknown filter 'colour': use one of {ALL_FILTERS}"),
        ({"min_talk_duration": "-1"}, f"min_talk_duration is not a number of seconds: '-1': {SECONDS_HINT}"),
        ({"max_talk_duration": "1.5"}, f"max_talk_duration is not a number of seconds: '1.5': {SECONDS_HINT}"),
        (
            {"max_talk_duration": "1000000000"},
            f"max_talk_duration is not a number of seconds: '1000000000': {SECONDS_HINT}",
        ),
        ({"number": "1" * 201}, "number is longer than 200 characters: shorten it"),
        (
            {"extra": "4711"},
            "invalid extra: '4711': write NAME=VALUE, such as account_code=4711; several are separated by commas",
        ),
        *(
            (
                {"status": status},
                f"no call has the status {status!r}: write !answered for calls that were not answered",
            )
            for status in ("missed", "!Missed", "busy,Not_Answered")
        ),
        ({"until": "soon"}, f"until is not a time: 'soon': {TIME_HINT}"),
    ],
)
def test_parse_filter_invalid_value_is_rejected(parameters: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError) as error_info:
        parse_filter(parameters, BERLIN, NOW)
    assert str(error_info.value) == message


@pytest.mark.parametrize(
    ("record_filter", "is_match"),
    [
        (RecordFilter(), True),
        (RecordFilter(since=STARTED_AT, until=STARTED_AT + SECOND), True),
        (RecordFilter(since=STARTED_AT + SECOND), False),
        (RecordFilter(until=STARTED_AT), False),
        (RecordFilter(pbx=PBX), True),
        (RecordFilter(pbx="another"), False),
        (RecordFilter(sn=SN), True),
        (RecordFilter(sn="another"), False),
        (RecordFilter(call_id="another"), False),
        (RecordFilter(status="busy"), False),
        (RecordFilter(type="internal"), True),
        (RecordFilter(type="!internal"), False),
        (RecordFilter(min_talk_duration=14, max_talk_duration=14), True),
        (RecordFilter(min_talk_duration=15), False),
        (RecordFilter(max_talk_duration=13), False),
        (RecordFilter(number="1001"), True),
        (RecordFilter(number="Bob<1002>"), True),
        (RecordFilter(number="100"), False),
        (RecordFilter(call_from="1001"), True),
        (RecordFilter(call_from="1002"), False),
        (RecordFilter(call_to="1002"), True),
        (RecordFilter(call_to="1001"), False),
        (RecordFilter(trunk="trunk-in"), True),
        (RecordFilter(trunk="trunk-out"), True),
        (RecordFilter(trunk="trunk"), False),
        (RecordFilter(did_number="5550000"), True),
        (RecordFilter(did_number="555"), False),
        (RecordFilter(extra="account_code=4711"), True),
        (RecordFilter(extra="account_code=4711,team=blue"), False),
        (RecordFilter(scope=AccessScope(numbers=("1001",))), True),
        (RecordFilter(scope=AccessScope(numbers=("9999",))), False),
    ],
)
def test_record_filter_matches_each_condition(record_filter: RecordFilter, is_match: bool) -> None:
    extra = {"account_code": "4711", "team": "red"}
    leg = record(src_trunk_name="trunk-in", dst_trunk_name="trunk-out", did_number="5550000", extra=extra)
    assert record_filter.matches(leg) is is_match
    assert record_filter.matches_call(call(leg)) is is_match


def test_record_filter_unknown_talk_matches_no_limit() -> None:
    leg = record(talk_duration=None)
    assert RecordFilter().matches(leg)
    assert not RecordFilter(max_talk_duration=100).matches(leg)


def test_matches_call_conditions_may_hold_for_different_legs() -> None:
    """But each for one whole leg; a record must match them all."""
    queue = record(call_to=QUEUE, did_number="5550000")
    agent = record(call_id=queue.call_id)
    two_leg_call = call(queue, agent)
    record_filter = RecordFilter(call_to="1002", did_number="5550000")
    assert record_filter.matches_call(two_leg_call)
    assert not record_filter.matches(queue)
    assert not record_filter.matches(agent)


def test_matches_call_applies_the_call_filter() -> None:
    answered = call()
    assert RecordFilter(call_filter=CallFilter(answered_by="1002")).matches_call(answered)
    assert not RecordFilter(call_filter=CallFilter(answered_by="1001")).matches_call(answered)


def test_parse_filter_groups_are_no_filter_of_single_records() -> None:
    """Parties of a group are looked up in the directory; here a number stands for itself."""
    assert parse_filter({"call_from": "1001"}, BERLIN, NOW).call_from == "1001"
    with pytest.raises(UsageError, match="call_to"):
        parse_filter({"call_to": "department:Sales"}, BERLIN, NOW)
