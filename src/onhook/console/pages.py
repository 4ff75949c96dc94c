"""The pages: calls as they end with the day's totals, one call with its journey, and what needs a person's attention.

Each is complete without a script; the script only asks for the same page again when a call has ended.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import msgspec
from litestar import Request, Response, get
from litestar.params import QueryParameter

from onhook.cdr.details import DETAIL_FIELDS
from onhook.cdr.filter import FILTER_NAMES, parse_moment
from onhook.cdr.plan import NumberPlan
from onhook.cdr.record import Call
from onhook.console.addresses import intake_port
from onhook.console.axis import draw
from onhook.console.calls import CallId, Sn, find_call
from onhook.console.parameters import PAGE_DEFAULT, Cursor, Limit, ReaderZone, Where
from onhook.console.quarantine import Tallied, tallied
from onhook.console.records import Seq, raw
from onhook.console.rendering import render
from onhook.console.rooms import Handed, Rooms
from onhook.console.totals import add_up
from onhook.errors import NotFound
from onhook.store.store import Quarantined

ATTENTION_MAX = 5
"""Lines in the box at the top; the rest is on a page of its own."""

QUARANTINE_SHOWN_MAX = 200

RAW_REPORTS_MAX = 50
"""Reports shown on a call's page; a call with more legs than that links to the rest."""

KEPT_WORDS = frozenset({"kept", "repeat", "unreadable"})
"""The intake's words for what is in the ledger; all others are for what is counted and nothing else."""

STRANGER_WORDS = frozenset({"unknown_sn", "wrong_signature", "no_signature"})
"""The intake's words for knocks that a person should look at: a wrong secret, or a PBX that nobody declared."""

ALWAYS_SHOWN = frozenset({"number", "since", "status"})
"""Filters that stand in the first row of the form; the others fold away."""

KNOCKS_FRESH = timedelta(days=1)
"""A knock that was not repeated for a day needs no one's attention any more; it stays in the list at the door."""

AnyRequest = Request[Any, Any, Any]


class Attention(msgspec.Struct, frozen=True):
    """What a person should look at."""

    quarantined: int
    newest_quarantined: Sequence[Quarantined]
    knocks: Sequence[Tallied]


@get("/", include_in_schema=False)
async def first_page(  # noqa: PLR0917 - what the address may say
    request: AnyRequest,
    rooms: Handed,
    where: Where,
    reader_zone: ReaderZone,
    limit: Limit = PAGE_DEFAULT,
    cursor: Cursor = "",
) -> Response[str]:
    """Calls that match, the latest first; live while it shows the newest."""
    now = rooms.clock.now()
    # Asked before the page is read: what comes in between is told twice rather than never.
    position = await rooms.store.position()
    page = await rooms.shared.ask(
        (position, "calls", where, limit, cursor), lambda: rooms.store.calls(where, limit, cursor or None)
    )
    today = parse_moment("today", reader_zone, now)
    is_today = where.since is None and where.until is None
    counted = msgspec.structs.replace(where, since=today) if is_today else where
    by_pbx = await rooms.shared.ask(
        (position, "summary", counted, reader_zone.key), lambda: rooms.store.summary(counted, "pbx", reader_zone.key)
    )
    asked = {name: request.query_params.get(name, "") for name in FILTER_NAMES}
    is_filtered = any(asked.values())
    is_empty = not is_filtered and not cursor and not page.data
    return page_of(
        "calls.html",
        page=page,
        totals=add_up(by_pbx),
        by_pbx=by_pbx,
        is_today=is_today,
        asked=asked,
        is_filtered=is_filtered,
        is_narrow=any(value for name, value in asked.items() if name not in ALWAYS_SHOWN),
        limit_asked=limit if limit != PAGE_DEFAULT else "",
        is_newest=not cursor,
        position=position,
        attention=await _attention(rooms, position),
        pbxs=rooms.settings.pbxs(),
        intake_port=intake_port(rooms.config) if is_empty else 0,
        is_empty=is_empty,
        **zone_and_time(rooms, request, reader_zone, now),
    )


