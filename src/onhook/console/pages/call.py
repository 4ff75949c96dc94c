"""`/calls/{sn}/{call_id}`: a call whole.

Its journey, its fields, the reports that said them with their signatures, what was said before, where it was sent, and
what people wrote about it.
"""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from litestar import get, post
from litestar.enums import RequestEncodingType
from litestar.params import BodyKwarg, QueryParameter
from litestar.response import Redirect, Response

from onhook.appdb.deliveries import Attempt, Delivery
from onhook.cdr.call_details import DETAIL_FIELDS
from onhook.cdr.number_plan import NumberPlan
from onhook.cdr.record import Call
from onhook.cdr.record_filter import TEXT_CHARACTERS_MAX
from onhook.console.api.calls import CallId, Sn, find_call
from onhook.console.api.recordings import heard_here
from onhook.console.api.records import RawReport, raw
from onhook.console.auth.access import LIMITED, limits_of, visitor_of
from onhook.console.pages.call_chart import draw
from onhook.console.pages.formatting import call_url
from onhook.console.pages.page import AnyRequest, page
from onhook.console.parameters import ReaderZone
from onhook.console.state import Handed, Rooms
from onhook.ledger.contract import Report
from onhook.lib.signing import is_signed_by

RAW_REPORTS_MAX = 50
"""Reports shown on a call's page; a call with more legs than that links to the rest."""

EARLIER_LOOKED_AT = 20_000
"""Reports before the latest of a call that are looked through for earlier ones of it: a correction comes soon."""

EARLIER_READ = 1_000
"""At once."""

Proof = Literal["right", "wrong", "none", "unsigned"]
"""Of a signature: by a secret of today; by none of them; no signature; and none needed, because the PBX is unsigned."""

Earlier = Annotated[str, QueryParameter(max_length=3)]
IdInQuery = Annotated[str, QueryParameter(max_length=TEXT_CHARACTERS_MAX)]


class Proven(msgspec.Struct, frozen=True):
    """A report, and what its signature proves today."""

    report: RawReport
    proof: Proof


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """Where a call went and did not go through at once: to whom, how it stands, how the latest try was answered."""

    delivery: Delivery
    subscription: str
    last: Attempt | None


class Writing(msgspec.Struct, frozen=True):
    """What the form of notes sends."""

    sn: str = ""
    call_id: str = ""
    text: str = ""
    tags: str = ""


@get("/calls/{sn:str}/{call_id:str}", opt=LIMITED, include_in_schema=False)
async def call_page(  # noqa: PLR0917 - what the address may say
    request: AnyRequest, rooms: Handed, sn: Sn, call_id: CallId, reader_zone: ReaderZone, earlier: Earlier = ""
) -> Response[str]:
    """One call."""
    return await _shown(request, rooms, sn, call_id, reader_zone, has_earlier=bool(earlier))


@get("/call", opt=LIMITED, include_in_schema=False)
async def odd_call_page(  # noqa: PLR0917 - what the address may say
    request: AnyRequest,
    rooms: Handed,
    reader_zone: ReaderZone,
    sn: IdInQuery,
    call_id: IdInQuery,
    earlier: Earlier = "",
) -> Response[str]:
    """The same for a call whose id cannot stand in a path."""
    return await _shown(request, rooms, sn, call_id, reader_zone, has_earlier=bool(earlier))


@post("/call/note", include_in_schema=False, status_code=200)
async def write_note(
    request: AnyRequest,
    rooms: Handed,
    data: Annotated[Writing, BodyKwarg(media_type=RequestEncodingType.URL_ENCODED)],
) -> Redirect:
    """Write about a call. What was written before stays in its history."""
    call = await find_call(rooms, data.sn, data.call_id, limits_of(request.scope))
    visitor = visitor_of(request.scope)
    rooms.settings.notes.write(
        call.sn,
        call.call_id,
        data.text,
        data.tags,
        who=visitor.name if visitor else "",
        at=rooms.clock.microseconds(),
    )
    return Redirect(call_url(call.sn, call.call_id) + "#notes", status_code=303)


ROUTES = (call_page, odd_call_page, write_note)


async def _shown(
    request: AnyRequest, rooms: Rooms, sn: str, call_id: str, zone: ReaderZone, *, has_earlier: bool
) -> Response[str]:
    within = limits_of(request.scope)
    call = await find_call(rooms, sn, call_id, within)
    pbx = rooms.settings.pbx_of(call.sn)
    seqs = sorted({leg.seq for leg in call.legs})
    return page(
        request,
        rooms,
        zone,
        "call.html",
        call=call,
        axis=draw(call, pbx.plan if pbx else NumberPlan()),
        fields=DETAIL_FIELDS,
        recordings=list(zip(call.recordings, await asyncio.to_thread(heard_here, rooms, call), strict=True)),
        reports=_proven(rooms, call.sn, await rooms.ledger.get(seqs[:RAW_REPORTS_MAX])),
        earlier=await _earlier(rooms, call, seqs) if has_earlier else [],
        has_earlier=has_earlier,
        # Where it was sent is about applications, not about this call alone.
        sent=_sent(rooms, call) if within is None else [],
        history=rooms.settings.notes.history(call.sn, call.call_id),
        known_tags=rooms.settings.notes.tags() if within is None else [],
    )


def _proven(rooms: Rooms, sn: str, reports: Sequence[Report]) -> list[Proven]:
    known = next((one for one in rooms.settings.credentials() if one.sn == sn), None)
    secrets = known.secrets if known else ()

    def proof(report: Report) -> Proof:
        if not report.signature:
            return "unsigned" if known is not None and known.is_unsigned else "none"
        return "right" if is_signed_by(secrets, report.body, report.signature) else "wrong"

    return [Proven(raw(report), proof(report)) for report in reports]


async def _earlier(rooms: Rooms, call: Call, seqs: Sequence[int]) -> list[Proven]:
    """Other reports that name the call: earlier versions of a leg, and what led to none."""
    found: list[Report] = []
    name, last = call.call_id.encode(), max(seqs)
    after = max(0, min(seqs) - EARLIER_LOOKED_AT)
    while after < last:
        reports = await rooms.ledger.read(after, EARLIER_READ)
        if not reports:
            break
        after = reports[-1].seq
        found += [one for one in reports if one.sn == call.sn and name in one.body and one.seq not in seqs]
    return _proven(rooms, call.sn, found[-RAW_REPORTS_MAX:])


def _sent(rooms: Rooms, call: Call) -> list[Sent]:
    names = {one.subscription_id: one.name for one in rooms.settings.subscriptions.all()}
    deliveries = rooms.settings.deliveries
    return [
        Sent(
            delivery=one,
            subscription=names.get(one.subscription_id, ""),
            last=next(iter(deliveries.attempts(one.delivery_id)[-1:]), None),
        )
        for one in deliveries.of_call(call.sn, call.call_id)
    ]
