"""What can be sent as a scheduled report: the reports of the page Reports, the list of calls, and the digest of missed
calls. Each is a `Report`: a table, and a note on it.
"""

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType

import msgspec

from onhook.appdb.report_spec import CALLS_REPORT
from onhook.cdr.record import Call
from onhook.console.pages.formatting import call_url
from onhook.console.pages.reports.kinds import KINDS
from onhook.console.pages.reports.missed import describe_counts
from onhook.console.pages.reports.report import Cell, Column, Report, ReportQuery
from onhook.console.queries.directory import name_calls
from onhook.console.queries.missed_inbox import LISTED_MAX, InboxEntry, load_inbox
from onhook.console.state import AppState
from onhook.lib.messages import _, mark
from onhook.store.contract import PAGE_MAX

CALLS_MAX = 10_000
"""In a list of calls: a workbook of a megabyte. More calls are exported."""

MISSED_DIGEST = "missed-digest"


class SubjectReader(msgspec.Struct, frozen=True, kw_only=True):
    """Who reads a report: the console as the user sees it, and the name of the user."""

    app_state: AppState
    user_name: str


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """Title of what is sent, the group in which a form lists it, and its builder. `path` is its page, without query."""

    title: str
    group: str
    path: str
    build: Callable[[SubjectReader, ReportQuery], Awaitable[Report]]
    has_steps: bool = False
    is_grouped: bool = False
    """Whether it can be by department or site."""


async def _build_calls(reader: SubjectReader, query: ReportQuery) -> Report:
    """Return the calls of the period, the latest first."""
    calls: list[Call] = []
    cursor = None
    while len(calls) < CALLS_MAX:
        limit = min(PAGE_MAX, CALLS_MAX - len(calls))
        page = await query.store.calls(query.search_filter, limit, cursor)
        calls += (await name_calls(reader.app_state, page)).data
        cursor = page.next
        if cursor is None:
            break
    return Report(
        columns=[
            Column(mark("Started"), "time"),
            Column(mark("From"), "party"),
            Column(mark("To"), "party"),
            Column(mark("Outcome"), "outcome"),
            Column(mark("Answered by"), "party"),
            Column(mark("Wait"), "seconds"),
            Column(mark("Talk"), "seconds"),
            Column(mark("PBX"), "text"),
        ],
        rows=[_call_cells(call) for call in calls],
        note="" if cursor is None else _("The latest {limit} calls.", limit=CALLS_MAX),
    )


def _call_cells(call: Call) -> tuple[Cell, ...]:
    return (
        Cell(call.started_at, call_url(call.sn, call.call_id)),
        *(Cell(call.call_from), Cell(call.call_to), Cell(call.status), Cell(call.answered_by)),
        *(Cell(call.wait_duration), Cell(call.talk_duration), Cell(call.pbx)),
    )


async def _build_missed_digest(reader: SubjectReader, query: ReportQuery) -> Report:
    """Return the missed calls of the period that are not returned by now, those of one caller together."""
    inbox = await load_inbox(reader.app_state, query.search_filter, "open", reader.user_name)
    note = describe_counts(inbox.counts, query.search_filter.type)
    return Report(
        columns=[
            Column(mark("Latest call"), "time"),
            Column(mark("From"), "party"),
            Column(mark("Calls"), "count"),
            Column(mark("Longest wait"), "seconds"),
            Column(mark("DID"), "text"),
            Column(mark("PBX"), "text"),
            Column(mark("In progress by"), "text"),
        ],
        rows=[_entry_cells(entry) for entry in inbox.entries],
        note=f"{note} {_('The latest {limit} are listed.', limit=LISTED_MAX)}" if inbox.is_cut else note,
    )


def _entry_cells(entry: InboxEntry) -> tuple[Cell, ...]:
    waits = [call.wait_duration for call in entry.calls if call.wait_duration is not None]
    latest = entry.latest
    return (
        Cell(latest.started_at, call_url(latest.sn, latest.call_id)),
        *(Cell(entry.caller), Cell(len(entry.calls)), Cell(max(waits, default=None))),
        *(Cell(entry.did), Cell(latest.pbx), Cell(entry.work.claimed_by)),
    )


def _subject_of(name: str) -> Subject:
    kind = KINDS[name]

    async def build(_reader: SubjectReader, query: ReportQuery) -> Report:
        return await kind.build(query)

    return Subject(
        title=kind.title,
        group=kind.group,
        path="/reports",
        build=build,
        has_steps=kind.has_steps,
        is_grouped=kind.make_grouped is not None,
    )


SUBJECTS: Mapping[str, Subject] = MappingProxyType(
    {
        MISSED_DIGEST: Subject(
            title=mark("Missed calls to return"), group=mark("Calls"), path="/missed", build=_build_missed_digest
        ),
        CALLS_REPORT: Subject(title=mark("List of calls"), group=mark("Calls"), path="/calls", build=_build_calls),
        **{name: _subject_of(name) for name in KINDS},
    }
)
