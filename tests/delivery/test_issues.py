"""What a person should know of a subscription."""

from datetime import UTC, datetime, timedelta

import pytest

from onhook.appdb.deliveries import UNDELIVERED_MAX, Backlog
from onhook.delivery.issues import FAILING_ISSUE_AFTER, IssueTracker, find_all_issues, find_issues
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
def test_what_a_person_should_know(changes: dict[str, object], backlog: Backlog, kinds: list[str]) -> None:
    """The gravest first; what passes by itself, and what a person wanted so, is not told."""
    assert [issue.kind for issue in find_issues(destination(**changes), backlog, NOW)] == kinds


def test_each_says_what_and_what_to_do_and_no_key() -> None:
    """By the name of the subscription, and never by its address."""
    one = destination(state="disabled", reason="the application answered 410 Gone", headers={"X-Key": "hush"})
    disabled, failed = find_all_issues([one], {1: Backlog(failed=2)}, NOW)
    assert disabled.detail == "CRM is disabled: the application answered 410 Gone"
    assert "onhook destination resume CRM" in disabled.hint
    assert failed.detail == "2 failed notifications for CRM"
    assert "hush" not in f"{disabled}{failed}"
    assert "crm.example.com" not in f"{disabled}{failed}"


def test_each_is_told_once_when_it_begins_and_once_when_it_is_over() -> None:
    """Also where its sentence changes meanwhile."""
    log = IssueTracker()
    two, three = (find_issues(destination(), Backlog(failed=count), NOW) for count in (2, 3))
    assert [log.update(seen) for seen in (two, three, [])] == [(two, []), ([], []), ([], three)]
