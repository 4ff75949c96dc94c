"""The first issues that need attention, for readers who may see all of them."""

from collections.abc import Sequence
from zoneinfo import ZoneInfo

import msgspec

from onhook.console.queries.open_issues import OpenIssues, load_open_issues
from onhook.console.queries.quarantine import list_counters, load_quarantine
from onhook.console.state import AppState
from onhook.receiver.rejections import RequestCounter, list_rejections
from onhook.store.contract import QuarantineEntry

ISSUES_SHOWN_MAX = 5
"""Lines of each kind; the rest is on a page of its own."""


class IssueSummary(msgspec.Struct, frozen=True):
    """Issues that need attention."""

    quarantined_count: int = 0
    newest_quarantined: Sequence[QuarantineEntry] = ()
    rejections: Sequence[RequestCounter] = ()
    open_issues: OpenIssues = OpenIssues()

    @property
    def has_issues(self) -> bool:
        """Return whether there is an issue."""
        return bool(self.quarantined_count or self.rejections or self.open_issues.count)


async def load_issue_summary(app_state: AppState, position: int, zone: ZoneInfo) -> IssueSummary:
    """Return the issues, with times in a zone; `position` is that of the store."""
    total, newest = await app_state.coalescer.get(
        (position, "quarantine"), lambda: load_quarantine(app_state.store, ISSUES_SHOWN_MAX)
    )
    counters = await app_state.coalescer.get("counters", lambda: list_counters(app_state.ledger, app_state.appdb))
    rejections = list_rejections(counters, app_state.clock.now())
    issues = await load_open_issues(app_state, zone)
    # Of the quarantine there is a line with the number and the reason.
    checks = [check for check in issues.checks if check.kind != "check_quarantine"]
    listed_issues = OpenIssues(
        checks=checks[:ISSUES_SHOWN_MAX],
        alarms=issues.alarms[:ISSUES_SHOWN_MAX],
        destinations=issues.destinations[:ISSUES_SHOWN_MAX],
    )
    return IssueSummary(total, newest, rejections[:ISSUES_SHOWN_MAX], listed_issues)
