"""The mails of one run of a schedule: text and HTML, files, and links that end them."""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import ClassVar
from uuid import uuid4
from zoneinfo import ZoneInfo

import msgspec

from onhook.appdb.mails import MailAttachment, MailContent, NewMail
from onhook.appdb.report_schedules import ReportRun, ReportSchedule
from onhook.appdb.users import User
from onhook.console.invitation_mails import find_console_url
from onhook.console.pages.filter_chips import describe_filters
from onhook.console.pages.formatting import (
    WEEKDAYS,
    count,
    format_date,
    hour_of_day,
    local_time,
    minutes,
    outcome,
    percent,
)
from onhook.console.pages.rendering import View, render
from onhook.console.pages.reports.report import Cell, Column
from onhook.console.pages.totals import Totals
from onhook.console.queries.period import Period
from onhook.console.report_mails.files import CONTENT_TYPES, FILE_ROWS_MAX, make_file
from onhook.console.report_mails.pdf import PDF_ROWS_MAX, make_pdf
from onhook.console.report_mails.reading import ReadReport, read_report
from onhook.console.report_mails.recipients import find_recipients
from onhook.console.report_mails.subjects import SUBJECTS
from onhook.console.report_mails.unsubscribing import UNSUBSCRIBE_PATH, make_token
from onhook.console.state import AppState
from onhook.lib.errors import OnhookError, Unavailable
from onhook.lib.languages import use_language
from onhook.lib.messages import _, _n
from onhook.lib.recurrence import Recurrence, covered_period, latest_occurrence
from onhook.lib.text import UNKNOWN
from onhook.lib.timestamps import to_microseconds

MAIL_ROWS_MAX = 100
"""Rows of the table in a mail; a file has more, and the page has all."""

FILES_BYTES_MAX = 1_500_000
"""Of all files of a mail together: each recipient has a copy, which waits in the application database."""

_MOMENT = timedelta(microseconds=1)

FIGURE_KINDS = frozenset({"count", "seconds", "share"})


class MailCell(msgspec.Struct, frozen=True):
    """A cell as it is read, and its link, or empty."""

    text: str
    href: str


class ReportMailView(View, frozen=True, kw_only=True):
    """Values of the HTML of a mail."""

    template: ClassVar = "report_mail.html"
    name: str
    lines: Sequence[str]
    totals: str
    note: str
    columns: Sequence[tuple[str, bool]]
    rows: Sequence[Sequence[MailCell]]
    cut_note: str
    report_url: str
    footer: str
    unsubscribe_url: str


class ReportPdfView(ReportMailView, frozen=True, kw_only=True):
    """The same values as pages of paper."""

    template: ClassVar = "report_pdf.html"


class MailBody(msgspec.Struct, frozen=True):
    """The content of a mail as text and as HTML."""

    text: str
    html: str


class MailBodies(msgspec.Struct, frozen=True, kw_only=True):
    """The content of the mail to the user, and that of mails to other addresses, which have `token_mark` in place of
    the token that ends them.
    """

    own: MailBody
    other: MailBody
    token_mark: str

    def for_token(self, token: str) -> MailBody:
        """Return the content of the mail to another address."""
        return MailBody(
            self.other.text.replace(self.token_mark, token), self.other.html.replace(self.token_mark, token)
        )


async def build_report_mails(app_state: AppState, schedule: ReportSchedule, user: User) -> ReportRun:
    """Return the mails of the time of a schedule that is due, or of a test, and what is to be listed of it, in
    the language of its user. Raises `Unavailable` where it is worth trying again soon.
    """
    with use_language((await app_state.appdb.reader_settings.get(user.name)).language):
        return await _build_mails(app_state, schedule, user)


async def _build_mails(app_state: AppState, schedule: ReportSchedule, user: User) -> ReportRun:
    now = app_state.clock.now()
    occurrence = latest_occurrence(schedule.spec.recurrence, now)
    period = Period(*covered_period(schedule.spec.recurrence, occurrence.day))
    recipients = await find_recipients(app_state.appdb, schedule, user, now_us=to_microseconds(now))
    if not recipients.count:
        return ReportRun(outcome="failed", detail=_join(recipients.problems))
    try:
        read = await read_report(app_state, user, schedule.spec, period)
    except Unavailable:
        raise
    except OnhookError as error:
        return ReportRun(outcome="failed", detail=str(error))
    console_url = await find_console_url(app_state.appdb)
    writer = ReportMailWriter(schedule, user, read, period, console_url)
    files, problems = await _make_files(writer)
    # A test is another mail each time; a time that is due is one mail, however often it is run.
    run_key = occurrence.time.isoformat() if schedule.test_at is None else f"test {schedule.test_at.isoformat()}"
    addresses = [*([recipients.own] if recipients.own else []), *recipients.other_addresses]
    # In a thread, and once for all recipients: a table of a hundred rows takes some milliseconds.
    bodies = await asyncio.to_thread(writer.make_bodies, problems)
    mails = [
        await _make_mail(app_state, writer, bodies, files, run_key, address, is_own=address == recipients.own)
        for address in addresses
    ]
    problems = [*recipients.problems, *problems]
    sent = _n("1 mail", "{count} mails", len(mails))
    return ReportRun(outcome="partial" if problems else "sent", detail=_join([sent, *problems]), mails=mails)


