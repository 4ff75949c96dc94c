"""The job that sends mails: one process at a time does it, by its lease.

Invariants: nothing waits for a mail but this job. A mail that its server does not take delays no other one; a server
that does not answer is left alone for a while. A mail may be sent again, where the process died before it noted that
the server had accepted it: it has the same `Message-ID` and date then.
"""

import logging
import random
from collections.abc import Sequence
from functools import partial

from onhook.appdb.appdb import AppDb
from onhook.appdb.mails import ClaimedMail
from onhook.delivery.mail_message import Mail
from onhook.delivery.mail_sender import MailResult, MailSender, MailServer
from onhook.lib.backoff import delay_seconds
from onhook.lib.clock import Clock
from onhook.lib.errors import NotFound
from onhook.lib.mail_addresses import Mailbox
from onhook.lib.periodic_job import run_periodically
from onhook.lib.transition_log import TransitionLog

ROUND_SECONDS = 5.0
"""How long a mail waits at most before its first attempt; a round without one costs three small queries."""

ROUND_MAILS_MAX = 20
"""Mails of one round, so that settings which were changed meanwhile are used by the next."""

RETRY_SECONDS_FIRST, RETRY_SECONDS_MAX = 60.0, 4 * 3_600.0
"""Waits between attempts of a mail; greylisting servers want a minute or more."""

SERVER_SECONDS_FIRST, SERVER_SECONDS_MAX = 15.0, 600.0
"""Waits before the next mail for a server that did not answer."""

_MICROSECONDS = 1_000_000
_HOUR_MICROSECONDS = 3_600 * _MICROSECONDS


class MailJob:
    """Created once per process; `run` is called with the lease of the job."""

    def __init__(self, appdb: AppDb, sender: MailSender, clock: Clock) -> None:
        self._appdb = appdb
        self._sender = sender
        self._clock = clock
        self._server: MailServer | None = None
        self._server_failures = 0
        self._resting_until_us = 0

    async def run(self) -> None:
        """Send mails until cancelled."""
        failure_log = TransitionLog(
            logging.getLogger("mail"), begins="mails cannot be read", ends="mails can be read again"
        )
        await run_periodically(self.run_round, ROUND_SECONDS, failure_log)

    async def run_round(self) -> int:
        """Send the mails that are due; return how many were sent. Raises `OnhookError`."""
        now_us = self._clock.microseconds()
        await self._appdb.mails.clean_up(now_us=now_us)
        due_mails = await self._appdb.mails.due(ROUND_MAILS_MAX, now_us=now_us)
        if not due_mails:
            return 0
        try:
            server = await self._sender.load_server()
        except NotFound as error:
            await self._appdb.mails.defer_all(error.message)
            return 0
        if server != self._server:
            self._server, self._server_failures, self._resting_until_us = server, 0, 0
        if 0 < self._resting_until_us - now_us <= SERVER_SECONDS_MAX * _MICROSECONDS:
            return 0
        sent_count = await self._appdb.mails.count_sent(since_us=now_us - _HOUR_MICROSECONDS)
        allowed_count = max(server.settings.mails_per_hour - sent_count, 0)
        return await self._send_mails(server, due_mails[:allowed_count])

    async def _send_mails(self, server: MailServer, due_mails: Sequence[tuple[int, int]]) -> int:
        """Send mails one after the other, until the server does not answer; return how many were sent."""
        sent_count = 0
        for mail_id, attempts in due_mails:
            mail = await self._claim(server, mail_id, attempts + 1)
            if mail is None:
                continue
            result = await self._sender.send(server, partial(_make_mail, mail), mail.created_at)
            await self._note(mail, result)
            sent_count += result.outcome == "sent"
            if result.outcome == "unreachable":
                self._rest()
                return sent_count
            self._server_failures = 0
        return sent_count

    async def _claim(self, server: MailServer, mail_id: int, attempts: int) -> ClaimedMail | None:
        """Begin an attempt. The commit fails where another process has the lease by now."""
        wait_seconds = delay_seconds(
            attempts,
            first=RETRY_SECONDS_FIRST,
            maximum=RETRY_SECONDS_MAX,
            jitter=random.random(),  # noqa: S311 - no secret
        )
        due_us = self._clock.microseconds() + round(wait_seconds * _MICROSECONDS)
        return await self._appdb.mails.claim(mail_id, server.sender.domain, due_us=due_us)

    async def _note(self, mail: ClaimedMail, result: MailResult) -> None:
        now_us = self._clock.microseconds()
        extra = {"mail_id": mail.mail_id, "attempts": mail.attempts, "detail": result.detail}
        if result.outcome == "sent":
            await self._appdb.mails.end(mail.mail_id, "sent", result.detail, now_us=now_us)
            return
        logging.getLogger("mail").warning("mail not sent", extra=extra)
        if result.outcome == "refused":
            await self._appdb.mails.end(mail.mail_id, "failed", result.detail, now_us=now_us)
        else:
            await self._appdb.mails.defer(mail.mail_id, result.detail)

    def _rest(self) -> None:
        """Leave a server alone for a while that did not answer."""
        self._server_failures += 1
        wait_seconds = delay_seconds(self._server_failures, first=SERVER_SECONDS_FIRST, maximum=SERVER_SECONDS_MAX)
        self._resting_until_us = self._clock.microseconds() + round(wait_seconds * _MICROSECONDS)


def _make_mail(mail: ClaimedMail, sender: Mailbox) -> Mail:
    content = mail.content
    return Mail(
        sender=sender,
        recipients=(mail.recipient,),
        subject=mail.subject,
        text=content.text,
        html=content.html,
        mail_key=mail.mail_key,
        id_domain=mail.message_domain,
        thread_key=content.thread_key,
        unsubscribe_url=content.unsubscribe_url,
        attachments=content.attachments,
    )
