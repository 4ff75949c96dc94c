"""Mails to send, and what became of them.

Invariants: a mail is added once, by its key. An attempt is stored before it is made, so one during which the process
dies counts. A mail that is no longer pending has no content: links and figures in it are not kept. The table is
bounded.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Literal, get_args

import msgspec

from onhook.appdb.audited_tables import Change
from onhook.appdb.contract import Database, Row, transactional
from onhook.appdb.stored_json import (
    CHECKED_ROWS_MAX,
    RowUnreadable,
    UnreadableRow,
    decode_column,
    encode_column,
    list_unreadable,
    read_row,
    read_rows,
)
from onhook.lib.errors import NotFound, UsageError
from onhook.lib.messages import _
from onhook.lib.timestamps import to_datetime

MailKind = Literal["issues", "report", "invitation"]
MailState = Literal["pending", "sent", "failed", "discarded"]

PENDING_MAX = 1_000
"""Of an installation; more are the work of a mistake, and would fill mailboxes once the server answers."""

ENDED_MAX = 20_000
ENDED_MICROSECONDS_MAX = 30 * 86_400 * 1_000_000
"""Mails that are no longer pending are listed for so long, and so many at most: twice those of an hour."""

CONTENT_BYTES_MAX = 4_000_000
"""As JSON, which is a third more than the attachments: servers refuse mails of more than some megabytes."""

LIFETIME_MICROSECONDS = 4 * 86_400 * 1_000_000
"""As long as mail servers try (RFC 5321, 4.5.4.1): a long weekend without a mail server loses nothing."""

LATEST_WAIT_MICROSECONDS = 86_400 * 1_000_000
"""A wait that is longer comes from a clock that was set back, and is over."""

DETAIL_CHARACTERS_MAX = 300

_COLUMNS = "mail_id, kind, recipient, subject, state, created_at, due_at, ended_at, attempts, detail"
_COLUMN_COUNT = len(_COLUMNS.split(","))
_CLAIMED_COLUMNS = "mail_id, mail_key, recipient, subject, message_domain, created_at, attempts, content"


class MailAttachment(msgspec.Struct, frozen=True):
    """A file of a mail; `content_type` is such as `text/csv`."""

    name: str
    content_type: str
    content: bytes


class MailContent(msgspec.Struct, frozen=True, kw_only=True):
    """What a mail says; the rest is as of `delivery.mail_message.Mail`."""

    text: str
    html: str = ""
    thread_key: str = ""
    unsubscribe_url: str = ""
    attachments: Sequence[MailAttachment] = ()


class NewMail(msgspec.Struct, frozen=True, kw_only=True):
    """A mail to send. One with a key that there was before is not added."""

    mail_key: str
    kind: MailKind
    recipient: str
    subject: str
    content: MailContent
    lifetime_us: int = LIFETIME_MICROSECONDS


class ClaimedMail(msgspec.Struct, frozen=True, kw_only=True):
    """A pending mail during its attempt, the number of which is `attempts`."""

    mail_id: int
    mail_key: str
    recipient: str
    subject: str
    message_domain: str
    created_at: datetime
    attempts: int
    content: MailContent


class StoredMail(msgspec.Struct, frozen=True, kw_only=True):
    """A mail as it is listed; `detail` is what the server said last."""

    mail_id: int
    kind: MailKind
    recipient: str
    subject: str
    state: MailState
    created_at: datetime
    due_at: datetime
    ended_at: datetime | None
    attempts: int
    detail: str


class MailBacklog(msgspec.Struct, frozen=True):
    """Mails that are pending; `failing_since` is when the oldest one was added that could not be sent so far."""

    pending: int
    failing_since: datetime | None
    detail: str


class Mails:
    """Repository of mails. Times passed in are microseconds since 1970, UTC."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @transactional
    async def add(self, mail: NewMail, *, now_us: int) -> bool:
        """Add a mail; return False where there was one with its key. Where too many are pending it has failed at once.
        Raises `UsageError` for a content that is too large.
        """
        content = encode_column(mail.content)
        if len(content) > CONTENT_BYTES_MAX:
            raise UsageError(_("a mail would have more than {maximum} bytes", maximum=CONTENT_BYTES_MAX))
        ((pending_count,),) = await self._database.rows("SELECT count(*) FROM mails WHERE state = 'pending'")
        is_full = pending_count >= PENDING_MAX
        added_count = await self._database.write(
            "INSERT INTO mails (mail_key, kind, recipient, subject, content, message_domain, state, created_at, due_at,"
            " expires_at, ended_at, attempts, detail) VALUES (?, ?, ?, ?, ?, '', ?, ?, ?, ?, ?, 0, ?)"
            " ON CONFLICT DO NOTHING",
            (
                *(mail.mail_key, mail.kind, mail.recipient, mail.subject, "" if is_full else content),
                *("failed" if is_full else "pending", now_us, now_us, now_us + mail.lifetime_us),
                *(now_us if is_full else None, _("too many mails are pending") if is_full else ""),
            ),
        )
        return bool(added_count)

    async def latest(self, limit: int) -> list[StoredMail]:
        """Return the mails, pending ones first, then the latest."""
        rows = await self._database.rows(
            f"SELECT {_COLUMNS} FROM mails ORDER BY state <> 'pending', mail_id DESC LIMIT ?", (limit,)
        )
        return read_rows(rows, _stored_mail)

    async def list_unreadable(self) -> list[UnreadableRow]:
        """Return the mails that cannot be read, of the latest ones."""
        rows = await self._database.rows(
            f"SELECT {_COLUMNS}, {_CLAIMED_COLUMNS} FROM mails ORDER BY mail_id DESC LIMIT ?", (CHECKED_ROWS_MAX,)
        )
        return list_unreadable("mails", rows, _check_row)

    async def backlog(self) -> MailBacklog:
        """Return how many mails are pending, and since when the server takes none of them."""
        ((pending_count,),) = await self._database.rows("SELECT count(*) FROM mails WHERE state = 'pending'")
        rows = await self._database.rows(
            "SELECT created_at, detail FROM mails WHERE state = 'pending' AND detail <> '' ORDER BY mail_id LIMIT 1"
        )
        if not rows:
            return MailBacklog(pending_count, None, "")
        return MailBacklog(pending_count, to_datetime(rows[0][0]), str(rows[0][1]))

    # The job that sends

    async def due(self, limit: int, *, now_us: int) -> list[tuple[int, int]]:
        """Return number and attempts of the mails that are to be tried now, those that wait for longest first."""
        rows = await self._database.rows(
            "SELECT mail_id, attempts FROM mails WHERE state = 'pending' AND (due_at <= ? OR due_at > ?)"
            " ORDER BY due_at, mail_id LIMIT ?",
            (now_us, now_us + LATEST_WAIT_MICROSECONDS, limit),
        )
        return [(mail_id, attempts) for mail_id, attempts in rows]

    async def count_sent(self, *, since_us: int) -> int:
        """Return how many mails were sent since a time."""
        ((count,),) = await self._database.rows(
            "SELECT count(*) FROM mails WHERE state = 'sent' AND ended_at > ?", (since_us,)
        )
        return int(count)

    async def count_added(self, kind: MailKind, recipient: str, *, since_us: int, key_begin: str = "") -> int:
        """Return how many mails of a kind, whose key begins so, were added for a recipient since a time."""
        ((count,),) = await self._database.rows(
            "SELECT count(*) FROM mails WHERE kind = ? AND recipient = ? AND created_at > ?"
            " AND substr(mail_key, 1, CAST(? AS INTEGER)) = ?",
            (kind, recipient, since_us, len(key_begin), key_begin),
        )
        return int(count)

    @transactional
    async def claim(self, mail_id: int, message_domain: str, *, due_us: int) -> ClaimedMail | None:
        """Begin an attempt, the next of which is at `due_us`; return None where the mail is no longer pending. One that
        cannot be read is put off, and returns None too.
        """
        await self._database.write(
            "UPDATE mails SET attempts = attempts + 1, due_at = ?,"
            " message_domain = CASE WHEN message_domain = '' THEN ? ELSE message_domain END"
            " WHERE mail_id = ? AND state = 'pending'",
            (due_us, message_domain, mail_id),
        )
        rows = await self._database.rows(
            f"SELECT {_CLAIMED_COLUMNS} FROM mails WHERE mail_id = ? AND state = 'pending'", (mail_id,)
        )
        return next(iter(read_rows(rows, _claimed_mail)), None)

    async def defer(self, mail_id: int, detail: str) -> None:
        """Note why an attempt failed; the time of the next one is set already."""
        await self._database.write(
            "UPDATE mails SET detail = ? WHERE mail_id = ? AND state = 'pending'",
            (detail[:DETAIL_CHARACTERS_MAX], mail_id),
        )

    async def defer_all(self, detail: str) -> None:
        """Note why no pending mail can be tried."""
        await self._database.write(
            "UPDATE mails SET detail = ? WHERE state = 'pending' AND detail <> ?", (detail, detail)
        )

    async def end(self, mail_id: int, state: MailState, detail: str, *, now_us: int) -> bool:
        """Note that a mail was sent, has failed or is discarded, and forget its content. Return False where it was not
        pending.
        """
        ended_count = await self._database.write(
            "UPDATE mails SET state = ?, detail = ?, ended_at = ?, content = ''"
            " WHERE mail_id = ? AND state = 'pending'",
            (state, detail[:DETAIL_CHARACTERS_MAX], now_us, mail_id),
        )
        return bool(ended_count)

    @transactional
    async def clean_up(self, *, now_us: int) -> None:
        """Let mails fail whose time is over, and delete old ones that are no longer pending."""
        if await self._database.rows(
            "SELECT 1 FROM mails WHERE state = 'pending' AND expires_at <= ? LIMIT 1", (now_us,)
        ):
            await self._database.write(
                "UPDATE mails SET state = 'failed', ended_at = ?, content = '' WHERE state = 'pending' AND"
                " expires_at <= ?",
                (now_us, now_us),
            )
        old = (now_us - ENDED_MICROSECONDS_MAX, ENDED_MAX)
        condition = "state <> 'pending' AND (created_at < ? OR mail_id <= (SELECT max(mail_id) FROM mails) - ?)"
        if await self._database.rows(f"SELECT 1 FROM mails WHERE {condition} LIMIT 1", old):
            await self._database.write(f"DELETE FROM mails WHERE {condition}", old)

    # People

    @transactional
    async def retry(self, mail_id: int, *, now_us: int) -> None:
        """Have a pending mail tried now. Raises `NotFound`."""
        if not await self._database.write(
            "UPDATE mails SET due_at = ? WHERE mail_id = ? AND state = 'pending'", (now_us, mail_id)
        ):
            raise _not_pending_error(mail_id)
        self._database.note_change(_change(mail_id, "retrying"))

    @transactional
    async def discard(self, mail_id: int, *, now_us: int) -> None:
        """Send a pending mail no longer. Raises `NotFound`."""
        if not await self.end(mail_id, "discarded", "", now_us=now_us):
            raise _not_pending_error(mail_id)
        self._database.note_change(_change(mail_id, "discarded"))

    async def get(self, mail_id: int) -> StoredMail:
        """Return a mail. Raises `NotFound`."""
        rows = await self._database.rows(f"SELECT {_COLUMNS} FROM mails WHERE mail_id = ?", (mail_id,))
        if not rows:
            raise NotFound(_("there is no mail {mail_id}", mail_id=mail_id), hint=_("`onhook mail list` lists them"))
        return read_row(rows[0], _stored_mail)


