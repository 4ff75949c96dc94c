"""`/missed`: the inbox of missed calls: claim, done, reminder; by whom and how soon."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Annotated, ClassVar
from zoneinfo import ZoneInfo

import msgspec
from litestar import Response, get, post
from litestar.params import QueryParameter
from litestar.response import Redirect

from onhook.appdb.pbxs import Pbx
from onhook.cdr.record_filter import RecordFilter
from onhook.console.auth.access import ANNOTATES, SCOPED, get_access_scope, get_principal
from onhook.console.pages.calls import list_visible_pbxs
from onhook.console.pages.date_range import DateRange, create_date_range
from onhook.console.pages.formatting import call_url, local_time, split_party, url
from onhook.console.pages.page import FORM_BODY, render_page
from onhook.console.pages.rendering import View
from onhook.console.pages.reports.missed import describe_counts
from onhook.console.pages.reports.page import filter_texts_of
from onhook.console.pages.selected_calls import KEY_SEPARATOR, find_selected_calls
from onhook.console.parameters import ReaderZone, SearchFilterDep
from onhook.console.queries.missed_inbox import LISTED_MAX, Action, Inbox, Show, change_work, load_inbox, load_reminders
from onhook.console.queries.period import get_period
from onhook.console.state import AnyRequest, AppState, AppStateDep
from onhook.lib.errors import NotFound, UsageError
from onhook.lib.messages import _, mark

MORNING_HOUR = 9
"""Of a reminder for tomorrow, in the reader's zone."""

REMINDERS: Mapping[str, str] = MappingProxyType(
    {"15": mark("in 15 minutes"), "60": mark("in an hour"), "tomorrow": mark("tomorrow at 9")}
)
"""When to be reminded: minutes, or the next morning."""

SHOWS: Mapping[Show, str] = {"open": mark("Open"), "mine": mark("Mine"), "done": mark("Returned or done")}

ShowQuery = Annotated[Show, QueryParameter(description="Which of the missed calls")]


class MissedCallForm(msgspec.Struct, frozen=True):
    """Content of the form of an entry: its calls, and what to do."""

    call: str | list[str] = []
    action: Action = "claim"
    remind: str = "60"


class ReminderText(msgspec.Struct, frozen=True):
    """A reminder in words, and the page of its call."""

    text: str
    href: str


class ReminderTexts(msgspec.Struct, frozen=True, kw_only=True):
    """The reminders that are due, and after how many seconds the next one is; None where there is none."""

    data: Sequence[ReminderText]
    seconds: int | None


class MissedInboxView(View, frozen=True, kw_only=True):
    """Values of the page: the inbox of a period, and the links to its other parts. Its forms are sent to `page_url`."""

    template: ClassVar = "missed.html"
    inbox: Inbox
    counts_text: str
    show: Show
    show_links: Sequence[tuple[str, str, bool]]
    page_url: str
    texts: Mapping[str, str]
    date_range: DateRange
    pbxs: Sequence[Pbx]
    position: int
    reminders: Mapping[str, str] = REMINDERS
    key_separator: str = KEY_SEPARATOR
    listed_max: int = LISTED_MAX
    error: str = ""
    errors: Mapping[str, str] = {}


@get("/missed", opt=SCOPED, include_in_schema=False)
async def missed_inbox_page(
    request: AnyRequest,
    app_state: AppStateDep,
    search_filter: SearchFilterDep,
    reader_zone: ReaderZone,
    show: ShowQuery = "open",
) -> Response[str]:
    """Return the page of missed calls; by default those of the last seven days."""
    return await _render_inbox(request, app_state, search_filter, reader_zone, show)


