"""Issues from begin to end, and the notifications of them. Each is notified once when it begins and once when it ends.

Invariants: an open issue is stored before its notification is sent, so a restart repeats none. A destination is never
notified of its own issues.
"""

from collections.abc import Iterable
from datetime import datetime

import msgspec

from onhook.appdb.alert_channels import AlertChannels
from onhook.appdb.contract import Database, Row
from onhook.appdb.deliveries import Deliveries
from onhook.appdb.delivery_rows import NewDelivery
from onhook.appdb.destinations import Destination, Destinations
from onhook.appdb.issue_recipients import IssueRecipients, NoticeState
from onhook.appdb.issue_texts import describe_kind
from onhook.appdb.stored_json import UnreadableRow, list_unreadable, read_rows
from onhook.lib.timestamps import to_datetime

ENDED_ISSUES_MAX = 1_000
"""Ended issues that are stored; older ones are deleted."""

TEXT_CHARACTERS_MAX = 500
"""A sentence for a person; parts may come from a PBX or an endpoint."""

EVENT_TYPE = "issue"
"""Replaces the vendor's event number in Onhook's own events."""

CHECK_KIND_PREFIX = "check_"
"""Of the kinds of issues that are checks of this installation."""

LEDGER_CHECK_KIND = f"{CHECK_KIND_PREFIX}ledger"
"""Of the issue that the file of the ledger is damaged."""

_COLUMNS = "issue_id, issue_key, kind, sn, subject, detail, hint, destination_id, began_at, ended_at"


class OperationalIssue(msgspec.Struct, frozen=True, kw_only=True):
    """A condition that needs a person, as it is now.

    `issue_key` identifies it while it lasts, also where its text changes. `kind` is the part before the first colon and
    what is wrong, such as `destination_failing`, `alarm_silence` or `check_disk`. `sn` is the PBX that it is about, or
    empty; `destination_id` the destination, or None.
    """

    issue_key: str
    kind: str
    subject: str
    detail: str
    hint: str
    sn: str = ""
    destination_id: int | None = None


class StoredIssue(msgspec.Struct, frozen=True, kw_only=True):
    """An issue as its notification has it; `title` and `meaning` are the texts of its kind, `ended_at` is None while it
    is open.
    """

    issue_id: int
    kind: str
    sn: str
    subject: str
    detail: str
    hint: str
    began_at: datetime
    ended_at: datetime | None
    title: str = ""
    meaning: str = ""


