"""Mails about issues: of what `issue_monitor` finds, to the recipients that an administrator has set.

Invariants: each recipient has a mail about each beginning and each end of an issue, or it is in a summary. At most so
many mails an hour as the recipient has: the last one of them is a summary of all that is pending then. A mail is added
in the transaction that deletes what it is about, so that none is lost or sent twice.
"""

import logging
from collections.abc import Sequence
from zoneinfo import ZoneInfo

from onhook.appdb.appdb import AppDb
from onhook.appdb.issue_recipients import IssueNotice, IssueRecipient
from onhook.appdb.issue_texts import describe_kind, name_issue
from onhook.appdb.mails import MailContent, NewMail
from onhook.lib.clock import Clock
from onhook.lib.errors import NotFound
from onhook.lib.messages import _, _n
from onhook.lib.periodic_job import run_periodically
from onhook.lib.timestamps import format_time
from onhook.lib.transition_log import TransitionLog

ROUND_SECONDS = 15.0
"""As often as issues are looked for."""

SUMMARY_NOTICES_MAX = 100
"""In the text of a summary; the page Issues has all."""

_HOUR_MICROSECONDS = 3_600 * 1_000_000
_MAIL_KEY = "issue"


class IssueMailer:
    """Created once per process; `run` is called with the lease of the job."""

    def __init__(self, appdb: AppDb, clock: Clock, zone: ZoneInfo) -> None:
        self._appdb = appdb
        self._clock = clock
        self._zone = zone

    async def run(self) -> None:
        """Add mails until cancelled."""
        failure_log = TransitionLog(
            logging.getLogger("mail"), begins="cannot add mails about issues", ends="mails about issues are added again"
        )
        await run_periodically(self.run_round, ROUND_SECONDS, failure_log)

    async def run_round(self) -> None:
        """Add the mails of all recipients that are due. Raises `OnhookError`."""
        for recipient in await self._appdb.issue_recipients.all():
            async with self._appdb.transaction():
                await self._add_mails(recipient)

    async def _add_mails(self, recipient: IssueRecipient) -> None:
        notices = await self._appdb.issue_recipients.pending(recipient.address)
        if not notices:
            return
        now_us = self._clock.microseconds()
        added_count = await count_mails(self._appdb, _MAIL_KEY, recipient.address, now_us=now_us)
        groups = group_notices(notices, recipient.mails_per_hour - added_count)
        console_url = await load_console_url(self._appdb) if groups else ""
        for group in groups:
            mail = make_issue_mail(_MAIL_KEY, recipient.address, group, console_url, self._zone)
            await self._appdb.mails.add(mail, now_us=self._clock.microseconds())
            await self._appdb.issue_recipients.delete_pending(recipient.address, group)


async def count_mails(appdb: AppDb, key: str, address: str, *, now_us: int) -> int:
    """Return how many mails made with a key were added for an address within the last hour. Those of users and those of
    the recipients of the installation have keys, and limits, of their own.
    """
    since_us = now_us - _HOUR_MICROSECONDS
    return await appdb.mails.count_added("issues", address, since_us=since_us, key_begin=f"{key} ")


async def load_console_url(appdb: AppDb) -> str:
    """Return where links in mails begin; empty where mails wait for a server, without a link."""
    try:
        return (await appdb.mail_settings.require()).console_url
    except NotFound:
        return ""


def make_issue_mail(  # noqa: PLR0917 - the parts of a mail
    key: str, address: str, notices: Sequence[IssueNotice], console_url: str, zone: ZoneInfo, note: str = ""
) -> NewMail:
    """Return the mail about notices: about one, or a summary of several; `note` is its first paragraph."""
    first = notices[0]
    if len(notices) == 1:
        thread_key, name = f"issue {first.issue_id}", name_issue(first.kind, first.subject)
        subject = name if first.state == "began" else _("Ended: {subject}", subject=name)
    else:
        began_count, thread_key = sum(notice.state == "began" for notice in notices), ""
        ended_count = len(notices) - began_count
        subject = _("Issues: {began} began, {ended} ended", began=began_count, ended=ended_count)
    texts = [*([note] if note else []), *(_describe(notice, zone) for notice in notices[:SUMMARY_NOTICES_MAX])]
    if len(notices) > SUMMARY_NOTICES_MAX:
        count = len(notices) - SUMMARY_NOTICES_MAX
        texts.append(_n("1 other is on the page Issues.", "{count} others are on the page Issues.", count))
    if console_url:
        texts.append(f"{console_url}/issues")
    return NewMail(
        mail_key=f"{key} {first.issue_id} {first.state} {len(notices)} {address}",
        kind="issues",
        recipient=address,
        subject=subject,
        content=MailContent(text="\n\n".join(texts), thread_key=thread_key),
    )


def _describe(notice: IssueNotice, zone: ZoneInfo) -> str:
    """Return the lines about a notice."""
    name, began_at = name_issue(notice.kind, notice.subject), format_time(notice.began_at, zone)
    if notice.state == "ended" and notice.ended_at is not None:
        ended_at = format_time(notice.ended_at, zone)
        times = _("Began {began_at}, ended {ended_at}.", began_at=began_at, ended_at=ended_at)
        return f"{name}\n{notice.detail}\n{times}"
    times = _("Began {began_at}.", began_at=began_at)
    meaning = describe_kind(notice.kind).meaning
    return "\n".join(filter(None, (name, meaning, notice.detail, notice.hint, times)))


def group_notices(notices: Sequence[IssueNotice], allowed_count: int) -> list[Sequence[IssueNotice]]:
    """Return the notices of each mail: one each while that many are allowed, and all others in the last one.

    >>> group_notices([], 3), group_notices([], 0)
    ([], [])
    """
    if allowed_count <= 0:
        return []
    single_count = len(notices) if len(notices) <= allowed_count else allowed_count - 1
    groups: list[Sequence[IssueNotice]] = [[notice] for notice in notices[:single_count]]
    return [*groups, notices[single_count:]] if len(notices) > single_count else groups
