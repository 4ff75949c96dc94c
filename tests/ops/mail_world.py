"""An application database, a mail server, and the job that sends mails, with the clock of the test."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

from onhook.appdb.appdb import AppDb
from onhook.appdb.mail_settings import MailSettings
from onhook.appdb.mails import MailContent, MailKind, NewMail, StoredMail
from onhook.config import Config
from onhook.delivery.mail_sender import MailSender
from onhook.lib.clock import SystemClock
from onhook.lib.timestamps import to_datetime
from onhook.ops.mail_job import MailJob
from tests.mail_server import MailServer

NOW_US = 1_796_000_000_000_000


class MovedClock(SystemClock):
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.us = NOW_US

    def microseconds(self) -> int:
        return self.us

    def now(self) -> datetime:
        return to_datetime(self.us)

    def move(self, seconds: float) -> None:
        self.us += round(seconds * 1_000_000)


class MailWorld:
    """See the module."""

    def __init__(self, config: Config, appdb: AppDb, server: MailServer) -> None:
        self.config = config
        self.appdb = appdb
        self.server = server
        self.clock = MovedClock()
        self.job = self.restarted_job()

    def restarted_job(self) -> MailJob:
        """Return the job as another process has it."""
        return MailJob(self.appdb, MailSender(self.config, self.appdb), self.clock)

    async def set_server(self, *, mails_per_hour: int = 100, sender: str = "Onhook <calls@example.com>") -> None:
        await self.appdb.mail_settings.put(
            MailSettings(
                host="127.0.0.1",
                port=self.server.port,
                tls="off",
                sender=sender,
                allow_private=True,
                mails_per_hour=mails_per_hour,
            )
        )

    async def add(self, key: str, text: str = "Hello", kind: MailKind = "issues") -> bool:
        content = MailContent(text=text)
        mail = NewMail(mail_key=key, kind=kind, recipient="ann@example.com", subject=f"Mail {key}", content=content)
        return await self.appdb.mails.add(mail, now_us=self.clock.us)

    async def states(self) -> dict[str, str]:
        """Return the states of the mails by subject."""
        return {mail.subject.removeprefix("Mail "): mail.state for mail in await self.list_mails()}

    async def list_mails(self) -> list[StoredMail]:
        return await self.appdb.mails.latest(100)


@asynccontextmanager
async def open_mail_world(directory: Path) -> AsyncIterator[MailWorld]:
    """Yield a mail world whose server listens and is set."""
    config = Config(data=directory)
    async with MailServer().listen() as server, AppDb(config.appdb_file) as appdb:
        world = MailWorld(config, appdb, server)
        await world.set_server()
        yield world
