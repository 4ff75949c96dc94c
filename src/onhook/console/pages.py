"""Pages: one call with its journey, what needs a person's attention, and a report as it came."""

from collections.abc import Sequence
from typing import Annotated
from zoneinfo import ZoneInfo

from litestar import Response, get
from litestar.params import QueryParameter

from onhook.cdr.details import DETAIL_FIELDS
from onhook.cdr.plan import NumberPlan
from onhook.cdr.record import Call
from onhook.console.access import LIMITED, limits_of
from onhook.console.axis import draw
from onhook.console.calls import CallId, Sn, find_call
from onhook.console.page import AnyRequest, page
from onhook.console.parameters import ReaderZone
from onhook.console.quarantine import tallied
from onhook.console.records import Seq, raw
from onhook.console.rooms import Handed, Rooms
from onhook.errors import NotFound
from onhook.store.store import Quarantined

QUARANTINE_SHOWN_MAX = 200

RAW_REPORTS_MAX = 50
"""Reports shown on a call's page; a call with more legs than that links to the rest."""

KEPT_WORDS = frozenset({"kept", "repeat", "unreadable"})
"""The intake's words for what is in the ledger; all others are for what is counted and nothing else."""


@get("/calls/{sn:str}/{call_id:str}", opt=LIMITED, include_in_schema=False)
async def call_page(
    request: AnyRequest, rooms: Handed, sn: Sn, call_id: CallId, reader_zone: ReaderZone
) -> Response[str]:
    """One call: its journey, its legs with all their fields, and the reports that said them."""
    return await _call_page(request, rooms, await find_call(rooms, sn, call_id, limits_of(request.scope)), reader_zone)


@get("/call", opt=LIMITED, include_in_schema=False)
async def odd_call_page(
    request: AnyRequest,
    rooms: Handed,
    reader_zone: ReaderZone,
    sn: Annotated[str, QueryParameter(max_length=200)],
    call_id: Annotated[str, QueryParameter(max_length=200)],
) -> Response[str]:
    """The same for a call whose id cannot stand in a path."""
    return await _call_page(request, rooms, await find_call(rooms, sn, call_id, limits_of(request.scope)), reader_zone)


@get("/attention", include_in_schema=False)
async def attention_page(request: AnyRequest, rooms: Handed, reader_zone: ReaderZone) -> Response[str]:
    """What could not be read, and who knocked in vain."""
    total, newest = await quarantined(rooms, QUARANTINE_SHOWN_MAX)
    return page(
        request,
        rooms,
        reader_zone,
        "attention.html",
        quarantined=newest,
        quarantined_total=total,
        tallies=[one for one in await tallied(rooms) if one.what not in KEPT_WORDS],
    )


@get("/reports/{seq:int}", include_in_schema=False)
async def report_page(request: AnyRequest, rooms: Handed, seq: Seq, reader_zone: ReaderZone) -> Response[str]:
    """A report, as its bytes came."""
    reports = await rooms.ledger.get([seq])
    if not reports:
        raise NotFound(f"the ledger has no report {seq}")
    reasons = [one.reason for one in await rooms.store.quarantine(1, seq - 1) if one.seq == seq]
    return page(
        request,
        rooms,
        reader_zone,
        "report.html",
        report=raw(reports[0]),
        reason="".join(reasons),
    )


async def _call_page(request: AnyRequest, rooms: Rooms, call: Call, reader_zone: ZoneInfo) -> Response[str]:
    pbx = rooms.settings.pbx_of(call.sn)
    seqs = sorted({leg.seq for leg in call.legs})[:RAW_REPORTS_MAX]
    return page(
        request,
        rooms,
        reader_zone,
        "call.html",
        call=call,
        axis=draw(call, pbx.plan if pbx else NumberPlan()),
        fields=DETAIL_FIELDS,
        reports=[raw(report) for report in await rooms.ledger.get(seqs)],
    )


async def quarantined(rooms: Rooms, limit: int) -> tuple[int, Sequence[Quarantined]]:
    """How many could not be read, and the newest of them."""
    newest = await rooms.store.quarantine(limit, newest=True)
    # Counting looks through everything, so it is left out where the list itself says how many there are.
    return len(newest) if len(newest) < limit else (await rooms.store.counts())["quarantined"], newest
