"""Issues of destinations that need an operator's attention, with what to do. Pure.

Invariants: no issue contains a URL or a secret; problems that end by themselves within minutes are not reported.
"""

import shlex
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Literal

import msgspec

from onhook.appdb.delivery_rows import Backlog
from onhook.appdb.destinations import Destination
from onhook.appdb.issue_texts import IssueText, describe_kind
from onhook.lib.messages import _, _n
from onhook.lib.timestamps import format_time

IssueKind = Literal["disabled", "full", "failing", "failed"]

IssueKey = tuple[int, IssueKind]
"""(`destination_id`, `kind`): identifies an issue while it lasts, also where its text changes."""

FAILING_ISSUE_AFTER = timedelta(minutes=5)
"""A restarted or upgraded endpoint is usually reachable again by then."""


class Issue(msgspec.Struct, frozen=True, kw_only=True):
    """One issue of a destination, as a sentence, and what to do about it."""

    destination_id: int
    name: str
    kind: IssueKind
    detail: str
    hint: str

    @property
    def key(self) -> IssueKey:
        return self.destination_id, self.kind

    @property
    def text(self) -> IssueText:
        """Return the title and the meaning of its kind."""
        return describe_kind(f"destination_{self.kind}")


def find_issues(destination: Destination, backlog: Backlog, now: datetime, zone: tzinfo = UTC) -> list[Issue]:
    """Return all issues of a destination, the most severe first; of a paused one only failed notifications. Times in
    the texts are shown in `zone`.
    """
    entries: list[tuple[IssueKind, str, str]] = []
    name, quoted_name = destination.name, shlex.quote(destination.name)
    if destination.state == "disabled":
        detail = _("{name} is disabled: {reason}", name=name, reason=destination.reason)
        hint = _("fix the endpoint, then run `onhook destination resume {name}`", name=quoted_name)
        entries.append(("disabled", detail, hint))
    if destination.state == "active" and backlog.is_full:
        detail = _(
            "{name} is full: {count:,} notifications are retrying or failed; no further ones are attempted",
            name=name,
            count=backlog.retrying + backlog.failed,
        )
        hint = _("run `onhook destination retry {name}`, or discard those that are not needed", name=quoted_name)
        entries.append(("full", detail, hint))
    if (
        destination.state == "active"
        and destination.failing_since is not None
        and now - destination.failing_since >= FAILING_ISSUE_AFTER
    ):
        since = format_time(destination.failing_since, zone)
        detail = _("{name} has accepted nothing since {since}", name=name, since=since)
        hint = _("check the endpoint; `onhook destination test {name}` shows its response", name=quoted_name)
        entries.append(("failing", detail, hint))
    if backlog.failed:
        detail = _n(
            "1 failed notification for {name}", "{count:,} failed notifications for {name}", backlog.failed, name=name
        )
        hint = _(
            "`onhook destination deliveries {name} --state failed` shows the errors,"
            " `onhook destination retry {name}` retries them",
            name=quoted_name,
        )
        entries.append(("failed", detail, hint))
    return [
        Issue(destination_id=destination.destination_id, name=destination.name, kind=kind, detail=detail, hint=hint)
        for kind, detail, hint in entries
    ]


def find_all_issues(
    destinations: Iterable[Destination], backlogs: Mapping[int, Backlog], now: datetime, zone: tzinfo = UTC
) -> list[Issue]:
    """Return the issues of all destinations, in their order; times in the texts are shown in `zone`."""
    return [
        issue
        for destination in destinations
        for issue in find_issues(destination, backlogs.get(destination.destination_id, Backlog()), now, zone)
    ]
