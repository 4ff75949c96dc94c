"""What may be asked in a query: the filters, the reader's zone, paging; and nothing that nobody knows.

Dependencies of the routes, so that each parameter is read, checked and described (in the schema) in one place.
"""

from typing import Annotated, Any
from zoneinfo import ZoneInfo

import msgspec
from litestar import Litestar, Request
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency, Provide
from litestar.exceptions import ClientException
from litestar.handlers.base import BaseRouteHandler
from litestar.params import QueryParameter, SkipValidation
from litestar.routes import HTTPRoute

from onhook.cdr.call_filter import Aspects, parse_aspects
from onhook.cdr.record_filter import TEXT_CHARACTERS_MAX, Filter, parse_filter
from onhook.cdr.utc_offset import zone_named
from onhook.console.auth.access import limits_of
from onhook.console.search import with_text
from onhook.console.state import Handed, Rooms
from onhook.lib.errors import UsageError
from onhook.store.contract import PAGE_MAX

PAGE_DEFAULT = 50

CURSOR_CHARACTERS_MAX = 400
"""Ours are far shorter."""

QUERY_PARAMETERS_MAX = 50
"""Twice as many as any route knows."""

KnownParameters = dict[tuple[str, str], frozenset[str]]
"""By method and path template."""


def _text(description: str) -> QueryParameter:
    return QueryParameter(description=description, max_length=TEXT_CHARACTERS_MAX)


_MOMENT = (
    "ISO 8601 date or time (in `zone` unless it has an offset), "
    "`today`, `yesterday`, `now`, or `30m`, `12h`, `7d`, `2w` ago"
)
_WORDS = "Several are joined by commas, and `!` in front means all others"
_SECONDS = QueryParameter(description="Whole seconds of talk; the limit is included", pattern=r"^[0-9]{0,9}$")
_WAIT = QueryParameter(description="Whole seconds; the limit is included", pattern=r"^[0-9]{0,9}$")

Text = str
ReaderZone = NamedDependency[SkipValidation[ZoneInfo]]
Where = NamedDependency[SkipValidation[Filter]]
CallsWhere = NamedDependency[SkipValidation[Filter]]
Limit = Annotated[int, QueryParameter(description="Rows on one page", ge=1, le=PAGE_MAX)]
Cursor = Annotated[str, QueryParameter(description="`next` of the page before", max_length=CURSOR_CHARACTERS_MAX)]


def reader_zone(
    rooms: Handed,
    zone: Annotated[Text, _text("IANA name of the zone in which times are read and cut")] = "",
) -> ZoneInfo:
    """The zone that the reader asks for, else the configured one. Raises `UsageError`."""
    return zone_named(zone or rooms.config.zone)


def where(  # noqa: PLR0917 - one for each filter
    request: Request[Any, Any, Any],
    rooms: Handed,
    reader_zone: ReaderZone,
    since: Annotated[Text, _text(f"Started at or after: {_MOMENT}")] = "",
    until: Annotated[Text, _text(f"Started before: {_MOMENT}")] = "",
    pbx: Annotated[Text, _text("Name of the PBX")] = "",
    sn: Annotated[Text, _text("Serial number of the PBX")] = "",
    call_id: Annotated[Text, _text("The call's id")] = "",
    number: Annotated[Text, _text("Number on either side")] = "",
    call_from: Annotated[Text, _text("Number of the caller")] = "",
    call_to: Annotated[Text, _text("Number that was called")] = "",
    status: Annotated[Text, _text(f"How it ended; case, blanks and underscores do not count. {_WORDS}")] = "",
    type: Annotated[Text, _text(f"`internal`, `inbound` or `outbound`. {_WORDS}")] = "",
    trunk: Annotated[Text, _text("Name of the trunk, in or out")] = "",
    did_number: Annotated[Text, _text("DID number that was dialled")] = "",
    min_talk_duration: Annotated[Text, _SECONDS] = "",
    max_talk_duration: Annotated[Text, _SECONDS] = "",
) -> Filter:
    """The filters that are set. Raises `UsageError`."""
    given = {
        "since": since, "until": until, "pbx": pbx, "sn": sn, "call_id": call_id, "number": number,
        "call_from": call_from, "call_to": call_to, "status": status, "type": type, "trunk": trunk,
        "did_number": did_number, "min_talk_duration": min_talk_duration, "max_talk_duration": max_talk_duration,
    }  # fmt: skip
    # Whatever is asked for, nobody is shown more than he may see.
    return msgspec.structs.replace(parse_filter(given, reader_zone, rooms.clock.now()), within=limits_of(request.scope))


