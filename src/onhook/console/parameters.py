"""Query parameters: filters, the reader's zone, paging; unknown ones are rejected.

Dependencies of the routes, so that each parameter is parsed, checked and described (in the schema) in one place.
"""

from typing import Annotated, Any
from zoneinfo import ZoneInfo

import msgspec
from litestar import Litestar, Request
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency, Provide
from litestar.exceptions import ClientException
from litestar.handlers.base import BaseRouteHandler
from litestar.params import PathParameter, QueryParameter, SkipValidation
from litestar.routes import HTTPRoute

from onhook.appdb.masking import load_masking
from onhook.appdb.pbxs import NAME_CHARACTERS_MAX, PBXS_MAX, SECRET_CHARACTERS_MAX, SN_CHARACTERS_MAX
from onhook.cdr.number_masking import MASKS, Mask
from onhook.cdr.record_filter import TEXT_CHARACTERS_MAX, RecordFilter
from onhook.console.auth.access import get_access_scope
from onhook.console.masked_store import MaskedStore
from onhook.console.queries.search_filters import make_record_filter, make_search_filter
from onhook.console.reader import load_reader_settings, make_reader_zone
from onhook.console.state import AnyRequest, AppState, AppStateDep
from onhook.lib.errors import UsageError
from onhook.lib.messages import _
from onhook.store.contract import PAGE_MAX

PAGE_DEFAULT = 50

SEQ_MAX = 2**63 - 1
"""The highest number of a ledger."""

CURSOR_CHARACTERS_MAX = 400
"""Cursors are far shorter."""

QUERY_PARAMETERS_MAX = 50
"""Twice as many as any route has."""

KnownParameters = dict[tuple[str, str], frozenset[str]]
"""By method and path template."""


def _text_parameter(description: str) -> QueryParameter:
    return QueryParameter(description=description, max_length=TEXT_CHARACTERS_MAX)


_TIME_SYNTAX = (
    "ISO 8601 date or time (in `zone` unless it has an offset), "
    "`today`, `yesterday`, `now`, or `30m`, `12h`, `7d`, `2w` ago"
)
_LIST_SYNTAX = "Several are separated by commas, and `!` in front excludes them"
_EXTRA_SYNTAX = "`account_code=4711`, or several, separated by commas"
_GROUP_SYNTAX = "`department:NAME` or `site:NAME` is any number that the directory has in it"
_TALK_SECONDS = QueryParameter(description="Whole seconds of talk; the limit is included", pattern=r"^[0-9]{0,9}$")
_WAIT_SECONDS = QueryParameter(description="Whole seconds; the limit is included", pattern=r"^[0-9]{0,9}$")

ExportMask = Annotated[
    str,
    QueryParameter(
        description=f"Mask of external numbers: {', '.join(MASKS)}; empty is that of the user", max_length=20
    ),
]

Text = str
ReaderZone = NamedDependency[SkipValidation[ZoneInfo]]
RecordFilterDep = NamedDependency[SkipValidation[RecordFilter]]
SearchFilterDep = NamedDependency[SkipValidation[RecordFilter]]
Limit = Annotated[int, QueryParameter(description="Rows on one page", ge=1, le=PAGE_MAX)]
Cursor = Annotated[str, QueryParameter(description="`next` of the previous page", max_length=CURSOR_CHARACTERS_MAX)]
Seq = Annotated[int, PathParameter(description="Number in the ledger", ge=1, le=SEQ_MAX)]
Sort = Annotated[str, QueryParameter(description="Sort key, `-` in front reverses it", max_length=TEXT_CHARACTERS_MAX)]
RowOffset = Annotated[int, QueryParameter(description="Rows to skip", ge=0, le=10**9)]
AfterSeq = Annotated[str, QueryParameter(description="`next` of the previous page", pattern=r"^[0-9]{0,18}$")]
Sn = Annotated[str, PathParameter(description="Serial number of the PBX", max_length=TEXT_CHARACTERS_MAX)]
CallId = Annotated[str, PathParameter(description="The call's id", max_length=TEXT_CHARACTERS_MAX)]
SnQuery = Annotated[str, QueryParameter(description="Serial number of the PBX", max_length=TEXT_CHARACTERS_MAX)]
CallIdQuery = Annotated[str, QueryParameter(description="The call's id", max_length=TEXT_CHARACTERS_MAX)]
PbxNameOrSn = Annotated[
    str,
    PathParameter(
        description="Name or serial number of the PBX", max_length=max(NAME_CHARACTERS_MAX, SN_CHARACTERS_MAX)
    ),
]
SecretId = Annotated[int, PathParameter(description="`secret_id` of the secret", ge=1, le=SEQ_MAX)]
DeliveryId = Annotated[int, PathParameter(description="Number of the delivery", ge=1, le=SEQ_MAX)]
DestinationId = Annotated[int, PathParameter(description="Number of the destination", ge=1, le=SEQ_MAX)]
DestinationName = Annotated[str, PathParameter(description="Name of the destination", max_length=NAME_CHARACTERS_MAX)]
AppNameOrId = Annotated[str, PathParameter(description="Name or client id of the app", max_length=NAME_CHARACTERS_MAX)]
UserOrTokenName = Annotated[str, PathParameter(description="Name of the user or token", max_length=NAME_CHARACTERS_MAX)]
Label = Annotated[str, msgspec.Meta(min_length=1, max_length=NAME_CHARACTERS_MAX)]
PbxNames = Annotated[list[Label], msgspec.Meta(max_length=PBXS_MAX)]
SecretText = Annotated[str, msgspec.Meta(min_length=1, max_length=SECRET_CHARACTERS_MAX)]


