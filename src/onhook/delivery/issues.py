"""What a person should know of a subscription that does not fare well, in words, and what to do. Pure.

Laws: no address and no secret is in it; what passes by itself within minutes is nobody's business.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from onhook.appdb.deliveries import Backlog
from onhook.appdb.destinations import Destination

IssueKind = Literal["disabled", "full", "failing", "parked"]

FAILING_ISSUE_AFTER = timedelta(minutes=5)
"""An application that is restarted or upgraded is back by then, as a rule."""


class Issue(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong with a subscription, as a sentence, and what to do about it."""

    subscription_id: int
    name: str
    kind: IssueKind
    what: str
    todo: str


def find_issues(one: Destination, backlog: Backlog, now: datetime) -> list[Issue]:
    """All that is wrong with it, the gravest first; nothing of one that a person has paused but what is parked."""
    entries: list[tuple[IssueKind, str, str]] = []
    if one.state == "disabled":
        hint = f"mend the application, then `onhook subscribe resume {one.name}`"
        entries.append(("disabled", f"{one.name} is disabled: {one.reason}", hint))
    if one.state == "active" and backlog.is_full:
        detail = (
            f"{one.name} is full: {backlog.waiting + backlog.parked:,} events wait or are parked, and none is added"
        )
        entries.append(("full", detail, f"`onhook subscribe retry {one.name}`, or `drop` those that nobody misses"))
    if one.state == "active" and one.failing_since is not None and now - one.failing_since >= FAILING_ISSUE_AFTER:
        detail = f"{one.name} has taken nothing since {one.failing_since:%Y-%m-%d %H:%M} UTC"
        entries.append(
            ("failing", detail, f"look at the application; `onhook subscribe test {one.name}` shows its answer")
        )
    if backlog.parked:
        hint = f"`onhook subscribe deliveries {one.name} --state parked` says why, `onhook subscribe retry {one.name}`"
        entries.append(
            ("parked", f"{count_phrase(backlog.parked, 'event')} parked for {one.name}", f"{hint} tries again")
        )
    return [
        Issue(subscription_id=one.subscription_id, name=one.name, kind=kind, what=detail, todo=hint)
        for kind, detail, hint in entries
    ]


def count_phrase(count: int, noun: str) -> str:
    """So many, as a sentence about them begins.

    >>> count_phrase(1, "event"), count_phrase(1_200, "event")
    ('1 event is', '1,200 events are')
    """
    return f"1 {noun} is" if count == 1 else f"{count:,} {noun}s are"


def find_all_issues(
    subscriptions: Iterable[Destination], backlogs: Mapping[int, Backlog], now: datetime
) -> list[Issue]:
    """Those of all of them, in their order."""
    return [
        issue
        for destination in subscriptions
        for issue in find_issues(destination, backlogs.get(destination.subscription_id, Backlog()), now)
    ]


class IssueTracker:
    """Tells each plight once when it begins and once when it is over."""

    def __init__(self) -> None:
        self._going_on: dict[tuple[int, IssueKind], Issue] = {}

    def news(self, plights: Iterable[Issue]) -> tuple[list[Issue], list[Issue]]:
        """Those that are new, and those that are over."""
        current_issues = {(issue.subscription_id, issue.kind): issue for issue in plights}
        new_issues = [issue for key, issue in current_issues.items() if key not in self._going_on]
        resolved_issues = [issue for key, issue in self._going_on.items() if key not in current_issues]
        self._going_on = current_issues
        return new_issues, resolved_issues
