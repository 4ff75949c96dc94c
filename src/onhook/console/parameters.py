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

from onhook.cdr.call_filter import CallFilter, parse_call_filter
from onhook.cdr.record_filter import TEXT_CHARACTERS_MAX, RecordFilter, parse_filter
from onhook.cdr.utc_offset import get_zone
from onhook.console.auth.access import get_access_scope
from onhook.console.search import apply_search_text
from onhook.console.state import AppState, AppStateDep
from onhook.lib.errors import UsageError
from onhook.store.contract import PAGE_MAX

PAGE_DEFAULT = 50

CURSOR_CHARACTERS_MAX = 400
"""Ours are far shorter."""

QUERY_PARAMETERS_MAX = 50
"""Twice as many as any route knows."""

KnownParameters = dict[tuple[str, str], frozenset[str]]
"""By method and path template."""


def _text_parameter(description: str) -> QueryParameter:
    return QueryParameter(description=description, max_length=TEXT_CHARACTERS_MAX)


_TIME_SYNTAX = (
    "ISO 8601 date or time (in `zone` unless it has an offset), "
    "`today`, `yesterday`, `now`, or `30m`, `12h`, `7d`, `2w` ago"
)
_LIST_SYNTAX = "Several are joined by commas, and `!` in front means all others"
_TALK_SECONDS = QueryParameter(description="Whole seconds of talk; the limit is included", pattern=r"^[0-9]{0,9}$")
_WAIT_SECONDS = QueryParameter(description="Whole seconds; the limit is included", pattern=r"^[0-9]{0,9}$")

Text = str
ReaderZone = NamedDependency[SkipValidation[ZoneInfo]]
RecordFilterDep = NamedDependency[SkipValidation[RecordFilter]]
SearchFilterDep = NamedDependency[SkipValidation[RecordFilter]]
Limit = Annotated[int, QueryParameter(description="Rows on one page", ge=1, le=PAGE_MAX)]
Cursor = Annotated[str, QueryParameter(description="`next` of the page before", max_length=CURSOR_CHARACTERS_MAX)]


def reader_zone(
    app_state: AppStateDep,
    zone: Annotated[Text, _text_parameter("IANA name of the zone in which times are read and cut")] = "",
) -> ZoneInfo:
    """The zone that the reader asks for, else the configured one. Raises `UsageError`."""
    return get_zone(zone or app_state.config.zone)


def record_filter(  # noqa: PLR0917 - one for each filter
    request: Request[Any, Any, Any],
    app_state: AppStateDep,
    reader_zone: ReaderZone,
    since: Annotated[Text, _text_parameter(f"Started at or after: {_TIME_SYNTAX}")] = "",
    until: Annotated[Text, _text_parameter(f"Started before: {_TIME_SYNTAX}")] = "",
    pbx: Annotated[Text, _text_parameter("Name of the PBX")] = "",
    sn: Annotated[Text, _text_parameter("Serial number of the PBX")] = "",
    call_id: Annotated[Text, _text_parameter("The call's id")] = "",
    number: Annotated[Text, _text_parameter("Number on either side")] = "",
    call_from: Annotated[Text, _text_parameter("Number of the caller")] = "",
    call_to: Annotated[Text, _text_parameter("Number that was called")] = "",
    status: Annotated[
        Text, _text_parameter(f"How it ended; case, blanks and underscores do not count. {_LIST_SYNTAX}")
    ] = "",
    type: Annotated[Text, _text_parameter(f"`internal`, `inbound` or `outbound`. {_LIST_SYNTAX}")] = "",
    trunk: Annotated[Text, _text_parameter("Name of the trunk, in or out")] = "",
    did_number: Annotated[Text, _text_parameter("DID number that was dialled")] = "",
    min_talk_duration: Annotated[Text, _TALK_SECONDS] = "",
    max_talk_duration: Annotated[Text, _TALK_SECONDS] = "",
) -> RecordFilter:
    """The filters that are set. Raises `UsageError`."""
    texts = {
        "since": since, "until": until, "pbx": pbx, "sn": sn, "call_id": call_id, "number": number,
        "call_from": call_from, "call_to": call_to, "status": status, "type": type, "trunk": trunk,
        "did_number": did_number, "min_talk_duration": min_talk_duration, "max_talk_duration": max_talk_duration,
    }  # fmt: skip
    # Whatever is asked for, nobody is shown more than he may see.
    return msgspec.structs.replace(
        parse_filter(texts, reader_zone, app_state.clock.now()), scope=get_access_scope(request.scope)
    )


