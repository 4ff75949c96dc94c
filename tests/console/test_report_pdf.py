"""PDF files of scheduled reports: by a process of its own, or a sentence that says what to install."""

import asyncio
import html
from ctypes.util import find_library
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest

from onhook.appdb.report_spec import ReportSpec
from onhook.console.pages import report_schedules as schedule_pages
from onhook.console.report_mails import changes, pdf
from onhook.console.report_mails.pdf import is_pdf_available, make_pdf
from onhook.lib.errors import Unavailable, UsageError
from onhook.lib.recurrence import Recurrence
from tests.console.conftest import ConsoleHarness
from tests.console.test_users import browser, invite, signed_in
from tests.factories import details
from tests.ops.report_world import open_report_world, read_file

__all__ = ["browser"]

needs_library = pytest.mark.skipif(
    not is_pdf_available() or find_library("pango-1.0") is None, reason="WeasyPrint is an extra, and needs Pango"
)
MOMENT = datetime(2026, 10, 24, 10, tzinfo=UTC)


@pytest.fixture
def without_library(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (pdf, changes, schedule_pages):
        monkeypatch.setattr(module, "is_pdf_available", lambda: False)


@pytest.mark.usefixtures("without_library")
async def test_report_pdf_form_and_api_say_what_to_install(
    harness: ConsoleHarness, browser: aiohttp.ClientSession
) -> None:
    async with signed_in(harness, await invite(browser, "alice", email="alice@example.com")) as alice:
        page = html.unescape(await (await alice.get("/report-schedules/new")).text())
        assert "make install PDF=1" in page
        assert 'name="pdf" value="yes" disabled' in page
        new = {"name": "Queues", "report": "queues", "files": ["pdf"]}
        answer = await alice.post("/api/v1/report-schedules", json=new)
        assert (answer.status, "make install PDF=1" in await answer.text()) == (400, True)


@pytest.mark.usefixtures("without_library")
async def test_report_pdf_mail_without_the_library_is_sent_without_the_file(tmp_path: Path) -> None:
    async with open_report_world(tmp_path) as world:
        world.set_time(MOMENT)
        await world.add_user("Ann")
        spec = ReportSpec(report="outcomes", recurrence=Recurrence(), files=("csv", "pdf"))
        schedule = await world.add("Ann", spec)
        world.clock.move(86_400)
        (mail,) = await world.run()
        assert [part.get_filename() for part in mail.message.iter_attachments()] == ["outcomes-2026-10-24.csv"]
        assert "PDF files need the library WeasyPrint" in mail.text
        assert (await world.get(schedule)).outcome == "partial"


@needs_library
@pytest.mark.slow
async def test_report_pdf_is_attached(tmp_path: Path) -> None:
    async with open_report_world(tmp_path) as world:
        world.set_time(MOMENT)
        await world.harness.ingest_details(
            [details(MOMENT, call_from="<b>Müller 中文 عربى<15550100>") for _call in range(3)]
        )
        await world.add_user("Ann")
        await world.add("Ann", ReportSpec(report="calls", recurrence=Recurrence(), files=("pdf",)))
        world.clock.move(86_400)
        (mail,) = await world.run()
        assert read_file(mail, "calls-2026-10-24.pdf").startswith(b"%PDF-")


@needs_library
@pytest.mark.slow
async def test_report_pdf_process_loads_nothing_and_is_limited(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    connection_count = 0

    async def count_connection(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connection_count
        connection_count += 1
        writer.close()

    server = await asyncio.start_server(count_connection, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    style = tmp_path / "style.css"
    style.write_text("@page { size: 10mm 10mm }")
    hostile = (
        f'<link rel="stylesheet" href="http://127.0.0.1:{port}/"><link rel="stylesheet" href="file://{style}">'
        f'<img src="http://127.0.0.1:{port}/"><p>text</p>'
    )
    async with server:
        page = await make_pdf(hostile)
    assert (page.startswith(b"%PDF-"), connection_count) == (True, 0)
    monkeypatch.setattr(pdf, "PDF_SECONDS_MAX", 0.01)
    with pytest.raises(Unavailable, match=r"more than 0\.01 seconds"):
        await make_pdf(hostile)


async def test_report_pdf_process_has_no_secret_and_leaves_its_stacks_in_the_log(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The process is a mock, which shows its environment and crashes."""
    (tmp_path / "crash.py").write_text(
        "import os, sys\nprint(*sorted(os.environ), file=sys.stderr, flush=True)\nos.kill(os.getpid(), 11)\n"
    )
    for name in ("ONHOOK_PROXY", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "geheim")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(pdf, "LIBRARY", "json")
    monkeypatch.setattr(pdf, "PROCESS_MODULE", "crash")
    with pytest.raises(Unavailable):
        await make_pdf("<p>")
    (record,) = [record for record in caplog.records if "crashed" in record.message]
    names, _, stacks = vars(record)["output"].partition("\n")
    assert {"PATH", "PYTHONPATH"} <= set(names.split())
    assert not {"ONHOOK_PROXY", "AWS_SECRET_ACCESS_KEY"} & set(names.split())
    assert ("Segmentation fault" in stacks, "crash.py" in stacks) == (True, True)


async def test_report_pdf_without_the_library_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf, "LIBRARY", "no_such_library")
    with pytest.raises(UsageError, match="make install PDF=1"):
        await make_pdf("<p>")
