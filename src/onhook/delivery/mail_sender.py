"""Mails of the installation, sent by its mail server: one session each, so that no mail depends on another.

Invariant: what is returned and raised never contains the password.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Literal
from urllib.parse import quote

import msgspec

from onhook.appdb.appdb import AppDb
from onhook.appdb.mail_settings import MailSettings
from onhook.config import Config
from onhook.delivery.guarded_connection import describe_connection_error
from onhook.delivery.mail_message import Mail, format_mail
from onhook.delivery.smtp_session import MailRefused, RecipientsRefused, SmtpServer, open_session
from onhook.delivery.ssrf_guard import create_ssrf_guard
from onhook.lib.clock import Clock
from onhook.lib.errors import Unavailable
from onhook.lib.mail_addresses import Mailbox, parse_addresses, parse_mailbox
from onhook.lib.messages import _

SESSION_SECONDS_MAX = 60.0
"""Of a session with one mail. Servers delay answers on purpose, and the largest mail has some megabytes."""

MailOutcome = Literal["sent", "refused", "deferred", "unreachable"]


class MailResult(msgspec.Struct, frozen=True):
    """What became of a mail: `refused` for good, `deferred` by a server that may take others, `unreachable` where there
    was no session. `detail` is what the server said, or why it said nothing.
    """

    outcome: MailOutcome
    detail: str


class MailServer(msgspec.Struct, frozen=True):
    """The mail server of the installation, as it is set now."""

    settings: MailSettings
    smtp_server: SmtpServer

    @property
    def sender(self) -> Mailbox:
        return parse_mailbox(self.settings.sender, "sender")


class MailSender:
    """Sends mails by the settings of the moment."""

    def __init__(self, config: Config, appdb: AppDb) -> None:
        self._config = config
        self._appdb = appdb

    async def load_server(self) -> MailServer:
        """Return the mail server as it is set now. Raises `NotFound` where none is, `RowUnreadable`."""
        settings, password = await self._appdb.mail_settings.require_with_password()
        return MailServer(settings, _smtp_server(settings, password))

    async def send(self, server: MailServer, make_mail: Callable[[Mailbox], Mail], sent_at: datetime) -> MailResult:
        """Send the mail that `make_mail` makes for the sender."""
        mail = make_mail(server.sender)
        data = await asyncio.to_thread(format_mail, mail, sent_at)
        guard = create_ssrf_guard(self._config.private_networks, allow_private=server.settings.allow_private)
        has_session, reply = False, ""
        try:
            async with asyncio.timeout(SESSION_SECONDS_MAX), open_session(server.smtp_server, guard) as session:
                has_session = True
                reply = await session.send(mail.sender.address, mail.recipients, data)
            detail = reply
        except (MailRefused, RecipientsRefused) as error:
            return MailResult("refused", error.message)
        except TimeoutError:
            detail = _("no response within {seconds:g} seconds", seconds=SESSION_SECONDS_MAX)
        except Unavailable as error:
            detail = error.message
        except OSError as error:
            detail = describe_connection_error(error)
        if reply:  # what was accepted is accepted, whatever happens to the end of the session
            return MailResult("sent", reply)
        return MailResult("deferred" if has_session else "unreachable", detail)


async def send_test_mail(config: Config, appdb: AppDb, clock: Clock, recipients: str) -> MailResult:
    """Send a test mail at once to addresses that are separated by commas. Raises `UsageError` for an invalid address,
    `NotFound` where no mail server is set.
    """
    sender, now = MailSender(config, appdb), clock.now()
    server = await sender.load_server()
    addresses = parse_addresses(recipients, "recipients") or [server.sender.address]

    def make_mail(mailbox: Mailbox) -> Mail:
        return Mail(
            sender=mailbox,
            recipients=addresses,
            subject=_("Test mail of Onhook"),
            text=_("Onhook can send mails by {host}.", host=server.settings.host),
            mail_key=f"test {clock.microseconds()}",
        )

    return await sender.send(server, make_mail, now)


def _smtp_server(settings: MailSettings, password: str) -> SmtpServer:
    scheme = "smtps" if settings.tls == "tls" else "smtp"
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    user = f"{quote(settings.user, safe='')}@" if settings.user else ""
    return SmtpServer(
        url=f"{scheme}://{user}{host}:{settings.port}",
        tls="off" if settings.tls == "off" else "verify",
        ca_certificates=settings.ca_certificates,
        passwords=(password,) if password else (),
        timeout_seconds=SESSION_SECONDS_MAX,
    )