def search_filter(  # noqa: PLR0917 - one for each aspect
    app_state: AppStateDep,
    record_filter: RecordFilterDep,
    reader_zone: ReaderZone,
    answered_by: Annotated[Text, _text_parameter("Number of the person who answered")] = "",
    min_wait_duration: Annotated[Text, _WAIT_SECONDS] = "",
    max_wait_duration: Annotated[Text, _WAIT_SECONDS] = "",
    min_ring_duration: Annotated[Text, _WAIT_SECONDS] = "",
    max_ring_duration: Annotated[Text, _WAIT_SECONDS] = "",
    weekday: Annotated[Text, _text_parameter("1 (Monday) to 7, in `zone`")] = "",
    hour_of_day: Annotated[Text, _text_parameter("0 to 23, in `zone`")] = "",
    under_way_at: Annotated[Text, _text_parameter("Under way at this moment, ISO 8601")] = "",
    caller: Annotated[Text, _text_parameter("Number of the caller of the call itself")] = "",
    dialled: Annotated[Text, _text_parameter("Number that was dialled first")] = "",
    by_trunk: Annotated[
        Text, _text_parameter("Trunk of the call itself: that it came in on, else that it went out on")
    ] = "",
    by_did: Annotated[Text, _text_parameter("DID number of the call itself")] = "",
    tag: Annotated[Text, _text_parameter("A tag that the call has")] = "",
    note: Annotated[Text, _text_parameter("Part of what was written about the call")] = "",
    q: Annotated[
        Text, _text_parameter("Free text: a number in any notation, an extension, a call's id, or part of a name")
    ] = "",
) -> RecordFilter:
    """The same for whole calls, with what only they can tell. Raises `UsageError`."""
    texts = {
        "answered_by": answered_by, "min_wait_duration": min_wait_duration, "max_wait_duration": max_wait_duration,
        "min_ring_duration": min_ring_duration, "max_ring_duration": max_ring_duration, "weekday": weekday,
        "hour_of_day": hour_of_day, "under_way_at": under_way_at, "caller": caller, "dialled": dialled,
        "by_trunk": by_trunk, "by_did": by_did,
    }  # fmt: skip
    call_filter = parse_call_filter(texts, reader_zone) if any(texts.values()) else None
    combined_filter = apply_search_text(
        msgspec.structs.replace(record_filter, call_filter=call_filter), q, app_state.appdb.pbxs(), reader_zone
    )
    return (
        _restrict_to_noted_calls(app_state, combined_filter, tag.strip(), note.strip())
        if tag.strip() or note.strip()
        else combined_filter
    )


def _restrict_to_noted_calls(app_state: AppState, search_filter: RecordFilter, tag: str, note: str) -> RecordFilter:
    """Those alone that somebody wrote about."""
    call_keys = tuple(app_state.appdb.notes.find_calls(tag, note))
    return msgspec.structs.replace(
        search_filter,
        call_filter=msgspec.structs.replace(search_filter.call_filter or CallFilter(), call_keys=call_keys),
    )


def dependencies() -> dict[str, Provide]:
    """What routes may ask for by name, besides `app_state`."""
    return {
        "reader_zone": Provide(reader_zone, sync_to_thread=False),
        "record_filter": Provide(record_filter, sync_to_thread=False),
        "search_filter": Provide(search_filter, sync_to_thread=False),
    }


def known_parameters(app: Litestar) -> KnownParameters:
    """Which query parameters each route knows: those of its own and of what it asks for."""
    names_by_route: KnownParameters = {}
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            for method, (_, model) in route.route_handler_map.items():
                names = frozenset(parameter.field_alias for parameter in model.expected_query_params)
                names_by_route[str(method), route.path_format] = names
    return names_by_route


def reject_unknown_parameters(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:  # noqa: ARG001 - the shape of a guard
    """A guard: refuse a query parameter that the route does not know, or that is there twice. Raises 400, `UsageError`.

    Otherwise a misspelt filter would find everything.
    """
    names_by_route: KnownParameters = connection.app.state.known_parameters
    names = names_by_route.get((str(connection.scope.get("method")), connection.scope["path_template"]), frozenset())
    query_names = [name for name, _ in connection.query_params.multi_items()]
    for position, name in enumerate(query_names):
        if name not in names:
            _reject_parameter(
                name, f"there is no parameter {name[:80]!r}", f"use one of {', '.join(sorted(names)) or 'none'}"
            )
        if name in query_names[:position]:
            _reject_parameter(name, f"the parameter {name!r} is there twice", "give it once")
        if position >= QUERY_PARAMETERS_MAX:
            raise UsageError("there are too many parameters", hint=f"give at most {QUERY_PARAMETERS_MAX}")


def _reject_parameter(name: str, detail: str, hint: str) -> None:
    raise ClientException(detail="", extra=[{"key": name, "message": f"{detail}: {hint}"}])