def has_in_mail(text: str, occurs_in: Callable[[str], bool]) -> bool:
    """Return whether something is in a mail, whose `text` is its subject, a line end, and its stored content. A
    file that is no text may have anything.
    """
    subject, _end, column = text.partition("\n")
    if not column or occurs_in(subject):
        return occurs_in(subject)
    try:
        content = decode_column(column, MailContent)
    except RowUnreadable:
        return occurs_in(column)
    if occurs_in(content.text) or occurs_in(content.html):
        return True
    return any(
        not file.content_type.startswith("text/")
        or occurs_in(file.name)
        or occurs_in(file.content.decode(errors="replace"))
        for file in content.attachments
    )


def _change(mail_id: int, state: str) -> Change:
    return Change(table="mails", name=str(mail_id), before={"state": "pending"}, after={"state": state})


def _not_pending_error(mail_id: int) -> NotFound:
    return NotFound(_("mail {mail_id} is not pending", mail_id=mail_id), hint=_("`onhook mail list` lists them"))


def _check_row(row: Row) -> None:
    """Decode all of a row. Raises what decoding raises."""
    mail = _stored_mail(row[:_COLUMN_COUNT])
    if mail.state not in get_args(MailState) or mail.kind not in get_args(MailKind):
        raise UsageError(_("{text} is not a state or kind", text=repr(f"{mail.state} {mail.kind}")))
    if mail.state == "pending":
        _claimed_mail(row[_COLUMN_COUNT:])


def _claimed_mail(row: Row) -> ClaimedMail:
    mail_id, mail_key, recipient, subject, message_domain, created_at, attempts, content = row
    return ClaimedMail(
        mail_id=mail_id,
        mail_key=mail_key,
        recipient=recipient,
        subject=subject,
        message_domain=message_domain,
        created_at=to_datetime(created_at),
        attempts=attempts,
        content=decode_column(content, MailContent),
    )


def _stored_mail(row: Row) -> StoredMail:
    mail_id, kind, recipient, subject, state, created_at, due_at, ended_at, attempts, detail = row
    return StoredMail(
        mail_id=mail_id,
        kind=kind,
        recipient=recipient,
        subject=subject,
        state=state,
        created_at=to_datetime(created_at),
        due_at=to_datetime(due_at),
        ended_at=None if ended_at is None else to_datetime(ended_at),
        attempts=attempts,
        detail=detail,
    )