class Issues:
    """Repository of issues. Times passed in are microseconds since 1970, UTC."""

    def __init__(
        self,
        database: Database,
        destinations: Destinations,
        deliveries: Deliveries,
        recipients: IssueRecipients,
        alert_channels: AlertChannels,
    ) -> None:
        self._database = database
        self._alert_channels = alert_channels
        self._recipients = recipients
        self._destinations = destinations
        self._deliveries = deliveries

    async def open_keys(self) -> set[str]:
        """Return the keys of the open issues."""
        return {key for (key,) in await self._database.rows("SELECT issue_key FROM issues WHERE ended_at IS NULL")}

    async def all(self, limit: int = ENDED_ISSUES_MAX) -> list[StoredIssue]:
        """Return the issues, open ones first, then the latest."""
        rows = await self._database.rows(
            f"SELECT {_COLUMNS} FROM issues ORDER BY ended_at IS NOT NULL, issue_id DESC LIMIT ?", (limit,)
        )
        return read_rows(rows, _stored_issue)

    async def open_issues(self) -> list[StoredIssue]:
        """Return the open issues, the latest first."""
        rows = await self._database.rows(
            f"SELECT {_COLUMNS} FROM issues WHERE ended_at IS NULL ORDER BY issue_id DESC LIMIT ?", (ENDED_ISSUES_MAX,)
        )
        return read_rows(rows, _stored_issue)

    async def find_open(self, kind: str) -> StoredIssue | None:
        """Return the latest open issue of this kind, or None."""
        rows = await self._database.rows(
            f"SELECT {_COLUMNS} FROM issues WHERE ended_at IS NULL AND kind = ? ORDER BY issue_id DESC LIMIT 1", (kind,)
        )
        return next(iter(read_rows(rows, _stored_issue)), None)

    async def list_unreadable(self) -> list[UnreadableRow]:
        """Return the rows that cannot be read."""
        return list_unreadable("issues", await self._database.rows(f"SELECT {_COLUMNS} FROM issues"), _stored_issue)

    async def begin(self, issue: OperationalIssue, *, now_us: int) -> bool:
        """Store an issue and notify of it. Return False where it is open already."""
        values = (issue.issue_key, issue.kind, issue.sn, issue.subject, *_cut(issue), issue.destination_id, now_us)
        async with self._database.transaction():
            is_new = await self._database.write(
                "INSERT INTO issues (issue_key, kind, sn, subject, detail, hint, destination_id, began_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                values,
            )
            if is_new:
                await self._delete_oldest()
                await self._notify(issue.issue_key, now_us)
        return bool(is_new)

    async def refresh(self, issues: Iterable[OperationalIssue]) -> None:
        """Store the present texts of those that are open, without a notification: numbers and times in them change."""
        rows = await self._database.rows("SELECT issue_key, detail, hint FROM issues WHERE ended_at IS NULL")
        stored_texts = {key: (detail, hint) for key, detail, hint in rows}
        changes = [
            (*_cut(issue), issue.issue_key)
            for issue in issues
            if issue.issue_key in stored_texts and stored_texts[issue.issue_key] != _cut(issue)
        ]
        await self._database.write_many(
            "UPDATE issues SET detail = ?, hint = ? WHERE issue_key = ? AND ended_at IS NULL", changes
        )

    async def end(self, issue_key: str, *, now_us: int) -> bool:
        """End an issue and notify of it. Return False where it is not open."""
        async with self._database.transaction():
            ended_count = await self._database.write(
                "UPDATE issues SET ended_at = ? WHERE issue_key = ? AND ended_at IS NULL", (now_us, issue_key)
            )
            if ended_count:
                await self._notify(issue_key, now_us)
        return bool(ended_count)

    async def _notify(self, issue_key: str, now_us: int) -> None:
        """Add the latest issue with this key to what recipients of mails and users are to be notified of, and to the
        deliveries of destinations that notify of all issues, except to the destination that it is about, and to those
        with too many deliveries.
        """
        (row,) = await self._database.rows(
            f"SELECT {_COLUMNS} FROM issues WHERE issue_key = ? ORDER BY issue_id DESC LIMIT 1", (issue_key,)
        )
        issue, own_destination_id = _stored_issue(row), row[7]
        state: NoticeState = "began" if issue.ended_at is None else "ended"
        await self._recipients.note(issue.issue_id, issue.kind, state, now_us=now_us)
        await self._alert_channels.note(
            issue.issue_id, issue.kind, state, destination_id=own_destination_id, now_us=now_us
        )
        new_delivery = make_issue_delivery(f"issue-{issue.issue_id}-{state}", issue, now_us=now_us)
        for destination in await self._destinations.all():
            if destination.destination_id != own_destination_id and await self._is_notified(destination, issue):
                await self._deliveries.add(destination.destination_id, new_delivery)

    async def _is_notified(self, destination: Destination, issue: StoredIssue) -> bool:
        is_matching = destination.notifies_of == "issues" and destination.filter.sn in (None, issue.sn)
        return (
            is_matching
            and not destination.chosen_by_users
            and not (await self._deliveries.backlog(destination.destination_id)).is_full
        )

    async def _delete_oldest(self) -> None:
        await self._database.write(
            "DELETE FROM issues WHERE ended_at IS NOT NULL AND issue_id NOT IN"
            " (SELECT issue_id FROM issues WHERE ended_at IS NOT NULL ORDER BY issue_id DESC LIMIT ?)",
            (ENDED_ISSUES_MAX,),
        )


def make_issue_delivery(notification_id: str, issue: StoredIssue, *, now_us: int) -> NewDelivery:
    """Return the notification of an issue for a destination."""
    return NewDelivery(
        notification_id=notification_id,
        seq=0,
        call=(issue.sn, f"issue {issue.issue_id}"),
        body=msgspec.json.encode({"type": EVENT_TYPE, "issue": issue}),
        due_at=now_us,
        pending_since=now_us,
    )


def _cut(issue: OperationalIssue) -> tuple[str, str]:
    return issue.detail[:TEXT_CHARACTERS_MAX], issue.hint[:TEXT_CHARACTERS_MAX]


def _stored_issue(row: Row) -> StoredIssue:
    issue_id, _key, kind, sn, subject, detail, hint, _destination_id, began_at, ended_at = row
    text = describe_kind(kind)
    return StoredIssue(
        issue_id=issue_id,
        kind=kind,
        sn=sn,
        subject=subject,
        detail=detail,
        hint=hint,
        began_at=to_datetime(began_at),
        ended_at=None if ended_at is None else to_datetime(ended_at),
        title=text.title,
        meaning=text.meaning,
    )
