"""`/api/v1/quarantine`: events that could not be parsed; `/rejections`: counters of the intake."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec
from litestar import get, post
from litestar.params import QueryParameter

from onhook.console.api.records import RawEventDetails, Seq, raw_event_details
from onhook.console.parameters import PAGE_DEFAULT, Limit
from onhook.console.problem_documents import PROBLEMS
from onhook.console.state import AppState, AppStateDep
from onhook.lib.errors import NotFound
from onhook.lib.messages import _
from onhook.store.contract import QuarantineEntry

AfterSeq = Annotated[str, QueryParameter(description="`next` of the previous page", pattern=r"^[0-9]{0,18}$")]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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


class NamedCounter(msgspec.Struct, frozen=True, kw_only=True):
    """Counter of a verdict; `pbx` is empty for an unknown serial number."""

    kind: str
    sn: str
    pbx: str
    label: str
    count: int
    first_at: datetime
    last_at: datetime

    @property
    def is_registered_now(self) -> bool:
        """Return whether the PBX of a rejected request was registered since."""
        return self.kind == "unknown_pbx" and bool(self.pbx)


class NamedCounterList(msgspec.Struct, frozen=True):
    """All counters, the latest first."""

    data: list[NamedCounter]
    next: None = None


@get("/quarantine", summary="List quarantined events", tags=["quarantine"], responses=PROBLEMS)
async def list_quarantine(app_state: AppStateDep, limit: Limit = PAGE_DEFAULT, cursor: AfterSeq = "") -> QuarantinePage:
    """List quarantined events in order of their number, each with the reason."""
    entries = list(await app_state.store.quarantine(limit, int(cursor or 0)))
    return QuarantinePage(entries, str(entries[-1].seq) if len(entries) == limit else None)


@get("/quarantine/{seq:int}", summary="Read a quarantined event", tags=["quarantine"], responses=PROBLEMS)
async def read_quarantined(app_state: AppStateDep, seq: Seq) -> QuarantinedRawEvent:
    """Read a quarantined event with its bytes and the reason."""
    quarantined = await find_quarantined(app_state, seq)
    (raw_event,) = await app_state.ledger.get([seq])
    return QuarantinedRawEvent(quarantined.reason, raw_event_details(raw_event))


@post(
    "/quarantine/{seq:int}/retry",
    summary="Retry a quarantined event",
    tags=["quarantine"],
    responses=PROBLEMS,
    status_code=200,
)
async def retry_quarantined(app_state: AppStateDep, seq: Seq) -> QuarantineRetryResult:
    """Parse a quarantined event again, as after an upgrade."""
    await find_quarantined(app_state, seq)
    reasons = {entry.seq: entry.reason for entry in await app_state.retry_parsing([seq])}
    return QuarantineRetryResult(seq=seq, is_parsed=seq not in reasons, reason=reasons.get(seq, ""))


@get("/rejections", summary="List counters of requests", tags=["pbxs"], responses=PROBLEMS)
async def list_rejections(app_state: AppStateDep) -> NamedCounterList:
    """List how many events were stored or duplicates, and how many requests were rejected, by reason; at most 1,000,
    the latest first.
    """
    return NamedCounterList(await list_counters(app_state))


async def list_counters(app_state: AppState) -> list[NamedCounter]:
    """Return the ledger's counters, with the names of registered PBXs."""
    names = {pbx.sn: pbx.name for pbx in app_state.appdb.pbxs()}
    return [
        NamedCounter(
            kind=counter.kind,
            sn=counter.sn,
            pbx=names.get(counter.sn, ""),
            label=counter.label,
            count=counter.count,
            first_at=_EPOCH + timedelta(microseconds=counter.first_at),
            last_at=_EPOCH + timedelta(microseconds=counter.last_at),
        )
        for counter in await app_state.ledger.counters()
    ]


async def find_quarantined(app_state: AppState, seq: int) -> QuarantineEntry:
    """Return the entry with this number. Raises `NotFound`."""
    for entry in await app_state.store.quarantine(1, seq - 1):
        if entry.seq == seq:
            return entry
    raise NotFound(
        _("event {seq} is not in the quarantine", seq=seq),
        hint=_("list the quarantine: it may have been parsed meanwhile"),
    )
