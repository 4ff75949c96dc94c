"""A data directory in which everything has a telephone number that may have one."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import msgspec

from onhook.appdb.appdb import AppDb
from onhook.appdb.delivery_rows import DeliveryCommit, HttpExchange, NewAttempt, NewDelivery, NewLoggedAttempt
from onhook.appdb.destination_spec import DestinationSpec
from onhook.appdb.mails import MailAttachment, MailContent, NewMail
from onhook.appdb.report_spec import ReportSpec
from onhook.cdr.record import Call
from onhook.cdr.record_filter import RecordFilter
from onhook.config import Config
from onhook.ledger.contract import AppendResult, LedgerEntry
from onhook.lib.clock import SystemClock
from onhook.lib.recurrence import Recurrence
from onhook.pbx.registry import dialects
from onhook.runtime.data_files import OpenDataFiles, open_files
from tests.factories import SN, STARTED_AT, details

NUMBER = "+49 30 901820"
DIGITS = b"30901820"
"""Part of each notation that is written without separators."""

NAME = b"Alice Smith"
OTHER = "0401234567"
RECORDING = "20260427-030901820-1001.wav"
CALLS = 5
CALLS_OF_NUMBER = 3


def call_id(number: int) -> str:
    return f"{int(STARTED_AT.timestamp()) + 60 * number}.{number}"


def event(number: int, call_from: str, *, call_to: str = "Bob<1001>", **changes: object) -> bytes:
    """Return the event of a leg of a call."""
    started_at = STARTED_AT + timedelta(minutes=number)
    leg = details(started_at, call_id=call_id(number), call_from=call_from, call_to=call_to, **changes)
    return dialects()["yeastar"].format(leg, SN, "p-2026")


def entry(body: bytes, via: str = "webhook") -> LedgerEntry:
    key = dialects()["yeastar"].peek(body).key
    now_us = SystemClock().microseconds()
    return LedgerEntry(sn=SN, dialect="yeastar", via=via, received_at=now_us, key=key, body=body, signature="signature")


FIRST = event(0, "Alice Smith<030901820>", recording=RECORDING, talk_duration=14)
EVENTS = (
    FIRST,
    event(0, "Alice Smith", call_to="Sales<6400>"),
    event(1, "1001", call_to="+4930901820", type="Outbound", dst_trunk_name="SIP"),
    event(2, "0049 30901820", status="NO ANSWER", talk_duration=0),
    event(3, OTHER, recording="other.wav"),
    event(4, OTHER, call_to="Carol<1003>"),
)
UNREADABLE = json.dumps({"type": 30012, "sn": SN, "msg": '{"call_from": "030901820"'}).encode()


@asynccontextmanager
async def open_directory(config: Config) -> AsyncIterator[OpenDataFiles]:
    """Yield the open files of a data directory with one PBX."""
    config.data.mkdir(exist_ok=True)
    async with AppDb(config.appdb_file) as appdb:
        if not await appdb.pbxs():
            await appdb.add_pbx(name="Office", sn=SN, secret="0123456789", now_us=1, zone="Europe/Berlin")
    async with open_files(config, create=True) as files:
        yield files


async def append(files: OpenDataFiles, *bodies: bytes, via: str = "webhook") -> list[AppendResult]:
    results = await files.ledger.append([entry(body, via) for body in bodies])
    await files.catch_up()
    return results


async def read_calls(files: OpenDataFiles) -> list[Call]:
    calls = (await files.store.calls(RecordFilter(), 1_000)).data
    return sorted(calls, key=lambda call: call.call_id)


def find_bytes(directory: Path, text: bytes = DIGITS) -> list[str]:
    """Return the files with these bytes, by their content or their name."""
    return sorted(
        str(path.relative_to(directory))
        for path in directory.rglob("*")
        if path.is_file() and (text in path.read_bytes() or text in path.name.encode())
    )


async def fill(config: Config, recordings: Path | None = None) -> None:
    """Store calls, and everything else that may have the number."""
    recordings = recordings or config.data / "recordings"
    recordings.mkdir(parents=True)
    for name in (RECORDING, "other.wav"):
        (recordings / name).write_bytes(b"RIFF")
    async with open_directory(config) as files:
        await append(files, *EVENTS, UNREADABLE)
        appdb = files.appdb
        await appdb.recordings.put(SN, recordings)
        await appdb.notes.write(SN, call_id(0), "Alice Smith calls back", "new", author="Eve", now_us=1)
        await appdb.notes.write(SN, call_id(3), "not +49 30/901820, 030901820", "", author="Eve", now_us=1)
        await appdb.notes.write(SN, call_id(4), "stays", "", author="Eve", now_us=1)
        await appdb.saved_searches.add("First", "/calls?q=%2B4930901820", author="Eve")
        await appdb.saved_searches.add("Missed", "/calls?status=!ANSWERED", author="Eve")
        await appdb.saved_questions.add("First", "SELECT 1 WHERE call_from = '030901820'", author="Eve")
        await appdb.saved_questions.add("Outcomes", "SELECT status FROM calls", author="Eve")
        for sql in ("FROM calls WHERE call_from = '+4930901820'", "SELECT status FROM calls"):
            await appdb.sql_history.add(sql, author="Eve", now_us=1)
        await appdb.tokens.add("sheet", "reader", now_us=1, export_filter="number=030901820")
        await appdb.audit.add_read("export of csv: number=030901820", now_us=1)
        await _add_schedules(appdb)
        await _add_mails(appdb)
        await _add_deliveries(appdb)


async def _add_schedules(appdb: AppDb) -> None:
    """Add a scheduled report about the number, and one without it that is due at ten."""
    await appdb.users.add("Eve", "reader", None, now_us=1)
    for name, query in (("VIP", "caller=%2B4930901820"), ("Missed", "status=!ANSWERED")):
        spec = ReportSpec(report="calls", query=query, recurrence=Recurrence(hour=10))
        await appdb.report_schedules.add("Eve", name, spec, now_us=1)


async def _add_mails(appdb: AppDb) -> None:
    """Add mails with the number in subject, text and file, and one without it."""
    file = MailAttachment("calls.csv", "text/csv", b"from\r\n030901820\r\n")
    for subject, content in (
        ("030901820 waits", MailContent(text="")),
        ("in the text", MailContent(text="Missed calls:\n030901820")),
        ("in the file", MailContent(text="", attachments=(file,))),
        ("stays", MailContent(text=f"Missed calls:\n{OTHER}")),
    ):
        mail = NewMail(mail_key=subject, kind="report", recipient="ann@example.com", subject=subject, content=content)
        await appdb.mails.add(mail, now_us=1)


async def _add_deliveries(appdb: AppDb) -> None:
    """Add a delivery that failed for a call of the number, and one for another call; and attempts of both that were
    accepted.
    """
    spec = DestinationSpec(url="http://127.0.0.1:1/", allow_private=True)
    destination, _secret = await appdb.destinations.add("crm", spec, "s" * 32, after=0, now_us=1)
    (stream,) = await appdb.destinations.streams(destination.destination_id)
    attempt = NewAttempt(attempted_at=1, duration_ms=1, status=500, detail="error", body=b"no 030901820")
    deliveries = [
        NewDelivery(
            notification_id=f"n{number}",
            seq=number + 1,
            call=(SN, call_id(number)),
            body=EVENTS[number + (number > 0)],
            due_at=2**60,
            pending_since=1,
            attempt=attempt if number == 0 else None,
        )
        for number in (0, 3)
    ]
    exchange = HttpExchange(method="POST", url="http://127.0.0.1:1/030901820", request_headers={}, body="030901820")
    logged_attempts = [
        NewLoggedAttempt(
            notification_id=delivery.notification_id,
            seq=delivery.seq,
            call=delivery.call,
            body=delivery.body,
            state="accepted",
            attempt=attempt if delivery.attempt else msgspec.structs.replace(attempt, body=b"yes"),
            exchange=exchange if delivery.attempt else None,
        )
        for delivery in deliveries
    ]
    await appdb.deliveries.commit(
        DeliveryCommit(
            destination_id=destination.destination_id,
            revision=destination.revision,
            logged_attempts=logged_attempts,
            cursors={stream.stream_id: 0},
            finished_replays=(),
            new_deliveries=deliveries,
            updates=[],
            attempts_succeeded=0,
            attempts_failed=1,
            failing_since=None,
            retry_after=0,
            retry_all_now=False,
            now_us=1,
        )
    )
