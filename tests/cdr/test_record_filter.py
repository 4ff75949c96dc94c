"""Record filters."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from onhook.cdr.record_filter import RecordFilter, parse_filter, parse_time
from onhook.lib.errors import UsageError
from tests.factories import record

NOW = datetime(2026, 10, 25, 11, 30, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


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
        ("7d", "2026-10-18T11:30:00+00:00"),
    ],
)
def test_parse_time_valid_text_returns_utc(text: str, expected: str) -> None:
    """Dates and times are in the reader's zone, also on the day on which summer time ends; an explicit
    offset counts.
    """
    assert parse_time(text, BERLIN, NOW) == datetime.fromisoformat(expected)


@pytest.mark.parametrize("text", ["2026-02-30", "tomorrow", "12", "99999w", "-1d", ""])
def test_parse_time_invalid_text_names_the_filter(text: str) -> None:
    with pytest.raises(UsageError, match="since is not a time"):
        parse_time(text, BERLIN, NOW, name="since")


def test_parse_filter_empty_text_is_ignored() -> None:
    read = parse_filter({"status": " no_answer ", "min_talk_duration": "30", "pbx": ""}, BERLIN, NOW)
    assert read == RecordFilter(status="no_answer", min_talk_duration=30)


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
    ("parameters", "name"),
    [
        ({"colour": "red"}, "colour"),
        ({"min_talk_duration": "-1"}, "min_talk_duration"),
        ({"max_talk_duration": "1.5"}, "max_talk_duration"),
        ({"number": "1" * 201}, "number"),
        ({"until": "soon"}, "until"),
    ],
)
def test_parse_filter_invalid_value_names_the_filter(parameters: dict[str, str], name: str) -> None:
    with pytest.raises(UsageError, match=name):
        parse_filter(parameters, BERLIN, NOW)