async def _make_files(writer: "ReportMailWriter") -> tuple[Sequence[MailAttachment], list[str]]:
    """Return the files of a report, and why there are fewer of them: a mail without one says more than none."""
    files, problems = await asyncio.to_thread(writer.make_tables), list[str]()
    if "pdf" in writer.schedule.spec.files:
        try:
            content = await make_pdf(await asyncio.to_thread(writer.make_pdf_html))
            files.append(MailAttachment(f"{writer.file_name}.pdf", CONTENT_TYPES["pdf"], content))
        except OnhookError as error:
            problems.append(str(error))
    if sum(len(file.content) for file in files) <= FILES_BYTES_MAX:
        return files, problems
    reason = _("the files have more than {maximum} bytes and are not attached", maximum=FILES_BYTES_MAX)
    return (), [*problems, reason]


async def _make_mail(  # noqa: PLR0917 - the parts of a mail
    app_state: AppState,
    writer: "ReportMailWriter",
    bodies: MailBodies,
    files: Sequence[MailAttachment],
    run_key: str,
    address: str,
    *,
    is_own: bool,
) -> NewMail:
    body, url = bodies.own, ""
    if not is_own:
        token = await make_token(app_state.appdb, writer.schedule.schedule_id, address)
        body, url = bodies.for_token(token), writer.unsubscribe_url(token)
    return NewMail(
        mail_key=f"report {writer.schedule.schedule_id} {run_key} {address.casefold()}",
        kind="report",
        recipient=address,
        subject=writer.subject,
        content=MailContent(
            text=body.text,
            html=body.html,
            thread_key=f"report {writer.schedule.schedule_id}",
            unsubscribe_url=url,
            attachments=files,
        ),
    )


class ReportMailWriter:
    """Writes the mails of one run: all but the link for unsubscribing is the same for all recipients."""

    def __init__(
        self, schedule: ReportSchedule, user: User, read: ReadReport, period: Period, console_url: str
    ) -> None:
        self.schedule = schedule
        self.console_url = console_url
        self._user = user
        self._read = read
        self._period = period
        self._zone = ZoneInfo(schedule.spec.recurrence.zone)
        self._titles = [_(column.title) for column in read.report.columns]

    @property
    def subject(self) -> str:
        subject = f"{self.schedule.name}: {format_period(self._period, self._zone)}"
        return subject if self.schedule.test_at is None else _("Test: {subject}", subject=subject)

    @property
    def file_name(self) -> str:
        """Return the name of files, without the end that says the format."""
        return f"{self.schedule.spec.report}-{self._period.since.astimezone(self._zone):%Y-%m-%d}"

    def make_tables(self) -> list[MailAttachment]:
        """Return the files that are tables; it takes up to seconds."""
        return [
            make_file(file_format, self._read.report, self._zone, name=self.file_name, titles=self._titles)
            for file_format in self.schedule.spec.files
            if file_format != "pdf"
        ]

    def make_pdf_html(self) -> str:
        """Return the page of which a PDF is made: as the mail, with more rows."""
        return render(self._make_view(ReportPdfView, PDF_ROWS_MAX, "", ()))

    def make_bodies(self, problems: Sequence[str]) -> MailBodies:
        """Return the contents of all mails."""
        token_mark = uuid4().hex
        url = self.unsubscribe_url(token_mark)
        return MailBodies(
            own=MailBody(self.make_text("", problems), self.make_html("", problems)),
            other=MailBody(self.make_text(url, problems), self.make_html(url, problems)),
            token_mark=token_mark,
        )

    def unsubscribe_url(self, token: str) -> str:
        """Return the page on which an address ends these mails."""
        return f"{self.console_url}{UNSUBSCRIBE_PATH}?token={token}"

    def make_text(self, unsubscribe_url: str, problems: Sequence[str]) -> str:
        """Return the mail as text: a line for each row."""
        lines = [" · ".join(cell.text for cell in row) for row in self._make_rows(MAIL_ROWS_MAX)]
        parts = [
            "\n".join([self.schedule.name, *self._lines()]),
            self._totals(),
            self._read.report.note,
            "\n".join([" · ".join(self._titles), *lines]) if lines else _("No calls belong here."),
            *(self._cut_note(MAIL_ROWS_MAX), _join(problems), self._report_url(), self._footer()),
            _("Unsubscribe: {url}", url=unsubscribe_url) if unsubscribe_url else "",
        ]
        return "\n\n".join(part for part in parts if part)

    def make_html(self, unsubscribe_url: str, problems: Sequence[str]) -> str:
        """Return the mail as a page without scripts, pictures and style sheets, which programs of mail leave out."""
        return render(self._make_view(ReportMailView, MAIL_ROWS_MAX, unsubscribe_url, problems))

    def _make_view(
        self, view: type[ReportMailView], rows_max: int, unsubscribe_url: str, problems: Sequence[str]
    ) -> ReportMailView:
        report = self._read.report
        return view(
            name=self.schedule.name,
            lines=self._lines(),
            totals=self._totals(),
            note=report.note,
            columns=[
                (title, column.kind in FIGURE_KINDS) for title, column in zip(self._titles, report.columns, strict=True)
            ],
            rows=self._make_rows(rows_max),
            cut_note=_join([self._cut_note(rows_max), *problems]),
            report_url=self._report_url(),
            footer=self._footer(),
            unsubscribe_url=unsubscribe_url,
        )

    def _make_rows(self, rows_max: int) -> list[list[MailCell]]:
        report = self._read.report
        return [
            [
                MailCell(format_cell(cell, column, self._zone), self._link(cell.href))
                for cell, column in zip(row, report.columns, strict=True)
            ]
            for row in report.rows[:rows_max]
        ]

    def _lines(self) -> list[str]:
        """Return what the report is about: its title, period and filters."""
        query = self._read.query
        filters = ", ".join(describe_filters(self.schedule.spec.filters, query.directory, query.search_filter.scope))
        title = _(SUBJECTS[self.schedule.spec.report].title)
        period = _(
            "{since} to {until}, {zone}",
            since=local_time(self._period.since, self._zone),
            until=local_time(self._period.until, self._zone),
            zone=self._zone.key,
        )
        return [title, period, *([filters] if filters else [])]

    def _totals(self) -> str:
        return format_totals(self._read.totals)

    def _cut_note(self, rows_max: int) -> str:
        row_count = len(self._read.report.rows)
        if row_count <= rows_max:
            return ""
        note = _("The first {maximum} of {count} rows.", maximum=rows_max, count=row_count)
        if self.schedule.spec.files and row_count > FILE_ROWS_MAX:
            return f"{note} {_('Files have the first {maximum}.', maximum=FILE_ROWS_MAX)}"
        return note

    def _report_url(self) -> str:
        """Return the page of the report, for the same period."""
        if not self.console_url:
            return ""
        query, spec = self._read.query, self.schedule.spec
        path = SUBJECTS[spec.report].path
        # How a report is divided is no parameter of lists.
        divisions = [f"{name}={spec.filters[name]}" for name in ("by", "group_by") if name in spec.filters]
        parts = [f"report={spec.report}", *divisions] if path == "/reports" else []
        parts += [text for text in query.filters.values() if text]
        return f"{self.console_url}{path}?{'&'.join(parts)}"

    def _link(self, href: str) -> str:
        return f"{self.console_url}{href}" if href and self.console_url else ""

    def _footer(self) -> str:
        return _(
            "Onhook sends this report for {user}: {times}.",
            user=self._user.name,
            times=describe_recurrence(self.schedule.spec.recurrence),
        )


