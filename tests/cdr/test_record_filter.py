"""The one set of filters."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from onhook.cdr.record_filter import RecordFilter, parse_filter, parse_time
from onhook.lib.errors import UsageError
from tests.factories import record

NOW = datetime(2026, 10, 25, 11, 30, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("text", "moment"),
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
        ("7d", "2026-10-18T11:30:00+00:00"),
    ],
)
def test_moments_as_people_write_them(text: str, moment: str) -> None:
    """Dates and times in the reader's zone, also on the day on which summer time ends; an offset is obeyed."""
    assert parse_time(text, BERLIN, NOW) == datetime.fromisoformat(moment)


@pytest.mark.parametrize("text", ["2026-02-30", "tomorrow", "12", "99999w", "-1d", ""])
def test_what_is_no_moment_is_named(text: str) -> None:
    """One sentence says which filter, what was written and what may be."""
    with pytest.raises(UsageError, match="since is not a time"):
        parse_time(text, BERLIN, NOW, name="since")


def test_filters_are_read_from_texts_and_empty_ones_are_not_set() -> None:
    """A form's empty fields set nothing."""
    read = parse_filter({"status": " no_answer ", "min_talk_duration": "30", "pbx": ""}, BERLIN, NOW)
    assert read == RecordFilter(status="no_answer", min_talk_duration=30)


@pytest.mark.parametrize(
    ("asked", "status", "is_meant"),
    [
        ("no_answer", "NO ANSWER", True),
        ("busy,no answer", "NO ANSWER", True),
        ("busy, failed", "NO ANSWER", False),
        ("!answered", "NO ANSWER", True),
        ("!answered", "", True),
        ("! answered, noanswer", "NO ANSWER", False),
    ],
)
def test_a_status_may_be_one_of_several_or_none_of_them(asked: str, status: str, is_meant: bool) -> None:
    """Commas join, a `!` in front negates all; spelling is folded."""
    assert RecordFilter(status=asked).matches(record(status=status)) is is_meant
    assert RecordFilter(type=asked).matches(record(type=status)) is is_meant


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"colour": "red"}, "colour"),
        ({"min_talk_duration": "-1"}, "min_talk_duration"),
        ({"max_talk_duration": "1.5"}, "max_talk_duration"),
        ({"number": "1" * 201}, "number"),
        ({"until": "soon"}, "until"),
    ],
)
def test_a_filter_that_cannot_be_meant_is_named(given: dict[str, str], named: str) -> None:
    """Nothing is ignored silently."""
    with pytest.raises(UsageError, match=named):
        parse_filter(given, BERLIN, NOW)
