"""A console with calls, a mail server, and the jobs that run reports and send mails, with the clock of the test."""

import csv
import io
import zipfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec

from onhook.appdb.mail_settings import MailSettings
from onhook.appdb.report_schedules import ReportSchedule
from onhook.appdb.report_spec import ReportSpec
from onhook.cdr.access_scope import AccessScope
from onhook.console.report_mails.mails import build_report_mails
from onhook.delivery.mail_sender import MailSender
from onhook.lib.timestamps import to_microseconds
from onhook.ops.mail_job import MailJob
from onhook.ops.report_job import ReportJob
from tests.console.conftest import ConsoleHarness, open_console_harness
from tests.mail_server import MailServer, ReceivedMail
from tests.ops.mail_world import MovedClock

CONSOLE_URL = "https://calls.example.com"


class ReportWorld:
    """See the module. Users have the address `NAME@example.com`."""

    def __init__(self, harness: ConsoleHarness, server: MailServer) -> None:
        self.harness = harness
        self.appdb = harness.appdb
        self.server = server
        self.clock = MovedClock()
        self.job = self.restarted_job()

    def restarted_job(self) -> ReportJob:
        """Return the job as another process has it."""
        app_state = msgspec.structs.replace(self.harness.app_state, clock=self.clock)
        return ReportJob(self.appdb, partial(build_report_mails, app_state), self.clock)

    def set_time(self, time: datetime) -> None:
        self.clock.us = to_microseconds(time)

    async def set_server(self, *, console_url: str = CONSOLE_URL) -> None:
        await self.appdb.mail_settings.put(
            MailSettings(
                host="127.0.0.1",
                port=self.server.port,
                tls="off",
                sender="Onhook <calls@example.com>",
                allow_private=True,
                console_url=console_url,
            )
        )

    async def add_user(
        self,
        name: str,
        role: str = "reader",
        scope: AccessScope | None = None,
        *,
        permissions: Sequence[str] = (),
        has_email: bool = True,
    ) -> None:
        email = f"{name}@example.com" if has_email else ""
        await self.appdb.users.add(name, role, scope, now_us=self.clock.us, permissions=list(permissions), email=email)

    async def add(self, user: str, spec: ReportSpec, name: str = "Weekly figures") -> ReportSchedule:
        return await self.appdb.report_schedules.add(user, name, spec, now_us=self.clock.us)

    async def get(self, schedule: ReportSchedule) -> ReportSchedule:
        return await self.appdb.report_schedules.get(schedule.schedule_id)

    async def run(self) -> list[ReceivedMail]:
        """Run what is due, and return the mails that the server got."""
        self.server.mails.clear()
        await self.job.run_round()
        await MailJob(self.appdb, MailSender(self.harness.config, self.appdb), self.clock).run_round()
        return list(self.server.mails)


def read_csv(mail: ReceivedMail) -> list[dict[str, str]]:
    """Return the rows of the CSV file of a mail."""
    content = read_file(mail, ".csv")
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


def read_file(mail: ReceivedMail, suffix: str) -> bytes:
    for part in mail.message.iter_attachments():
        if str(part.get_filename()).endswith(suffix):
            content = part.get_payload(decode=True)
            assert isinstance(content, bytes)
            return content
    raise AssertionError(suffix)


def read_xlsx(mail: ReceivedMail) -> list[list[str]]:
    """Return the cells of the sheet of a workbook as texts, read without a library for them."""
    space = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
    with zipfile.ZipFile(io.BytesIO(read_file(mail, ".xlsx"))) as book:
        strings = ET.fromstring(book.read("xl/sharedStrings.xml"))  # noqa: S314 - our own file
        texts = ["".join(item.itertext()) for item in strings.iter(f"{space}si")]
        sheet = ET.fromstring(book.read("xl/worksheets/sheet1.xml"))  # noqa: S314 - our own file
    rows = []
    for row in sheet.iter(f"{space}row"):
        cells = []
        for cell in row.iter(f"{space}c"):
            value = cell.find(f"{space}v")
            text = "" if value is None or value.text is None else value.text
            cells.append(texts[int(text)] if cell.get("t") == "s" else text)
        rows.append(cells)
    return rows


@asynccontextmanager
async def open_report_world(directory: Path) -> AsyncIterator[ReportWorld]:
    """Yield a world whose mail server listens and is set."""
    async with open_console_harness(directory) as harness, MailServer().listen() as server:
        world = ReportWorld(harness, server)
        await world.set_server()
        yield world