async def reader_zone(
    request: Request[Any, Any, Any],
    app_state: AppStateDep,
    zone: Annotated[Text, _text_parameter("IANA time zone in which times are parsed and days begin")] = "",
) -> ZoneInfo:
    """Return the requested time zone, else that of the reader's settings, else the configured one. Raises
    `UsageError`.
    """
    return make_reader_zone(app_state, await load_reader_settings(request, app_state), zone)


async def record_filter(  # noqa: PLR0917 - one for each filter
    request: Request[Any, Any, Any],
    app_state: AppStateDep,
    reader_zone: ReaderZone,
    since: Annotated[Text, _text_parameter(f"Started at or after: {_TIME_SYNTAX}")] = "",
    until: Annotated[Text, _text_parameter(f"Started before: {_TIME_SYNTAX}")] = "",
    pbx: Annotated[Text, _text_parameter("Name of the PBX")] = "",
    sn: Annotated[Text, _text_parameter("Serial number of the PBX")] = "",
    call_id: Annotated[Text, _text_parameter("The call's id")] = "",
    number: Annotated[Text, _text_parameter(f"Number on either side; {_GROUP_SYNTAX}")] = "",
    call_from: Annotated[Text, _text_parameter(f"Number of the caller; {_GROUP_SYNTAX}")] = "",
    call_to: Annotated[Text, _text_parameter(f"Number that was called; {_GROUP_SYNTAX}")] = "",
    status: Annotated[Text, _text_parameter(f"Outcome; case, blanks and underscores are ignored. {_LIST_SYNTAX}")] = "",
    type: Annotated[Text, _text_parameter(f"`internal`, `inbound` or `outbound`. {_LIST_SYNTAX}")] = "",
    trunk: Annotated[Text, _text_parameter("Name of the trunk, in or out")] = "",
    did_number: Annotated[Text, _text_parameter("DID number that was dialled")] = "",
    min_talk_duration: Annotated[Text, _TALK_SECONDS] = "",
    max_talk_duration: Annotated[Text, _TALK_SECONDS] = "",
    extra: Annotated[Text, _text_parameter(f"Members of `extra`: {_EXTRA_SYNTAX}")] = "",
) -> RecordFilter:
    """Return the record filter of the request. Raises `UsageError`."""
    texts = {
        "since": since, "until": until, "pbx": pbx, "sn": sn, "call_id": call_id, "number": number,
        "call_from": call_from, "call_to": call_to, "status": status, "type": type, "trunk": trunk,
        "did_number": did_number, "min_talk_duration": min_talk_duration, "max_talk_duration": max_talk_duration,
        "extra": extra,
    }  # fmt: skip
    return await make_record_filter(app_state, get_access_scope(request.scope), texts, reader_zone)