def calls_where(  # noqa: PLR0917 - one for each aspect
    rooms: Handed,
    where: Where,
    reader_zone: ReaderZone,
    answered_by: Annotated[Text, _text("Number of the person who answered")] = "",
    min_wait_duration: Annotated[Text, _WAIT] = "",
    max_wait_duration: Annotated[Text, _WAIT] = "",
    min_ring_duration: Annotated[Text, _WAIT] = "",
    max_ring_duration: Annotated[Text, _WAIT] = "",
    weekday: Annotated[Text, _text("1 (Monday) to 7, in `zone`")] = "",
    hour_of_day: Annotated[Text, _text("0 to 23, in `zone`")] = "",
    under_way_at: Annotated[Text, _text("Under way at this moment, ISO 8601")] = "",
    caller: Annotated[Text, _text("Number of the caller of the call itself")] = "",
    dialled: Annotated[Text, _text("Number that was dialled first")] = "",
    by_trunk: Annotated[Text, _text("Trunk of the call itself: that it came in on, else that it went out on")] = "",
    by_did: Annotated[Text, _text("DID number of the call itself")] = "",
    tag: Annotated[Text, _text("A tag that the call has")] = "",
    note: Annotated[Text, _text("Part of what was written about the call")] = "",
    q: Annotated[Text, _text("Free text: a number in any notation, an extension, a call's id, or part of a name")] = "",
) -> Filter:
    """The same for whole calls, with what only they can tell. Raises `UsageError`."""
    given = {
        "answered_by": answered_by, "min_wait_duration": min_wait_duration, "max_wait_duration": max_wait_duration,
        "min_ring_duration": min_ring_duration, "max_ring_duration": max_ring_duration, "weekday": weekday,
        "hour_of_day": hour_of_day, "under_way_at": under_way_at, "caller": caller, "dialled": dialled,
        "by_trunk": by_trunk, "by_did": by_did,
    }  # fmt: skip
    aspects = parse_aspects(given, reader_zone) if any(given.values()) else None
    meant = with_text(msgspec.structs.replace(where, aspects=aspects), q, rooms.settings.pbxs(), reader_zone)
    return _noted(rooms, meant, tag.strip(), note.strip()) if tag.strip() or note.strip() else meant


def _noted(rooms: Rooms, where: Filter, tag: str, note: str) -> Filter:
    """Those alone that somebody wrote about."""
    among = tuple(rooms.settings.notes.calls_with(tag, note))
    return msgspec.structs.replace(where, aspects=msgspec.structs.replace(where.aspects or Aspects(), among=among))


def dependencies() -> dict[str, Provide]:
    """What routes may ask for by name, besides `rooms`."""
    return {
        "reader_zone": Provide(reader_zone, sync_to_thread=False),
        "where": Provide(where, sync_to_thread=False),
        "calls_where": Provide(calls_where, sync_to_thread=False),
    }


def known_parameters(app: Litestar) -> KnownParameters:
    """Which query parameters each route knows: those of its own and of what it asks for."""
    known: KnownParameters = {}
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            for method, (_, model) in route.route_handler_map.items():
                names = frozenset(parameter.field_alias for parameter in model.expected_query_params)
                known[str(method), route.path_format] = names
    return known


def only_known(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:  # noqa: ARG001 - the shape of a guard
    """A guard: refuse a query parameter that the route does not know, or that is there twice. Raises 400, `UsageError`.

    Otherwise a misspelt filter would find everything.
    """
    known: KnownParameters = connection.app.state.known_parameters
    names = known.get((str(connection.scope.get("method")), connection.scope["path_template"]), frozenset())
    asked = [name for name, _ in connection.query_params.multi_items()]
    for position, name in enumerate(asked):
        if name not in names:
            _refuse(name, f"there is no parameter {name[:80]!r}", f"use one of {', '.join(sorted(names)) or 'none'}")
        if name in asked[:position]:
            _refuse(name, f"the parameter {name!r} is there twice", "give it once")
        if position >= QUERY_PARAMETERS_MAX:
            raise UsageError("there are too many parameters", todo=f"give at most {QUERY_PARAMETERS_MAX}")


def _refuse(name: str, what: str, todo: str) -> None:
    raise ClientException(detail="", extra=[{"key": name, "message": f"{what}: {todo}"}])
