"""Recipients of mails about issues, and what each is still to be notified of.

Invariants: what a recipient is to be notified of is stored with the beginning or end of the issue, and deleted with the
mail about it: none is lost, none is sent twice. No mail is about mails that cannot be sent.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, get_args

import msgspec

from onhook.appdb.contract import Database, Row, transactional
from onhook.appdb.stored_json import UnreadableRow, decode_column, encode_column, list_unreadable, read_rows
from onhook.lib.errors import NotFound, UsageError
from onhook.lib.mail_addresses import parse_address
from onhook.lib.messages import _
from onhook.lib.timestamps import to_datetime

IssueTopic = Literal["destination", "alarm", "rejected", "check"]
"""The beginning of the kinds of issues: destinations, alarms of PBXs, rejected requests, checks of the installation."""

TOPICS: tuple[IssueTopic, ...] = get_args(IssueTopic)
NoticeState = Literal["began", "ended"]

RECIPIENTS_MAX = 50
"""Each issue is a row for each; an address that distributes mails reaches more people."""

MAILS_PER_HOUR_DEFAULT, MAILS_PER_HOUR_MAX = 6, 60
"""About issues, for one recipient; what is beyond is in a summary."""

PENDING_MAX = 1_000
"""Of a recipient: more than a person reads in a summary; further ones are on the page Issues alone."""

UNMAILED_KIND = "check_mail"
"""Of the issue that mails cannot be sent."""

_COLUMNS = "address, topics, mails_per_hour, recipient_id"
NOTICE_COLUMNS = "i.issue_id, n.state, n.noted_at, i.kind, i.sn, i.subject, i.detail, i.hint, i.began_at, i.ended_at"
"""Of a table of what is pending, as `n`, and the issues, as `i`."""


class IssueRecipient(msgspec.Struct, frozen=True, kw_only=True):
    """Who gets mails about issues of these topics, and how many an hour at most."""

    address: str
    topics: Sequence[IssueTopic] = TOPICS
    mails_per_hour: int = MAILS_PER_HOUR_DEFAULT


class IssueNotice(msgspec.Struct, frozen=True, kw_only=True):
    """That an issue has begun or ended; `ended_at` is None while it is open. `sn` is its PBX, or empty."""

    issue_id: int
    state: NoticeState
    noted_at: datetime
    kind: str
    sn: str = ""
    subject: str
    detail: str
    hint: str
    began_at: datetime
    ended_at: datetime | None


class IssueRecipients:
    """Repository of the recipients. Times passed in are microseconds since 1970, UTC."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> list[IssueRecipient]:
        """Return the recipients, by address."""
        rows = await self._database.rows(f"SELECT {_COLUMNS} FROM issue_recipients ORDER BY address")
        return read_rows(rows, _recipient)

    async def list_unreadable(self) -> list[UnreadableRow]:
        """Return the rows that cannot be read."""
        rows = await self._database.rows(f"SELECT {_COLUMNS} FROM issue_recipients ORDER BY address")
        return list_unreadable("issue_recipients", rows, _recipient)

    @transactional
    async def put(self, recipient: IssueRecipient) -> IssueRecipient:
        """Add a recipient, or change the one with this address; return it as it is stored. Raises `UsageError`."""
        recipient = validate_recipient(recipient)
        values = (encode_column(recipient.topics), recipient.mails_per_hour, recipient.address)
        if await self._database.write(
            "UPDATE issue_recipients SET topics = ?, mails_per_hour = ? WHERE address = ?", values
        ):
            return recipient
        if len(await self.all()) >= RECIPIENTS_MAX:
            raise UsageError(
                _("there are already {maximum} recipients", maximum=RECIPIENTS_MAX),
                hint=_("use an address that distributes mails"),
            )
        await self._database.write(
            "INSERT INTO issue_recipients (topics, mails_per_hour, address) VALUES (?, ?, ?)", values
        )
        return recipient

    async def remove(self, address: str) -> None:
        """Remove a recipient, who gets no further mail about issues. Raises `NotFound`."""
        if not await self._database.write("DELETE FROM issue_recipients WHERE address = ?", (address.strip(),)):
            raise NotFound(
                _("{address} gets no mails about issues", address=repr(address[:80])),
                hint=_("`onhook mail notify` lists who does"),
            )

    async def note(self, issue_id: int, kind: str, state: NoticeState, *, now_us: int) -> None:
        """Add what recipients are to be notified of, inside the transaction that begins or ends an issue."""
        topic = kind.partition("_")[0]
        if kind == UNMAILED_KIND:
            return
        rows = await self._database.rows(f"SELECT {_COLUMNS} FROM issue_recipients ORDER BY address")
        for recipient_id, recipient in read_rows(rows, lambda row: (row[3], _recipient(row))):
            if topic in recipient.topics and await self._count_pending(recipient_id) < PENDING_MAX:
                await self._database.write(
                    "INSERT INTO pending_issue_notices VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                    (recipient_id, issue_id, state, now_us),
                )

    async def pending(self, address: str) -> list[IssueNotice]:
        """Return what a recipient is still to be notified of, the oldest first."""
        rows = await self._database.rows(
            f"SELECT {NOTICE_COLUMNS} FROM pending_issue_notices n JOIN issues i ON i.issue_id = n.issue_id"
            " WHERE n.recipient_id = (SELECT recipient_id FROM issue_recipients WHERE address = ?)"
            " ORDER BY n.noted_at, n.issue_id, n.state",
            (address,),
        )
        return read_rows(rows, read_notice)

    async def delete_pending(self, address: str, notices: Sequence[IssueNotice]) -> None:
        """Delete notices about which a mail is added in the same transaction."""
        await self._database.write_many(
            "DELETE FROM pending_issue_notices WHERE issue_id = ? AND state = ?"
            " AND recipient_id = (SELECT recipient_id FROM issue_recipients WHERE address = ?)",
            [(notice.issue_id, notice.state, address) for notice in notices],
        )

    async def _count_pending(self, recipient_id: int) -> int:
        ((count,),) = await self._database.rows(
            "SELECT count(*) FROM pending_issue_notices WHERE recipient_id = ?", (recipient_id,)
        )
        return int(count)


