"""`/api/v1/quarantine`: what could not be read, and reading it again; `/rejections`: what happened at the door."""

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
from onhook.store.contract import QuarantineEntry

AfterSeq = Annotated[str, QueryParameter(description="`next` of the page before", pattern=r"^[0-9]{0,18}$")]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class QuarantinePage(msgspec.Struct, frozen=True):
    """Some of the quarantine, in order of number."""

    data: list[QuarantineEntry]
    next: str | None


class QuarantinedRawEvent(msgspec.Struct, frozen=True):
    """Why a report could not be read, and the report."""

    reason: str
    raw_event: RawEventDetails


class QuarantineRetryResult(msgspec.Struct, frozen=True):
    """What came of reading a report again; `reason` is empty where it could be read."""

    seq: int
    is_parsed: bool
    reason: str


class NamedCounter(msgspec.Struct, frozen=True, kw_only=True):
    """How often something happened at the door; `pbx` is empty for a stranger's serial number."""

    kind: str
    sn: str
    pbx: str
    label: str
    count: int
    first_at: datetime
    last_at: datetime

    @property
    def is_registered_now(self) -> bool:
        """A stranger that was declared since is none any more."""
        return self.kind == "unknown_pbx" and bool(self.pbx)


class NamedCounterList(msgspec.Struct, frozen=True):
    """All counters, the latest first."""

    data: list[NamedCounter]
    next: None = None


@get("/quarantine", summary="Reports that could not be read", tags=["quarantine"], responses=PROBLEMS)
async def list_quarantine(app_state: AppStateDep, limit: Limit = PAGE_DEFAULT, cursor: AfterSeq = "") -> QuarantinePage:
    """In order of their number, each with the reason."""
    entries = list(await app_state.store.quarantine(limit, int(cursor or 0)))
    return QuarantinePage(entries, str(entries[-1].seq) if len(entries) == limit else None)


@get("/quarantine/{seq:int}", summary="One of them, with its bytes", tags=["quarantine"], responses=PROBLEMS)
async def read_quarantined(app_state: AppStateDep, seq: Seq) -> QuarantinedRawEvent:
    """What the PBX said, as it came, and why it could not be read."""
    quarantined = await find_quarantined(app_state, seq)
    (raw_event,) = await app_state.ledger.get([seq])
    return QuarantinedRawEvent(quarantined.reason, raw_event_details(raw_event))


@post("/quarantine/{seq:int}/retry", summary="Read it again", tags=["quarantine"], responses=PROBLEMS, status_code=200)
async def retry_quarantined(app_state: AppStateDep, seq: Seq) -> QuarantineRetryResult:
    """As after an upgrade."""
    await find_quarantined(app_state, seq)
    reasons = {entry.seq: entry.reason for entry in await app_state.retry_parsing([seq])}
    return QuarantineRetryResult(seq=seq, is_parsed=seq not in reasons, reason=reasons.get(seq, ""))


@get("/rejections", summary="What happened at the door, counted", tags=["pbxs"], responses=PROBLEMS)
async def list_rejections(app_state: AppStateDep) -> NamedCounterList:
    """Reports kept and repeated, strangers, wrong signatures, other events; at most 1,000, the latest first."""
    return NamedCounterList(await list_counters(app_state))


async def list_counters(app_state: AppState) -> list[NamedCounter]:
    """The ledger's counters, with the names of the PBXs that we know."""
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
    """The one with this number. Raises `NotFound`."""
    for entry in await app_state.store.quarantine(1, seq - 1):
        if entry.seq == seq:
            return entry
    raise NotFound(f"report {seq} is not in the quarantine", hint="list them first: it may have been read by now")