@post("/missed", opt=ANNOTATES, include_in_schema=False, status_code=200)
async def change_missed_call(  # noqa: PLR0917 - the parameters of the page, and the form
    request: AnyRequest,
    app_state: AppStateDep,
    search_filter: SearchFilterDep,
    reader_zone: ReaderZone,
    data: Annotated[MissedCallForm, FORM_BODY],
    show: ShowQuery = "open",
) -> Response[str] | Redirect:
    """Change the work on missed calls, of all or of none, and return to the list with the parameters of the page."""
    principal = get_principal(request.scope)
    is_reminder = data.action == "remind"
    try:
        calls = await find_selected_calls(app_state, data.call, get_access_scope(request.scope))
        keys = [(found_call.call.sn, found_call.call.call_id) for found_call in calls]
        remind_at = _parse_reminder(data.remind, app_state.clock.now(), reader_zone) if is_reminder else None
        await change_work(app_state, keys, data.action, principal.name if principal else "", remind_at)
    except (UsageError, NotFound) as error:
        return await _render_inbox(
            *(request, app_state, search_filter, reader_zone, show), error=str(error), status=error.http_status
        )
    return Redirect(url("/missed", **_page_texts(request, show)), status_code=303)


@get("/reminders", opt=SCOPED, include_in_schema=False)
async def read_reminders(request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone) -> ReminderTexts:
    """Return the reminders of the user that are due, for a page that is open."""
    principal = get_principal(request.scope)
    if principal is None or not principal.can_save:
        return ReminderTexts(data=(), seconds=None)
    now = app_state.clock.now()
    reminders = await load_reminders(app_state, principal.scope, principal.name)
    return ReminderTexts(
        data=[
            ReminderText(
                text=_(
                    "Call back {caller}, missed {time}.",
                    caller=_party_text(reminder.caller),
                    time=local_time(reminder.started_at, reader_zone),
                ),
                href=call_url(reminder.sn, reminder.call_id, ""),
            )
            for reminder in reminders.due
        ],
        seconds=None if reminders.next_at is None else math.ceil((reminders.next_at - now).total_seconds()),
    )


async def _render_inbox(
    request: AnyRequest,
    app_state: AppState,
    search_filter: RecordFilter,
    reader_zone: ZoneInfo,
    show: Show,
    *,
    error: str = "",
    status: int = 200,
) -> Response[str]:
    principal, now = get_principal(request.scope), app_state.clock.now()
    period = get_period(search_filter, reader_zone, now)
    missed_filter: RecordFilter = msgspec.structs.replace(search_filter, since=period.since)
    texts = _page_texts(request, show)
    # Read before the calls: a call in between is shown twice rather than never.
    position = await app_state.store.position()
    inbox = await load_inbox(app_state, missed_filter, show, principal.name if principal else "")
    return await render_page(
        request,
        app_state,
        reader_zone,
        MissedInboxView(
            position=position,
            inbox=inbox,
            counts_text=describe_counts(inbox.counts, search_filter.type),
            show=show,
            show_links=[
                (_(title), url("/missed", **{**texts, "show": "" if name == "open" else name}), name == show)
                for name, title in SHOWS.items()
            ],
            page_url=url("/missed", **texts),
            texts=texts,
            date_range=create_date_range("/missed", texts, reader_zone, now, since_default=period.since),
            pbxs=await list_visible_pbxs(app_state, search_filter.scope),
            error=error,
        ),
        status=status,
    )


def _page_texts(request: AnyRequest, show: Show) -> Mapping[str, str]:
    """Return the parameters of the page."""
    return {**filter_texts_of(request), "show": "" if show == "open" else show}


def _party_text(party: str) -> str:
    """Return a party in a sentence.

    >>> _party_text("Carol<+4930901820>"), _party_text("1001")
    ('Carol (+4930901820)', '1001')
    """
    name, number = split_party(party)
    return f"{name} ({number})" if name and name != number else number or name


def _parse_reminder(text: str, now: datetime, zone: ZoneInfo) -> datetime:
    """Return the time of a reminder. Raises `UsageError`."""
    if text not in REMINDERS:
        raise UsageError(
            _("{value} is no time of a reminder", value=repr(text[:20])),
            location="remind",
            hint=_("use one of {choices}", choices=", ".join(REMINDERS)),
        )
    if text != "tomorrow":
        return now + timedelta(minutes=int(text))
    tomorrow = now.astimezone(zone).date() + timedelta(days=1)
    return datetime(tomorrow.year, tomorrow.month, tomorrow.day, MORNING_HOUR, tzinfo=zone)


ROUTES = (missed_inbox_page, change_missed_call, read_reminders)
