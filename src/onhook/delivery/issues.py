"""Issues of destinations that need a person's attention, with what to do. Pure.

Invariants: no issue contains a URL or a secret; problems that end by themselves within minutes are not reported.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from onhook.appdb.deliveries import Backlog
from onhook.appdb.destinations import Destination

IssueKind = Literal["disabled", "full", "failing", "failed"]

FAILING_ISSUE_AFTER = timedelta(minutes=5)
"""A restarted or upgraded application is usually reachable again by then."""


class Issue(msgspec.Struct, frozen=True, kw_only=True):
    """One issue of a destination, as a sentence, and what to do about it."""

    destination_id: int
    name: str
    kind: IssueKind
    detail: str
    hint: str


def find_issues(destination: Destination, backlog: Backlog, now: datetime) -> list[Issue]:
    """Return all issues of a destination, the most severe first; of a paused one only failed notifications."""
    entries: list[tuple[IssueKind, str, str]] = []
    if destination.state == "disabled":
        hint = f"fix the receiving application, then `onhook destination resume {destination.name}`"
        entries.append(("disabled", f"{destination.name} is disabled: {destination.reason}", hint))
    if destination.state == "active" and backlog.is_full:
        detail = (
            f"{destination.name} is full: {backlog.retrying + backlog.failed:,} notifications are retrying or failed;"
            " no further ones are attempted"
        )
        entries.append(
            ("full", detail, f"`onhook destination retry {destination.name}`, or `discard` those that are not needed")
        )
    if (
        destination.state == "active"
        and destination.failing_since is not None
        and now - destination.failing_since >= FAILING_ISSUE_AFTER
    ):
        detail = f"{destination.name} has accepted nothing since {destination.failing_since:%Y-%m-%d %H:%M} UTC"
        entries.append(
            (
                "failing",
                detail,
                f"check the application; `onhook destination test {destination.name}` shows its response",
            )
        )
    if backlog.failed:
        detail = f"{backlog.failed:,} failed notification{'s' * (backlog.failed != 1)} for {destination.name}"
        hint = (
            f"`onhook destination deliveries {destination.name} --state failed` shows the errors,"
            f" `onhook destination retry {destination.name}` retries them"
        )
        entries.append(("failed", detail, hint))
    return [
        Issue(destination_id=destination.destination_id, name=destination.name, kind=kind, detail=detail, hint=hint)
        for kind, detail, hint in entries
    ]


def count_phrase(count: int, noun: str) -> str:
    """Return a count as the beginning of a sentence.

    >>> count_phrase(1, "notification"), count_phrase(1_200, "notification")
    ('1 notification is', '1,200 notifications are')
    """
    return f"1 {noun} is" if count == 1 else f"{count:,} {noun}s are"


def find_all_issues(destinations: Iterable[Destination], backlogs: Mapping[int, Backlog], now: datetime) -> list[Issue]:
    """Return the issues of all destinations, in their order."""
    return [
        issue
        for destination in destinations
        for issue in find_issues(destination, backlogs.get(destination.destination_id, Backlog()), now)
    ]


class IssueTracker:
    """Reports each issue once when it begins and once when it is over."""

    def __init__(self) -> None:
        self._open_issues: dict[tuple[int, IssueKind], Issue] = {}

    def update(self, issues: Iterable[Issue]) -> tuple[list[Issue], list[Issue]]:
        """Return the new issues, and those that are over."""
        current_issues = {(issue.destination_id, issue.kind): issue for issue in issues}
        new_issues = [issue for key, issue in current_issues.items() if key not in self._open_issues]
        resolved_issues = [issue for key, issue in self._open_issues.items() if key not in current_issues]
        self._open_issues = current_issues
        return new_issues, resolved_issues
