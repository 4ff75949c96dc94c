"""Pages of issues, of alarms, and of an event as its bytes are."""

from collections.abc import Sequence
from typing import ClassVar

from litestar import Response, get

from onhook.appdb.stored_json import UnreadableRow
from onhook.console.pages.page import Message, render_page
from onhook.console.pages.remedies import is_removable
from onhook.console.pages.rendering import View
from onhook.console.parameters import ReaderZone, Seq
from onhook.console.queries.audited_reads import audit_or_log_read
from onhook.console.queries.coverage import NamedAlarm, list_backfill_sns, list_named_alarms
from onhook.console.queries.quarantine import list_counters, load_quarantine
from onhook.console.queries.raw_events import RawEventDetails, find_raw_event
from onhook.console.state import AnyRequest, AppStateDep
from onhook.receiver.rejections import RequestCounter
from onhook.store.contract import QuarantineEntry

QUARANTINE_SHOWN_MAX = 200


class IssuesView(View, frozen=True, kw_only=True):
    """Values of the page, besides the open issues, which every page has; `backfill_sns` are the PBXs from which past
    calls can be fetched.
    """

    template: ClassVar = "issues.html"
    message: str
    error: str
    removable_rows: Sequence[UnreadableRow]
    backfill_sns: frozenset[str]
    unreadable_rows: Sequence[UnreadableRow]
    quarantined: Sequence[QuarantineEntry]
    quarantined_total: int
    rejections: Sequence[RequestCounter]
    registered_sns: frozenset[str]


class AlarmsView(View, frozen=True, kw_only=True):
    """Values of the page: open and ended alarms."""

    template: ClassVar = "alarms.html"
    alarms: Sequence[NamedAlarm]
    registered_sns: frozenset[str]
    backfill_sns: frozenset[str]


class RawEventView(View, frozen=True, kw_only=True):
    """Values of the page: one event with its bytes; `reason` says why it could not be parsed."""

    template: ClassVar = "raw_event.html"
    raw_event: RawEventDetails
    reason: str


@get("/issues", include_in_schema=False)
async def issues_page(
    request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone, message: Message = "", error: Message = ""
) -> Response[str]:
    """Return the page of events that could not be parsed, rejected requests, alarms and failing destinations."""
    unreadable_rows = await app_state.appdb.list_unreadable()
    total, newest = await load_quarantine(app_state.store, QUARANTINE_SHOWN_MAX)
    counters = await list_counters(app_state.ledger, app_state.appdb)
    return await render_page(
        request,
        app_state,
        reader_zone,
        IssuesView(
            message=message,
            error=error,
            unreadable_rows=unreadable_rows,
            removable_rows=[row for row in unreadable_rows if is_removable(row)],
            backfill_sns=await list_backfill_sns(app_state),
            quarantined=newest,
            quarantined_total=total,
            rejections=[counter for counter in counters if counter.is_rejected],
            registered_sns=frozenset(pbx.sn for pbx in await app_state.appdb.pbxs()),
        ),
    )


@get("/alarms", include_in_schema=False)
async def alarms_page(request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone) -> Response[str]:
    """Return the page of open and ended alarms."""
    view = AlarmsView(
        alarms=await list_named_alarms(app_state),
        registered_sns=frozenset(pbx.sn for pbx in await app_state.appdb.pbxs()),
        backfill_sns=await list_backfill_sns(app_state),
    )
    return await render_page(request, app_state, reader_zone, view)


@get("/events/{seq:int}", include_in_schema=False)
async def raw_event_page(
    request: AnyRequest, app_state: AppStateDep, seq: Seq, reader_zone: ReaderZone
) -> Response[str]:
    """Return the page of an event, with its bytes."""
    raw_event = await find_raw_event(app_state.ledger, seq)
    await audit_or_log_read(app_state, f"raw event {seq}")
    reasons = [entry.reason for entry in await app_state.store.quarantine(1, seq - 1) if entry.seq == seq]
    return await render_page(
        request, app_state, reader_zone, RawEventView(raw_event=raw_event, reason="".join(reasons))
    )
