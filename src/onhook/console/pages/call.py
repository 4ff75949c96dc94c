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
from onhook.console.api.recordings import local_recording_flags
from onhook.console.api.records import RawEventDetails, raw_event_details
from onhook.console.auth.access import SCOPED, get_access_scope, get_principal
from onhook.console.pages.call_chart import draw_call_chart
from onhook.console.pages.formatting import call_url
from onhook.console.pages.page import AnyRequest, render_page
from onhook.console.parameters import ReaderZone
from onhook.console.state import AppState, AppStateDep
from onhook.ledger.contract import RawEvent
from onhook.lib.signing import is_signed_by

RAW_EVENTS_MAX = 50
"""Reports shown on a call's page; a call with more legs than that links to the rest."""

EARLIER_SEARCH_MAX = 20_000
"""Reports before the latest of a call that are looked through for earlier ones of it: a correction comes soon."""

EARLIER_BATCH_SIZE = 1_000
"""At once."""

SignatureState = Literal["right", "wrong", "none", "unsigned"]
"""Of a signature: by a secret of today; by none of them; no signature; and none needed, because the PBX is unsigned."""

EarlierQuery = Annotated[str, QueryParameter(max_length=3)]
IdInQuery = Annotated[str, QueryParameter(max_length=TEXT_CHARACTERS_MAX)]


class VerifiedRawEvent(msgspec.Struct, frozen=True):
    """A report, and what its signature proves today."""

    report: RawEventDetails
    proof: SignatureState


class CallDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """Where a call went and did not go through at once: to whom, how it stands, how the latest try was answered."""

    delivery: Delivery
    subscription: str
    last: Attempt | None


class NoteForm(msgspec.Struct, frozen=True):
    """What the form of notes sends."""

    sn: str = ""
    call_id: str = ""
    text: str = ""
    tags: str = ""


@get("/calls/{sn:str}/{call_id:str}", opt=SCOPED, include_in_schema=False)
async def call_page(  # noqa: PLR0917 - what the address may say
    request: AnyRequest,
    rooms: AppStateDep,
    sn: Sn,
    call_id: CallId,
    reader_zone: ReaderZone,
    earlier: EarlierQuery = "",
) -> Response[str]:
    """One call."""
    return await _render_call(request, rooms, sn, call_id, reader_zone, has_earlier=bool(earlier))


@get("/call", opt=SCOPED, include_in_schema=False)
async def call_page_by_query(  # noqa: PLR0917 - what the address may say
    request: AnyRequest,
    rooms: AppStateDep,
    reader_zone: ReaderZone,
    sn: IdInQuery,
    call_id: IdInQuery,
    earlier: EarlierQuery = "",
) -> Response[str]:
    """The same for a call whose id cannot stand in a path."""
    return await _render_call(request, rooms, sn, call_id, reader_zone, has_earlier=bool(earlier))


@post("/call/note", include_in_schema=False, status_code=200)
async def write_note(
    request: AnyRequest,
    rooms: AppStateDep,
    data: Annotated[NoteForm, BodyKwarg(media_type=RequestEncodingType.URL_ENCODED)],
) -> Redirect:
    """Write about a call. What was written before stays in its history."""
    call = await find_call(rooms, data.sn, data.call_id, get_access_scope(request.scope))
    principal = get_principal(request.scope)
    rooms.settings.notes.write(
        call.sn,
        call.call_id,
        data.text,
        data.tags,
        who=principal.name if principal else "",
        at=rooms.clock.microseconds(),
    )
    return Redirect(call_url(call.sn, call.call_id) + "#notes", status_code=303)


ROUTES = (call_page, call_page_by_query, write_note)


async def _render_call(
    request: AnyRequest, rooms: AppState, sn: str, call_id: str, zone: ReaderZone, *, has_earlier: bool
) -> Response[str]:
    scope = get_access_scope(request.scope)
    call = await find_call(rooms, sn, call_id, scope)
    pbx = rooms.settings.pbx_of(call.sn)
    seqs = sorted({leg.seq for leg in call.legs})
    return render_page(
        request,
        rooms,
        zone,
        "call.html",
        call=call,
        axis=draw_call_chart(call, pbx.plan if pbx else NumberPlan()),
        fields=DETAIL_FIELDS,
        recordings=list(zip(call.recordings, await asyncio.to_thread(local_recording_flags, rooms, call), strict=True)),
        reports=_verify_signatures(rooms, call.sn, await rooms.ledger.get(seqs[:RAW_EVENTS_MAX])),
        earlier=await _find_earlier(rooms, call, seqs) if has_earlier else [],
        has_earlier=has_earlier,
        # Where it was sent is about applications, not about this call alone.
        sent=_call_deliveries(rooms, call) if scope is None else [],
        history=rooms.settings.notes.history(call.sn, call.call_id),
        known_tags=rooms.settings.notes.tags() if scope is None else [],
    )


def _verify_signatures(rooms: AppState, sn: str, reports: Sequence[RawEvent]) -> list[VerifiedRawEvent]:
    credentials = next((candidate for candidate in rooms.settings.credentials() if candidate.sn == sn), None)
    secrets = credentials.secrets if credentials else ()

    def signature_state(report: RawEvent) -> SignatureState:
        if not report.signature:
            return "unsigned" if credentials is not None and credentials.is_unsigned else "none"
        return "right" if is_signed_by(secrets, report.body, report.signature) else "wrong"

    return [VerifiedRawEvent(raw_event_details(raw_event), signature_state(raw_event)) for raw_event in reports]


async def _find_earlier(rooms: AppState, call: Call, seqs: Sequence[int]) -> list[VerifiedRawEvent]:
    """Other reports that name the call: earlier versions of a leg, and what led to none."""
    matches: list[RawEvent] = []
    call_id_bytes, last_seq = call.call_id.encode(), max(seqs)
    after_seq = max(0, min(seqs) - EARLIER_SEARCH_MAX)
    while after_seq < last_seq:
        raw_events = await rooms.ledger.read(after_seq, EARLIER_BATCH_SIZE)
        if not raw_events:
            break
        after_seq = raw_events[-1].seq
        matches += [
            raw_event
            for raw_event in raw_events
            if raw_event.sn == call.sn and call_id_bytes in raw_event.body and raw_event.seq not in seqs
        ]
    return _verify_signatures(rooms, call.sn, matches[-RAW_EVENTS_MAX:])


def _call_deliveries(rooms: AppState, call: Call) -> list[CallDelivery]:
    names = {item.subscription_id: item.name for item in rooms.settings.subscriptions.all()}
    deliveries = rooms.settings.deliveries
    return [
        CallDelivery(
            delivery=item,
            subscription=names.get(item.subscription_id, ""),
            last=next(iter(deliveries.attempts(item.delivery_id)[-1:]), None),
        )
        for item in deliveries.of_call(call.sn, call.call_id)
    ]
