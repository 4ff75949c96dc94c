"""`/`: what happens now. Today beside the same weekday before, the latest calls as they end, what needs attention.

Complete without a script; the script only asks for the same page again when a call has ended.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from litestar import Response, get

from onhook.cdr.record_filter import RecordFilter, parse_time
from onhook.console.addresses import intake_host, intake_port
from onhook.console.api.coverage import NamedAlarm, list_named_alarms
from onhook.console.api.quarantine import NamedCounter, list_counters
from onhook.console.auth.access import SCOPED, get_access_scope, get_principal
from onhook.console.pages.calls import COLUMNS_DEFAULT
from onhook.console.pages.issues import load_quarantine
from onhook.console.pages.page import AnyRequest, list_issues, render_page
from onhook.console.pages.totals import Totals, add_up
from onhook.console.parameters import ReaderZone
from onhook.console.state import AppState, AppStateDep
from onhook.delivery.issues import Issue
from onhook.store.contract import DurationHistogram, QuarantineEntry

CALLS_SHOWN_MAX = 25
"""A screen; the rest is on the page of calls."""

ISSUES_SHOWN_MAX = 5
"""Lines in the box at the top; the rest is on a page of its own."""

REJECTION_KINDS = frozenset({"unknown_sn", "wrong_signature", "no_signature", "wrong_place"})
"""The intake's words for knocks that a person should look at: a wrong secret, or a PBX that nobody declared."""

REJECTION_MAX_AGE = timedelta(days=1)
"""A knock that was not repeated for a day needs no one's attention any more; it stays in the list at the door."""

COMPARISON_OFFSET = timedelta(days=7)
"""Today is held beside the same weekday: offices live by the week."""


class IssueSummary(msgspec.Struct, frozen=True):
    """What a person should look at."""

    quarantined: int = 0
    newest_quarantined: Sequence[QuarantineEntry] = ()
    knocks: Sequence[NamedCounter] = ()
    alarms: Sequence[NamedAlarm] = ()
    plights: Sequence[Issue] = ()

    @property
    def is_needed(self) -> bool:
        """Whether there is anything."""
        return bool(self.quarantined or self.knocks or self.alarms or self.plights)


class DaySummary(msgspec.Struct, frozen=True):
    """A day so far, counted."""

    by_pbx: Sequence[Mapping[str, Any]]
    answer: DurationHistogram

    @property
    def totals(self) -> Totals:
        """All PBXs together."""
        return add_up(self.by_pbx)

    @property
    def longest_wait(self) -> int | None:
        """In seconds; None where nobody reported any."""
        return max(
            (row["wait_duration_max"] for row in self.by_pbx if row["wait_duration_max"] is not None), default=None
        )


@get("/", opt=SCOPED, include_in_schema=False)
async def dashboard_page(request: AnyRequest, rooms: AppStateDep, reader_zone: ReaderZone) -> Response[str]:
    """The day so far and the latest calls; or, where there are none yet, how to get the first."""
    now = rooms.clock.now()
    scope = get_access_scope(request.scope)
    # Asked before the page is read: what comes in between is told twice rather than never.
    position = await rooms.store.position()
    latest_filter = RecordFilter(within=scope)
    call_page = await rooms.shared.ask(
        (position, "latest", latest_filter), lambda: rooms.store.calls(latest_filter, CALLS_SHOWN_MAX)
    )
    today = parse_time("today", reader_zone, now)
    earlier_since, earlier_until = (_same_time_last_week(time, reader_zone) for time in (today, now))
    day = await _load_day(rooms, position, RecordFilter(since=today, within=scope), reader_zone)
    earlier_day = await _load_day(
        rooms,
        position,
        RecordFilter(since=earlier_since, until=earlier_until.replace(second=0), within=scope),
        reader_zone,
    )
    is_empty = not call_page.data
    return render_page(
        request,
        rooms,
        reader_zone,
        "now.html",
        page=call_page,
        columns=COLUMNS_DEFAULT,
        totals=day.totals,
        by_pbx=day.by_pbx,
        answer=day.answer,
        longest_wait=day.longest_wait,
        then=earlier_day.totals,
        then_since=earlier_since,
        then_until=earlier_until.replace(second=0),
        is_today=True,
        is_filtered=False,
        position=position,
        attention=await _load_issues(request, rooms, position),
        pbxs=rooms.settings.pbxs() if scope is None else [],
        intake_port=intake_port(rooms.config) if is_empty else 0,
        intake_host=intake_host(rooms.config, request.url.hostname or "")[0] if is_empty else "",
        is_empty=is_empty,
    )


async def _load_day(rooms: AppState, position: int, where: RecordFilter, zone: ZoneInfo) -> DaySummary:
    by_pbx = await rooms.shared.ask(
        (position, "summary", where, zone.key), lambda: rooms.store.summary(where, "pbx", zone.key)
    )
    answered_filter = msgspec.structs.replace(where, status="ANSWERED")
    answer_times = await rooms.shared.ask(
        (position, "answer", answered_filter), lambda: rooms.store.spread(answered_filter, "wait_duration", [0])
    )
    return DaySummary(by_pbx, answer_times)


def _same_time_last_week(at: datetime, zone: ZoneInfo) -> datetime:
    """The same time of the same weekday, by the wall clock."""
    local = at.astimezone(zone).replace(tzinfo=None, microsecond=0)
    return (local - COMPARISON_OFFSET).replace(tzinfo=zone).astimezone(UTC)


async def _load_issues(request: AnyRequest, rooms: AppState, position: int) -> IssueSummary:
    principal = get_principal(request.scope)
    if principal is None or principal.limits is not None:
        return IssueSummary()
    total, newest = await rooms.shared.ask((position, "quarantine"), lambda: load_quarantine(rooms, ISSUES_SHOWN_MAX))
    counters = await rooms.shared.ask("tallies", lambda: list_counters(rooms))
    earliest_time = rooms.clock.now() - REJECTION_MAX_AGE
    rejections = [
        item
        for item in counters
        if item.what in REJECTION_KINDS and item.last_at >= earliest_time and not item.is_known_by_now
    ]
    alarms = [item for item in list_named_alarms(rooms) if item.ended_at is None]
    return IssueSummary(
        total, newest, rejections[:ISSUES_SHOWN_MAX], alarms[:ISSUES_SHOWN_MAX], list_issues(rooms)[:ISSUES_SHOWN_MAX]
    )
