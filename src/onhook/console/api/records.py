"""`GET /api/v1/records`: records, the latest first; and the event of a record."""

from litestar import get

from onhook.console.auth.access import SCOPED
from onhook.console.parameters import PAGE_DEFAULT, Cursor, Limit, RecordFilterDep, Seq
from onhook.console.problem_documents import PROBLEMS
from onhook.console.queries.raw_events import RawEventDetails, find_raw_event
from onhook.console.state import AppStateDep
from onhook.store.contract import RecordPage


@get("/records", opt=SCOPED, summary="List records, the latest first", tags=["calls"], responses=PROBLEMS)
async def list_records(
    app_state: AppStateDep, record_filter: RecordFilterDep, limit: Limit = PAGE_DEFAULT, cursor: Cursor = ""
) -> RecordPage:
    """List matching records. A record is one leg of a call: the 18 fields of event 30012, and derived ones."""
    return await app_state.store.records(record_filter, limit, cursor or None)


@get("/events/{seq:int}", summary="Read an event with its bytes", tags=["calls"], responses=PROBLEMS)
async def read_raw_event(app_state: AppStateDep, seq: Seq) -> RawEventDetails:
    """Read an event. Every record has the number of its event in `seq`."""
    return await find_raw_event(app_state.ledger, seq)
