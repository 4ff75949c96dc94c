"""`/api/v1/quarantine`: events that could not be parsed; `/rejections`: counters of the intake."""

import msgspec
from litestar import get, post

from onhook.console.parameters import PAGE_DEFAULT, AfterSeq, Limit, Seq
from onhook.console.problem_documents import PROBLEMS
from onhook.console.queries.quarantine import find_quarantined, list_counters
from onhook.console.queries.raw_events import RawEventDetails, find_raw_event
from onhook.console.state import AppStateDep
from onhook.receiver.rejections import RequestCounter
from onhook.store.contract import QuarantineEntry


class QuarantinePage(msgspec.Struct, frozen=True):
    """Quarantined events, in order of number."""

    data: list[QuarantineEntry]
    next: str | None


class QuarantinedRawEvent(msgspec.Struct, frozen=True):
    """An event that could not be parsed, and the reason."""

    reason: str
    raw_event: RawEventDetails


class QuarantineRetryResult(msgspec.Struct, frozen=True):
    """Result of a retry; `reason` is empty where the event was parsed."""

    seq: int
    is_parsed: bool
    reason: str


class RequestCounterList(msgspec.Struct, frozen=True):
    """All counters, the latest first."""

    data: list[RequestCounter]
    next: None = None


@get("/quarantine", summary="List quarantined events", tags=["quarantine"], responses=PROBLEMS)
async def list_quarantine(app_state: AppStateDep, limit: Limit = PAGE_DEFAULT, cursor: AfterSeq = "") -> QuarantinePage:
    """List quarantined events in order of their number, each with the reason."""
    entries = list(await app_state.store.quarantine(limit, int(cursor or 0)))
    return QuarantinePage(entries, str(entries[-1].seq) if len(entries) == limit else None)


@get("/quarantine/{seq:int}", summary="Read a quarantined event", tags=["quarantine"], responses=PROBLEMS)
async def read_quarantined(app_state: AppStateDep, seq: Seq) -> QuarantinedRawEvent:
    """Read a quarantined event with its bytes and the reason."""
    quarantined = await find_quarantined(app_state.store, seq)
    return QuarantinedRawEvent(quarantined.reason, await find_raw_event(app_state.ledger, seq))


@post(
    "/quarantine/{seq:int}/retry",
    summary="Retry a quarantined event",
    tags=["quarantine"],
    responses=PROBLEMS,
    status_code=200,
)
async def retry_quarantined(app_state: AppStateDep, seq: Seq) -> QuarantineRetryResult:
    """Parse a quarantined event again, as after an upgrade."""
    await find_quarantined(app_state.store, seq)
    reasons = {entry.seq: entry.reason for entry in await app_state.retry_parsing([seq])}
    return QuarantineRetryResult(seq=seq, is_parsed=seq not in reasons, reason=reasons.get(seq, ""))


@get("/rejections", summary="List counters of requests", tags=["pbxs"], responses=PROBLEMS)
async def list_rejections(app_state: AppStateDep) -> RequestCounterList:
    """List how many events were stored or duplicates, and how many requests were rejected, by reason; at most 1,000,
    the latest first.
    """
    return RequestCounterList(await list_counters(app_state.ledger, app_state.appdb))
