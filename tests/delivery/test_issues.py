"""Issues of destinations."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from onhook.appdb.delivery_rows import UNDELIVERED_MAX, Backlog
from onhook.delivery.issues import FAILING_ISSUE_AFTER, find_all_issues, find_issues
from tests.delivery.factories import destination

NOW = datetime(2026, 4, 27, 11, 4, 36, tzinfo=UTC)
FULL = Backlog(retrying=UNDELIVERED_MAX - 1, failed=1)


@pytest.mark.parametrize(
    ("changes", "backlog", "kinds"),
    [
        ({}, Backlog(retrying=7), []),
        ({}, Backlog(failed=1), ["failed"]),
        ({}, FULL, ["full", "failed"]),
        ({"state": "disabled", "reason": "the application answered 410 Gone"}, Backlog(), ["disabled"]),
        ({"state": "paused"}, FULL, ["failed"]),
        ({"failing_since": NOW - FAILING_ISSUE_AFTER}, Backlog(), ["failing"]),
        ({"failing_since": NOW - FAILING_ISSUE_AFTER + timedelta(seconds=1)}, Backlog(), []),
        ({"failing_since": NOW - FAILING_ISSUE_AFTER, "state": "paused"}, Backlog(), []),
    ],
)
def test_find_issues_lists_the_most_severe_first(
    changes: dict[str, object], backlog: Backlog, kinds: list[str]
) -> None:
    """Problems that end by themselves, and paused destinations, are not listed."""
    assert [issue.kind for issue in find_issues(destination(**changes), backlog, NOW)] == kinds


def test_find_issues_says_what_to_do_and_shows_no_key() -> None:
    """Named by the destination, never by its URL."""
    spec = destination(state="disabled", reason="the application answered 410 Gone", headers={"X-Key": "hush"})
    disabled, failed = find_all_issues([spec], {1: Backlog(failed=2)}, NOW)
    assert disabled.detail == "CRM is disabled: the application answered 410 Gone"
    assert "onhook destination resume CRM" in disabled.hint
    assert failed.detail == "2 failed notifications for CRM"
    assert "hush" not in f"{disabled}{failed}"
    assert "crm.example.com" not in f"{disabled}{failed}"


def test_find_issues_times_are_in_the_zone_of_the_reader() -> None:
    spec = destination(failing_since=NOW - FAILING_ISSUE_AFTER)
    (issue,) = find_issues(spec, Backlog(), NOW, ZoneInfo("Europe/Berlin"))
    assert issue.detail == "CRM has accepted nothing since 2026-04-27 12:59:36+02:00"


def test_issue_key_changed_text_is_the_same_issue() -> None:
    (two,), (three,) = (find_issues(destination(), Backlog(failed=count), NOW) for count in (2, 3))
    assert two != three
    assert two.key == three.key == (1, "failed")
