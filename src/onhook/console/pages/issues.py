"""Pages of issues, and of an event as its bytes are."""

from collections.abc import Sequence

from litestar import Response, get

from onhook.console.api.coverage import list_named_alarms
from onhook.console.api.quarantine import list_counters
from onhook.console.api.records import Seq, raw_event_details
from onhook.console.pages.page import AnyRequest, render_page
from onhook.console.parameters import ReaderZone
from onhook.console.state import AppState, AppStateDep
from onhook.lib.errors import NotFound
from onhook.lib.messages import _
from onhook.store.contract import QuarantineEntry

QUARANTINE_SHOWN_MAX = 200

STORED_KINDS = frozenset({"stored", "duplicate", "unparsable"})
"""Verdicts on stored events; all others are only counted."""


@get("/issues", include_in_schema=False)
async def issues_page(request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone) -> Response[str]:
    """Return the page of events that could not be parsed, rejected requests, alarms and failing destinations."""
    total, newest = await load_quarantine(app_state, QUARANTINE_SHOWN_MAX)
    return render_page(
        request,
        app_state,
        reader_zone,
        "issues.html",
        alarms=[alarm for alarm in list_named_alarms(app_state) if alarm.ended_at is None],
        quarantined=newest,
        quarantined_total=total,
        rejections=[counter for counter in await list_counters(app_state) if counter.kind not in STORED_KINDS],
    )


@get("/events/{seq:int}", include_in_schema=False)
async def raw_event_page(
    request: AnyRequest, app_state: AppStateDep, seq: Seq, reader_zone: ReaderZone
) -> Response[str]:
    """Return the page of an event, with its bytes."""
    raw_events = await app_state.ledger.get([seq])
    if not raw_events:
        raise NotFound(_("the ledger has no event {seq}", seq=seq))
    reasons = [entry.reason for entry in await app_state.store.quarantine(1, seq - 1) if entry.seq == seq]
    return render_page(
        request,
        app_state,
        reader_zone,
        "raw_event.html",
        raw_event=raw_event_details(raw_events[0]),
        reason="".join(reasons),
    )


async def load_quarantine(app_state: AppState, limit: int) -> tuple[int, Sequence[QuarantineEntry]]:
    """Return how many events could not be parsed, and the newest of them."""
    newest = await app_state.store.quarantine(limit, newest_first=True)
    # Counting reads everything, so it is left out where the list is complete.
    return len(newest) if len(newest) < limit else (await app_state.store.counts())["quarantined"], newest
