"""`/api/v1/missed-calls`: the inbox of missed calls: who works on them, and how soon they were returned."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal

import msgspec
from litestar import get, post
from litestar.params import BodyKwarg, QueryParameter

from onhook.cdr.record_filter import TEXT_CHARACTERS_MAX
from onhook.console.auth.access import ANNOTATES, SCOPED, get_access_scope, get_principal
from onhook.console.parameters import ReaderZone, SearchFilterDep
from onhook.console.problem_documents import PROBLEMS
from onhook.console.queries.calls import find_calls
from onhook.console.queries.missed_inbox import Action, InboxEntry, Show, change_work, load_inbox
from onhook.console.queries.period import get_period
from onhook.console.state import AnyRequest, AppStateDep
from onhook.store.contract import MissedCall

CALLS_MAX = 200
"""In one request; each is looked up."""

EntryState = Literal["open", "claimed", "done", "returned"]

IdText = Annotated[str, msgspec.Meta(min_length=1, max_length=TEXT_CHARACTERS_MAX)]
ShowQuery = Annotated[Show, QueryParameter(description="`open`, `mine`: claimed by the user, or `done`: also returned")]


class CallReference(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A call by its PBX and id."""

    sn: IdText
    call_id: IdText


class MissedCallChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to do with missed calls, as the user of the token; `remind_at` is for `remind` alone, which also claims."""

    calls: Annotated[list[CallReference], msgspec.Meta(min_length=1, max_length=CALLS_MAX)]
    action: Action
    remind_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None


class MissedCallEntry(msgspec.Struct, frozen=True, kw_only=True):
    """The missed calls of one caller, the latest first, and the work on them. `returned_call` is the call that returned
    the latest one, `seconds` how soon after it that began, or a user was done.
    """

    state: EntryState
    caller: str
    calls: Sequence[MissedCall]
    claimed_by: str
    claimed_at: datetime | None
    done_by: str
    done_at: datetime | None
    remind_at: datetime | None
    is_due: bool
    returned_at: datetime | None
    returned_call: CallReference | None
    returned_by: str
    seconds: int | None


class MissedCallInbox(msgspec.Struct, frozen=True, kw_only=True):
    """Entries, those with a due reminder first, then the latest; and the counts of the period: `missed` = `returned` +
    `unreturned` + `anonymous`. Where `is_cut`, only the latest 500 of the period are listed.
    """

    data: list[MissedCallEntry]
    next: None = None
    missed: int
    returned: int
    unreturned: int
    anonymous: int
    median_seconds: int | None
    is_cut: bool


class ChangedCalls(msgspec.Struct, frozen=True):
    """How many calls were changed."""

    calls: int


@get("/missed-calls", opt=SCOPED, summary="List missed calls", tags=["calls"], responses=PROBLEMS)
async def list_missed_calls(
    request: AnyRequest,
    app_state: AppStateDep,
    search_filter: SearchFilterDep,
    reader_zone: ReaderZone,
    show: ShowQuery = "open",
) -> MissedCallInbox:
    """List the missed inbound calls of a period, by default of the last seven days, together by caller."""
    principal = get_principal(request.scope)
    period = get_period(search_filter, reader_zone, app_state.clock.now())
    missed_filter = msgspec.structs.replace(search_filter, since=period.since)
    inbox = await load_inbox(app_state, missed_filter, show, principal.name if principal else "")
    return MissedCallInbox(
        data=[_entry(entry) for entry in inbox.entries],
        missed=inbox.counts.missed,
        returned=inbox.counts.returned,
        unreturned=inbox.counts.unreturned,
        anonymous=inbox.counts.anonymous,
        median_seconds=inbox.median_seconds,
        is_cut=inbox.is_cut,
    )


@post(
    "/missed-calls",
    opt=ANNOTATES,
    summary="Claim, finish, release missed calls",
    tags=["calls"],
    responses=PROBLEMS,
    status_code=200,
)
async def change_missed_calls(
    request: AnyRequest, app_state: AppStateDep, data: Annotated[MissedCallChange, BodyKwarg()]
) -> ChangedCalls:
    """Change the work on missed calls, of all or of none, as an annotator or administrator. A call that another user
    has claimed cannot be claimed.
    """
    scope, principal = get_access_scope(request.scope), get_principal(request.scope)
    keys = list(dict.fromkeys((reference.sn, reference.call_id) for reference in data.calls))
    stored_keys = [
        (found_call.call.sn, found_call.call.call_id) for found_call in await find_calls(app_state, keys, scope)
    ]
    await change_work(app_state, stored_keys, data.action, principal.name if principal else "", data.remind_at)
    return ChangedCalls(len(stored_keys))


ROUTES = (list_missed_calls, change_missed_calls)


def _entry(entry: InboxEntry) -> MissedCallEntry:
    work, state = entry.work, _state(entry)
    returned = entry.returned_call
    return MissedCallEntry(
        state=state,
        caller=entry.caller,
        calls=entry.calls,
        claimed_by=work.claimed_by,
        claimed_at=work.claimed_at,
        done_by=work.done_by,
        done_at=work.done_at,
        remind_at=work.remind_at,
        is_due=entry.is_due,
        returned_at=entry.returned_at,
        returned_call=None if returned is None else CallReference(sn=returned[0], call_id=returned[1]),
        returned_by=entry.returned_by,
        seconds=entry.seconds,
    )


def _state(entry: InboxEntry) -> EntryState:
    if entry.returned_at is not None:
        return "returned"
    if entry.work.done_at is not None:
        return "done"
    return "claimed" if entry.work.claimed_by else "open"
