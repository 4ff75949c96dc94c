"""`/calls/{sn}/{call_id}`: one call.

Its chart, its fields, its events with their signatures, earlier versions, deliveries, and notes.
"""

import re
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import msgspec
from litestar import get, post
from litestar.params import QueryParameter
from litestar.response import Redirect, Response

from onhook.appdb.delivery_rows import Attempt, Delivery
from onhook.appdb.destination_log import LoggedAttempt
from onhook.appdb.notes import Note
from onhook.cdr.call_details import DETAIL_FIELDS
from onhook.cdr.call_filter import list_pbx_notes
from onhook.cdr.number_plan import NumberPlan
from onhook.cdr.record import Call
from onhook.cdr.record_filter import TEXT_CHARACTERS_MAX
from onhook.console.auth.access import ANNOTATES, SCOPED, get_access_scope, get_principal
from onhook.console.pages.call_chart import CallChart, draw_call_chart
from onhook.console.pages.formatting import call_url
from onhook.console.pages.page import FORM_BODY, render_page
from onhook.console.pages.rendering import View
from onhook.console.parameters import CallId, ReaderZone, Sn
from onhook.console.queries.calls import find_call, list_notes, local_recording_flags
from onhook.console.queries.calls import write_note as write_call_note
from onhook.console.queries.directory import load_names
from onhook.console.queries.neighbours import Neighbours, find_neighbours
from onhook.console.queries.raw_events import RawEventDetails, describe_raw_event
from onhook.console.state import AnyRequest, AppState, AppStateDep
from onhook.ledger.contract import RawEvent
from onhook.lib.signing import is_signed_by

RAW_EVENTS_MAX = 50
"""Events on a call's page; a call with more legs links to the rest."""

EARLIER_SEARCH_MAX = 20_000
"""Events before the latest one of a call that are searched for earlier versions: a correction comes soon."""

EARLIER_BATCH_SIZE = 1_000
"""Verified at once."""

SignatureState = Literal["valid", "invalid", "missing", "unsigned"]
"""State of a signature: valid with a current secret; invalid; missing; not needed, because the PBX is unsigned."""

EarlierQuery = Annotated[str, QueryParameter(max_length=3)]
IdInQuery = Annotated[str, QueryParameter(max_length=TEXT_CHARACTERS_MAX)]


class VerifiedRawEvent(msgspec.Struct, frozen=True):
    """An event, and the current result of its verification."""

    raw_event: RawEventDetails
    signature_state: SignatureState


class CallDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery of the call that was not delivered at once: its destination, its state, its latest attempt."""

    delivery: Delivery
    destination: str
    last_attempt: Attempt | None


class CallAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt to notify a destination of the call, from its log."""

    attempt: LoggedAttempt
    destination: str


class NoteForm(msgspec.Struct, frozen=True):
    """Content of the form of notes."""

    sn: str = ""
    call_id: str = ""
    text: str = ""
    tags: str = ""


class CallView(View, frozen=True, kw_only=True):
    """Values of the page: one call with names of its parties, and the called parties of its legs with theirs; each
    recording with whether it is here. `raw_events` is None for a reader who may not see them.
    """

    template: ClassVar = "call.html"
    call: Call
    axis: CallChart
    neighbours: Neighbours
    leg_parties: Sequence[str]
    fields: Sequence[str]
    recordings: Sequence[tuple[str, bool]]
    raw_events: Sequence[VerifiedRawEvent] | None
    earlier: Sequence[VerifiedRawEvent]
    has_earlier: bool
    deliveries: Sequence[CallDelivery]
    attempts: Sequence[CallAttempt]
    history: Sequence[Note]
    pbx_notes: Sequence[str]
    known_tags: Sequence[str]


@get("/calls/{sn:str}/{call_id:str}", opt=SCOPED, include_in_schema=False)
async def call_page(  # noqa: PLR0917 - the parameters of the URL
    request: AnyRequest,
    app_state: AppStateDep,
    sn: Sn,
    call_id: CallId,
    reader_zone: ReaderZone,
    earlier: EarlierQuery = "",
) -> Response[str]:
    """Return the page of one call."""
    return await _render_call(request, app_state, sn, call_id, reader_zone, has_earlier=bool(earlier))


@get("/call", opt=SCOPED, include_in_schema=False)
async def call_page_by_query(  # noqa: PLR0917 - the parameters of the URL
    request: AnyRequest,
    app_state: AppStateDep,
    reader_zone: ReaderZone,
    sn: IdInQuery,
    call_id: IdInQuery,
    earlier: EarlierQuery = "",
) -> Response[str]:
    """Return the page of a call whose id cannot be part of a path."""
    return await _render_call(request, app_state, sn, call_id, reader_zone, has_earlier=bool(earlier))


@post("/call/note", opt=ANNOTATES, include_in_schema=False, status_code=200)
async def write_note(
    request: AnyRequest,
    app_state: AppStateDep,
    data: Annotated[NoteForm, FORM_BODY],
) -> Redirect:
    """Add a version of a call's note."""
    call = await find_call(app_state, data.sn, data.call_id, get_access_scope(request.scope))
    principal = get_principal(request.scope)
    await write_call_note(app_state, call, data.text, data.tags, principal.name if principal else "")
    return Redirect(call_url(call.sn, call.call_id) + "#notes", status_code=303)