@get("/calls/{sn:str}/{call_id:str}", include_in_schema=False)
async def call_page(
    request: AnyRequest, rooms: Handed, sn: Sn, call_id: CallId, reader_zone: ReaderZone
) -> Response[str]:
    """One call: its journey, its legs with all their fields, and the reports that said them."""
    return await _call_page(request, rooms, await find_call(rooms, sn, call_id), reader_zone)


@get("/call", include_in_schema=False)
async def odd_call_page(
    request: AnyRequest,
    rooms: Handed,
    reader_zone: ReaderZone,
    sn: Annotated[str, QueryParameter(max_length=200)],
    call_id: Annotated[str, QueryParameter(max_length=200)],
) -> Response[str]:
    """The same for a call whose id cannot stand in a path."""
    return await _call_page(request, rooms, await find_call(rooms, sn, call_id), reader_zone)


@get("/attention", include_in_schema=False)
async def attention_page(request: AnyRequest, rooms: Handed, reader_zone: ReaderZone) -> Response[str]:
    """What could not be read, and who knocked in vain."""
    total, newest = await _quarantined(rooms, QUARANTINE_SHOWN_MAX)
    return page_of(
        "attention.html",
        quarantined=newest,
        quarantined_total=total,
        tallies=[one for one in await tallied(rooms) if one.what not in KEPT_WORDS],
        **zone_and_time(rooms, request, reader_zone, rooms.clock.now()),
    )


@get("/reports/{seq:int}", include_in_schema=False)
async def report_page(request: AnyRequest, rooms: Handed, seq: Seq, reader_zone: ReaderZone) -> Response[str]:
    """A report, as its bytes came."""
    reports = await rooms.ledger.get([seq])
    if not reports:
        raise NotFound(f"the ledger has no report {seq}")
    reasons = [one.reason for one in await rooms.store.quarantine(1, seq - 1) if one.seq == seq]
    return page_of(
        "report.html",
        report=raw(reports[0]),
        reason="".join(reasons),
        **zone_and_time(rooms, request, reader_zone, rooms.clock.now()),
    )


async def _call_page(request: AnyRequest, rooms: Rooms, call: Call, zone: ZoneInfo) -> Response[str]:
    pbx = rooms.settings.pbx_of(call.sn)
    seqs = sorted({leg.seq for leg in call.legs})[:RAW_REPORTS_MAX]
    return page_of(
        "call.html",
        call=call,
        axis=draw(call, pbx.plan if pbx else NumberPlan()),
        fields=DETAIL_FIELDS,
        reports=[raw(report) for report in await rooms.ledger.get(seqs)],
        **zone_and_time(rooms, request, zone, rooms.clock.now()),
    )


async def _attention(rooms: Rooms, position: int) -> Attention:
    total, newest = await rooms.shared.ask((position, "quarantine"), lambda: _quarantined(rooms, ATTENTION_MAX))
    tallies = await rooms.shared.ask("tallies", lambda: tallied(rooms))
    fresh = rooms.clock.now() - KNOCKS_FRESH
    knocks = [one for one in tallies if one.what in STRANGER_WORDS and one.last_at >= fresh]
    return Attention(total, newest, knocks[:ATTENTION_MAX])


async def _quarantined(rooms: Rooms, limit: int) -> tuple[int, Sequence[Quarantined]]:
    """How many could not be read, and the newest of them."""
    newest = await rooms.store.quarantine(limit, newest=True)
    # Counting looks through everything, so it is left out where the list itself says how many there are.
    return len(newest) if len(newest) < limit else (await rooms.store.counts())["quarantined"], newest


def zone_and_time(rooms: Rooms, request: AnyRequest, zone: ZoneInfo, now: datetime) -> dict[str, Any]:
    """What every page is told of the reader's zone and of now."""
    asked = request.query_params.get("zone", "")
    return {"zone": zone, "zone_asked": asked, "now": now, "is_open": rooms.config.console_open}


def page_of(template: str, **values: Any) -> Response[str]:
    """The page that a template makes of these values."""
    return Response(render(template, **values), media_type="text/html")
