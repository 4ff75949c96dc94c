"""`/api/v1/quarantine`: what could not be read, and reading it again; `/tallies`: what happened at the door."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec
from litestar import get, post
from litestar.params import QueryParameter

from onhook.console.api.records import RawReport, Seq, raw
from onhook.console.parameters import PAGE_DEFAULT, Limit
from onhook.console.problem_documents import PROBLEMS
from onhook.console.state import Handed, Rooms
from onhook.lib.errors import NotFound
from onhook.store.contract import Quarantined

AfterSeq = Annotated[str, QueryParameter(description="`next` of the page before", pattern=r"^[0-9]{0,18}$")]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class QuarantinePage(msgspec.Struct, frozen=True):
    """Some of the quarantine, in order of number."""

    data: list[Quarantined]
    next: str | None


class QuarantinedReport(msgspec.Struct, frozen=True):
    """Why a report could not be read, and the report."""

    reason: str
    report: RawReport


class Retried(msgspec.Struct, frozen=True):
    """What came of reading a report again; `reason` is empty where it could be read."""

    seq: int
    is_read: bool
    reason: str


class Tallied(msgspec.Struct, frozen=True, kw_only=True):
    """How often something happened at the door; `pbx` is empty for a stranger's serial number."""

    what: str
    sn: str
    pbx: str
    label: str
    count: int
    first_at: datetime
    last_at: datetime

    @property
    def is_known_by_now(self) -> bool:
        """A stranger that was declared since is none any more."""
        return self.what == "unknown_sn" and bool(self.pbx)


class Tallies(msgspec.Struct, frozen=True):
    """All tallies, the latest first."""

    data: list[Tallied]
    next: None = None


@get("/quarantine", summary="Reports that could not be read", tags=["quarantine"], responses=PROBLEMS)
async def list_quarantine(rooms: Handed, limit: Limit = PAGE_DEFAULT, cursor: AfterSeq = "") -> QuarantinePage:
    """In order of their number, each with the reason."""
    found = list(await rooms.store.quarantine(limit, int(cursor or 0)))
    return QuarantinePage(found, str(found[-1].seq) if len(found) == limit else None)


@get("/quarantine/{seq:int}", summary="One of them, with its bytes", tags=["quarantine"], responses=PROBLEMS)
async def read_quarantined(rooms: Handed, seq: Seq) -> QuarantinedReport:
    """What the PBX said, as it came, and why it could not be read."""
    quarantined = await find_quarantined(rooms, seq)
    (report,) = await rooms.ledger.get([seq])
    return QuarantinedReport(quarantined.reason, raw(report))


@post("/quarantine/{seq:int}/retry", summary="Read it again", tags=["quarantine"], responses=PROBLEMS, status_code=200)
async def retry_quarantined(rooms: Handed, seq: Seq) -> Retried:
    """As after an upgrade."""
    await find_quarantined(rooms, seq)
    still = {one.seq: one.reason for one in await rooms.read_again([seq])}
    return Retried(seq=seq, is_read=seq not in still, reason=still.get(seq, ""))


@get("/tallies", summary="What happened at the door, counted", tags=["pbxs"], responses=PROBLEMS)
async def list_tallies(rooms: Handed) -> Tallies:
    """Reports kept and repeated, strangers, wrong signatures, other events; at most 1,000, the latest first."""
    return Tallies(await tallied(rooms))


async def tallied(rooms: Rooms) -> list[Tallied]:
    """The ledger's tallies, with the names of the PBXs that we know."""
    names = {pbx.sn: pbx.name for pbx in rooms.settings.pbxs()}
    return [
        Tallied(
            what=one.what,
            sn=one.sn,
            pbx=names.get(one.sn, ""),
            label=one.label,
            count=one.count,
            first_at=_EPOCH + timedelta(microseconds=one.first_at),
            last_at=_EPOCH + timedelta(microseconds=one.last_at),
        )
        for one in await rooms.ledger.tallies()
    ]


async def find_quarantined(rooms: Rooms, seq: int) -> Quarantined:
    """The one with this number. Raises `NotFound`."""
    for one in await rooms.store.quarantine(1, seq - 1):
        if one.seq == seq:
            return one
    raise NotFound(f"report {seq} is not in the quarantine", todo="list them first: it may have been read by now")