def validate_recipient(recipient: IssueRecipient) -> IssueRecipient:
    """Return a recipient with each topic once, in their order. Raises `UsageError`."""
    topics = parse_topics(recipient.topics)
    if not 1 <= recipient.mails_per_hour <= MAILS_PER_HOUR_MAX:
        raise UsageError(
            _("the mails of an hour are 1 to {maximum}", maximum=MAILS_PER_HOUR_MAX), location="mails_per_hour"
        )
    return IssueRecipient(
        address=parse_address(recipient.address, "address"), topics=topics, mails_per_hour=recipient.mails_per_hour
    )


def parse_topics(texts: Sequence[str]) -> tuple[IssueTopic, ...]:
    """Return the topics of texts, each once and in their order. Raises `UsageError` for none or an unknown one."""
    topics = tuple(topic for topic in TOPICS if topic in texts)
    if not topics or not set(texts) <= set(TOPICS):
        raise UsageError(
            _("choose of what to notify"), location="topics", hint=_("use some of {topics}", topics=", ".join(TOPICS))
        )
    return topics


def _recipient(row: Row) -> IssueRecipient:
    address, topics, mails_per_hour, _recipient_id = row
    return IssueRecipient(
        address=address, topics=decode_column(topics, tuple[IssueTopic, ...]), mails_per_hour=mails_per_hour
    )


def read_notice(row: Row) -> IssueNotice:
    """Return the notice of a row with NOTICE_COLUMNS."""
    issue_id, state, noted_at, kind, sn, subject, detail, hint, began_at, ended_at = row
    return IssueNotice(
        issue_id=issue_id,
        state=state,
        noted_at=to_datetime(noted_at),
        kind=kind,
        sn=sn,
        subject=subject,
        detail=detail,
        hint=hint,
        began_at=to_datetime(began_at),
        ended_at=None if ended_at is None else to_datetime(ended_at),
    )