def format_cell(cell: Cell, column: Column, zone: ZoneInfo) -> str:
    """Return a value as it is read."""
    match cell.value:
        case None | "":
            return UNKNOWN
        case datetime() as time:
            return local_time(time, zone)
        case str() as text:
            return outcome(text) if column.kind == "outcome" else cell.label
        case number:
            if cell.name:
                return cell.label
            match column.kind:
                case "seconds":
                    return minutes(round(number))
                case "share":
                    return percent(float(number))
                case _kind:
                    return count(round(number))


def format_totals(totals: Totals) -> str:
    """Return the totals of a period in one line."""
    answered = count(totals.answered)
    if totals.calls:
        answered = f"{answered} ({percent(totals.answered / totals.calls)})"
    return _(
        "Calls: {calls} · answered: {answered} · missed: {missed} · talk: {talk}",
        calls=count(totals.calls),
        answered=answered,
        missed=count(totals.missed),
        talk=minutes(totals.talk_duration),
    )


def format_period(period: Period, zone: ZoneInfo) -> str:
    """Return the days of a period: one, or the first and the last."""
    first = period.since.astimezone(zone).date()
    # The period ends with the last moment of its last day.
    last = (period.until.astimezone(zone).replace(tzinfo=None) - _MOMENT).date()
    return (
        format_date(first)
        if first == last
        else _("{first} to {last}", first=format_date(first), last=format_date(last))
    )


def describe_recurrence(recurrence: Recurrence) -> str:
    """Return when a report is sent, for a person."""
    hour = hour_of_day(recurrence.hour, ZoneInfo(recurrence.zone))
    match recurrence.frequency:
        case "daily":
            return _("daily at {hour}, {zone}", hour=hour, zone=recurrence.zone)
        case "weekly":
            weekday = WEEKDAYS[recurrence.weekday - 1]
            return _("weekly on {weekday} at {hour}, {zone}", weekday=_(weekday), hour=hour, zone=recurrence.zone)
        case "monthly":
            return _("monthly on day {day} at {hour}, {zone}", day=recurrence.day, hour=hour, zone=recurrence.zone)


def _join(sentences: Iterable[str]) -> str:
    return "; ".join(sentence for sentence in sentences if sentence)
