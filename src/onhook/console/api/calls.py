"""`/api/v1/records`, `/calls` and `/events`: lists of records and of calls, one call with its legs, one event."""

from litestar import get

from onhook.cdr.record import Call
from onhook.console.auth.access import SCOPED, get_access_scope
from onhook.console.parameters import (
    PAGE_DEFAULT,
    CallId,
    Cursor,
    Limit,
    RecordFilterDep,
    SearchFilterDep,
    Seq,
    Sn,
    Sort,
)
from onhook.console.problem_documents import PROBLEMS
from onhook.console.queries.audited_reads import audit_or_log_read
from onhook.console.queries.calls import find_call
from onhook.console.queries.raw_events import RawEventDetails, find_raw_event
from onhook.console.state import AnyRequest, AppStateDep
from onhook.store.contract import CallPage, RecordPage


@get("/records", opt=SCOPED, summary="List records, the latest first", tags=["calls"], responses=PROBLEMS)
async def list_records(
    app_state: AppStateDep, record_filter: RecordFilterDep, limit: Limit = PAGE_DEFAULT, cursor: Cursor = ""
) -> RecordPage:
    """List matching records. A record is one leg of a call: the 18 fields of event 30012, and derived ones."""
    return await app_state.store.records(record_filter, limit, cursor or None)


@get("/calls", opt=SCOPED, summary="List calls, the latest first", tags=["calls"], responses=PROBLEMS)
async def list_calls(
    app_state: AppStateDep,
    search_filter: SearchFilterDep,
    limit: Limit = PAGE_DEFAULT,
    cursor: Cursor = "",
    sort: Sort = "",
) -> CallPage:
    """List matching calls with all their legs; a call is counted once. With `sort` they are in another order."""
    if not sort:
        return await app_state.store.calls(search_filter, limit, cursor or None)
    page = await app_state.store.ordered_calls(search_filter, sort, limit, cursor or None)
    return CallPage(page.data, page.next)


@get(
    "/calls/{sn:str}/{call_id:str}",
    opt=SCOPED,
    summary="Read a call with its legs",
    tags=["calls"],
    responses=PROBLEMS,
)
async def read_call(request: AnyRequest, app_state: AppStateDep, sn: Sn, call_id: CallId) -> Call:
    """Read one call. A call whose id cannot be part of a path is found by `GET /calls?sn=…&call_id=…`."""
    return await find_call(app_state, sn, call_id, get_access_scope(request.scope))


@get("/events/{seq:int}", summary="Read an event with its bytes", tags=["calls"], responses=PROBLEMS)
async def read_raw_event(app_state: AppStateDep, seq: Seq) -> RawEventDetails:
    """Read an event. Every record has the number of its event in `seq`."""
    raw_event = await find_raw_event(app_state.ledger, seq)
    await audit_or_log_read(app_state, f"raw event {seq}")
    return raw_event