async def search_filter(  # noqa: PLR0917 - one for each filter
    app_state: AppStateDep,
    record_filter: RecordFilterDep,
    reader_zone: ReaderZone,
    answered_by: Annotated[Text, _text_parameter(f"Number of the person who answered; {_GROUP_SYNTAX}")] = "",
    min_wait_duration: Annotated[Text, _WAIT_SECONDS] = "",
    max_wait_duration: Annotated[Text, _WAIT_SECONDS] = "",
    min_ring_duration: Annotated[Text, _WAIT_SECONDS] = "",
    max_ring_duration: Annotated[Text, _WAIT_SECONDS] = "",
    weekday: Annotated[Text, _text_parameter("1 (Monday) to 7, in `zone`")] = "",
    hour_of_day: Annotated[Text, _text_parameter("0 to 23, in `zone`")] = "",
    under_way_at: Annotated[Text, _text_parameter("In progress at this time, ISO 8601")] = "",
    ended_since: Annotated[Text, _text_parameter("Ended at or after this time, ISO 8601")] = "",
    caller: Annotated[Text, _text_parameter(f"Number of the caller of the whole call; {_GROUP_SYNTAX}")] = "",
    dialled: Annotated[Text, _text_parameter(f"Number that was dialled first; {_GROUP_SYNTAX}")] = "",
    by_trunk: Annotated[Text, _text_parameter("Trunk of the whole call: the inbound one, else the outbound one")] = "",
    by_did: Annotated[Text, _text_parameter("DID number of the whole call")] = "",
    tag: Annotated[Text, _text_parameter("A tag of the call")] = "",
    note: Annotated[Text, _text_parameter("Part of a note on the call, written in Onhook or on the PBX")] = "",
    q: Annotated[
        Text, _text_parameter("Free text: a number in any notation, an extension, a call's id, or part of a name")
    ] = "",
) -> RecordFilter:
    """Return the filter of the request with conditions on whole calls. Raises `UsageError`."""
    texts = {
        "answered_by": answered_by, "min_wait_duration": min_wait_duration, "max_wait_duration": max_wait_duration,
        "min_ring_duration": min_ring_duration, "max_ring_duration": max_ring_duration, "weekday": weekday,
        "hour_of_day": hour_of_day, "under_way_at": under_way_at, "ended_since": ended_since, "caller": caller,
        "dialled": dialled, "by_trunk": by_trunk, "by_did": by_did,
    }  # fmt: skip
    texts |= {"tag": tag, "note": note, "q": q}
    return await make_search_filter(app_state, record_filter, texts, reader_zone)


async def get_app_state(request: AnyRequest) -> AppState:
    """Return the state of the application, for a reader with masked numbers with a store that masks them."""
    app_state: AppState = request.app.state.app_state
    scope = get_access_scope(request.scope)
    return app_state if scope is None else await mask_state(app_state, scope.mask)


async def mask_state(app_state: AppState, mask: Mask) -> AppState:
    """Return the state with a store that masks numbers, unless nothing is masked."""
    masking = await load_masking(app_state.appdb, mask)
    if masking is None:
        return app_state
    return msgspec.structs.replace(
        app_state, store=MaskedStore.wrap(app_state.unmasked_store, masking), masking=masking
    )


def dependencies() -> dict[str, Provide]:
    """Return the dependencies of routes."""
    return {
        "app_state": Provide(get_app_state),
        "reader_zone": Provide(reader_zone),
        "record_filter": Provide(record_filter),
        "search_filter": Provide(search_filter),
    }


def known_parameters(app: Litestar) -> KnownParameters:
    """Return the query parameters of each route: its own and those of its dependencies."""
    names_by_route: KnownParameters = {}
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            for method, (_, model) in route.route_handler_map.items():
                names = frozenset(parameter.field_alias for parameter in model.expected_query_params)
                names_by_route[str(method), route.path_format] = names
    return names_by_route


def known_parameter_names(connection: ASGIConnection[Any, Any, Any, Any]) -> frozenset[str]:
    """Return the query parameters of the route of this request; none without a route."""
    names_by_route: KnownParameters = connection.app.state.known_parameters
    route = (str(connection.scope.get("method")), str(connection.scope.get("path_template", "")))
    return names_by_route.get(route, frozenset())


def reject_unknown_parameters(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Guard: reject a query parameter that the route does not have, or that is repeated. Raises 400, `UsageError`.

    Otherwise a misspelt filter would match everything.
    """
    names = known_parameter_names(connection)
    query_names = [name for name, _ in connection.query_params.multi_items()]
    for position, name in enumerate(query_names):
        if name not in names and not handler.opt.get("foreign_query"):
            _reject_parameter(
                name,
                _("there is no parameter {name}", name=repr(name[:80])),
                _("use one of {names}", names=", ".join(sorted(names))) if names else _("leave it out"),
            )
        if name in query_names[:position]:
            _reject_parameter(name, _("the parameter {name} is repeated", name=repr(name)), _("send it once"))
        if position >= QUERY_PARAMETERS_MAX:
            raise UsageError(
                _("there are too many parameters"), hint=_("send at most {limit}", limit=QUERY_PARAMETERS_MAX)
            )


def _reject_parameter(name: str, detail: str, hint: str) -> None:
    raise ClientException(detail="", extra=[{"key": name, "message": f"{detail}: {hint}"}])