ROUTES = (call_page, call_page_by_query, write_note)


async def _render_call(
    request: AnyRequest, app_state: AppState, sn: str, call_id: str, zone: ReaderZone, *, has_earlier: bool
) -> Response[str]:
    scope = get_access_scope(request.scope)
    call = await find_call(app_state, sn, call_id, scope)
    pbx = await app_state.appdb.find_pbx_by_sn(call.sn)
    axis = draw_call_chart(call, pbx.number_plan if pbx else NumberPlan())
    directory = await load_names(app_state)
    seqs = sorted({leg.seq for leg in call.legs})
    # The body of an event may have other calls too, and it has the numbers.
    may_see_bodies = (scope is None or not scope.limits_numbers) and app_state.masking is None
    neighbours = await find_neighbours(app_state, call, scope)
    return await render_page(
        request,
        app_state,
        zone,
        CallView(
            call=directory.name_call(call),
            axis=axis,
            neighbours=msgspec.structs.replace(
                neighbours, related=[directory.name_call(other) for other in neighbours.related]
            ),
            leg_parties=[
                directory.name_party(call.sn, bar.leg.call_to, is_outside=bool(bar.leg.dst_trunk_name))
                for bar in axis.bars
            ],
            fields=DETAIL_FIELDS,
            recordings=list(zip(call.recordings, await local_recording_flags(app_state, call), strict=True)),
            raw_events=await _load_raw_events(app_state, call.sn, seqs) if may_see_bodies else None,
            earlier=await _find_earlier(app_state, call, seqs) if has_earlier and may_see_bodies else [],
            has_earlier=has_earlier,
            # Deliveries show destinations, not only this call.
            deliveries=await _call_deliveries(app_state, call) if scope is None else [],
            attempts=await _call_attempts(app_state, call) if scope is None else [],
            history=await list_notes(app_state, call),
            pbx_notes=list_pbx_notes(call),
            known_tags=await app_state.appdb.notes.tags() if scope is None else [],
        ),
    )


async def _load_raw_events(app_state: AppState, sn: str, seqs: Sequence[int]) -> list[VerifiedRawEvent]:
    return await _verify_signatures(app_state, sn, await app_state.ledger.get(seqs[:RAW_EVENTS_MAX]))


async def _verify_signatures(app_state: AppState, sn: str, raw_events: Sequence[RawEvent]) -> list[VerifiedRawEvent]:
    credentials = next(
        (candidate for candidate in await app_state.appdb.webhook_credentials() if candidate.sn == sn), None
    )
    secrets = credentials.secrets if credentials else ()

    def signature_state(raw_event: RawEvent) -> SignatureState:
        if not raw_event.signature:
            return "unsigned" if credentials is not None and credentials.is_unsigned else "missing"
        return "valid" if is_signed_by(secrets, raw_event.body, raw_event.signature) else "invalid"

    return [VerifiedRawEvent(describe_raw_event(raw_event), signature_state(raw_event)) for raw_event in raw_events]


async def _find_earlier(app_state: AppState, call: Call, seqs: Sequence[int]) -> list[VerifiedRawEvent]:
    """Return other events that name the call: earlier versions of a leg, and events without a record."""
    matches: list[RawEvent] = []
    numbers = await app_state.appdb.serial_numbers.all()
    sns = {call.sn, *(number.sn for number in numbers if number.pbx_sn == call.sn)}
    last_seq = max(seqs)
    # Of `….1` and `….15` only the one that is asked for.
    call_id_pattern = re.compile(rb"(?<![0-9])" + re.escape(call.call_id.encode()) + rb"(?![0-9])")
    after_seq = max(0, min(seqs) - EARLIER_SEARCH_MAX)
    while after_seq < last_seq:
        raw_events = await app_state.ledger.read(after_seq, EARLIER_BATCH_SIZE)
        if not raw_events:
            break
        after_seq = raw_events[-1].seq
        matches += [
            raw_event
            for raw_event in raw_events
            if raw_event.sn in sns and call_id_pattern.search(raw_event.body) and raw_event.seq not in seqs
        ]
    return await _verify_signatures(app_state, call.sn, matches[-RAW_EVENTS_MAX:])


async def _call_deliveries(app_state: AppState, call: Call) -> list[CallDelivery]:
    names = await app_state.appdb.destinations.names()
    deliveries = app_state.appdb.deliveries
    return [
        CallDelivery(
            delivery=delivery,
            destination=names.get(delivery.destination_id, ""),
            last_attempt=next(iter((await deliveries.attempts(delivery.delivery_id))[-1:]), None),
        )
        for delivery in await deliveries.list_for_call(call.sn, call.call_id)
    ]


async def _call_attempts(app_state: AppState, call: Call) -> list[CallAttempt]:
    names = await app_state.appdb.destinations.names()
    return [
        CallAttempt(attempt=attempt, destination=names.get(attempt.destination_id, ""))
        for attempt in await app_state.appdb.destination_log.list_for_call((call.sn, call.call_id))
    ]
