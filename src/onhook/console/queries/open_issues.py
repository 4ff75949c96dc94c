"""Open issues of all kinds, for the pages."""

from collections.abc import Sequence
from zoneinfo import ZoneInfo

import msgspec

from onhook.appdb.issues import StoredIssue
from onhook.console.queries.coverage import NamedAlarm, list_named_alarms
from onhook.console.queries.issues import list_open_checks
from onhook.console.state import AppState
from onhook.delivery.issues import Issue, find_all_issues


class OpenIssues(msgspec.Struct, frozen=True):
    """Checks of the installation that are not `OK`, open alarms, and issues of destinations."""

    checks: Sequence[StoredIssue] = ()
    alarms: Sequence[NamedAlarm] = ()
    destinations: Sequence[Issue] = ()

    @property
    def count(self) -> int:
        """Return the number of issues."""
        return len(self.checks) + len(self.alarms) + len(self.destinations)

    @property
    def first_title(self) -> str:
        """Return the title of the first issue, in the order of the page of issues; empty without any."""
        titles = [issue.title for issue in self.checks]
        titles += [f"{alarm.pbx or alarm.sn}: {alarm.title}" for alarm in self.alarms]
        titles += [f"{issue.name}: {issue.text.title}" for issue in self.destinations]
        return titles[0] if titles else ""


async def load_open_issues(app_state: AppState, zone: ZoneInfo) -> OpenIssues:
    """Return the open issues, for users who may see all of them, with times in a zone."""
    appdb = app_state.appdb
    return OpenIssues(
        checks=await list_open_checks(appdb),
        alarms=await list_named_alarms(app_state, only_open=True),
        destinations=find_all_issues(
            await appdb.destinations.all(), await appdb.deliveries.backlogs(), app_state.clock.now(), zone
        ),
    )
