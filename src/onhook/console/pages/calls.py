"""`/calls`: the search, with all filters, free text, selectable columns, and sorting.

Live while it shows the newest calls. The whole search is in the URL, so that it can be shared as a link.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from types import MappingProxyType
from typing import Annotated, Any, ClassVar

import msgspec
from litestar import Response, get
from litestar.params import QueryParameter

from onhook.appdb.pbxs import Pbx
from onhook.appdb.saved_searches import SavedSearch
from onhook.cdr.access_scope import AccessScope
from onhook.cdr.call_filter import CALL_FILTER_NAMES
from onhook.cdr.record_filter import FILTER_NAMES, TEXT_CHARACTERS_MAX, RecordFilter, parse_time
from onhook.console.auth.access import SCOPED, get_principal
from onhook.console.pages.date_range import DateRange, create_date_range
from onhook.console.pages.formatting import url
from onhook.console.pages.page import render_page
from onhook.console.pages.rendering import View
from onhook.console.pages.totals import Totals, add_up
from onhook.console.parameters import PAGE_DEFAULT, Cursor, Limit, ReaderZone, SearchFilterDep
from onhook.console.queries.directory import name_calls
from onhook.console.reader import load_reader_settings
from onhook.console.state import AnyRequest, AppState, AppStateDep
from onhook.lib.errors import UsageError
from onhook.lib.messages import _, mark
from onhook.store.contract import LISTING_ROWS_MAX, CallListing, CallPage

COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        "answered_by": mark("Answered by"),
        "wait": mark("Wait"),
        "talk": mark("Talk"),
        "duration": mark("Duration"),
        "tags": mark("Tags"),
        "type": mark("Type"),
        "trunk": mark("Trunk"),
        "did": mark("DID number"),
        "recording": mark("Recording"),
        "legs": mark("Legs"),
        "pbx": mark("PBX"),
    }
)
"""Columns besides time, parties and status."""

COLUMNS_DEFAULT = ("answered_by", "wait", "talk", "pbx")

SORTABLE = ("started_at", "status", "type", "wait_duration", "talk_duration", "call_duration")
"""Sort keys; a `-` in front reverses the order. By default the latest calls come first."""

FORM_FILTERS = frozenset(
    {"since", "until", "pbx", "number", "call_from", "call_to", "status", "type", "trunk", "did_number"}
    | {"min_talk_duration", "max_talk_duration", "extra", "tag", "note", "q"}
)
"""Filters with a field of their own in the form; others appear in it when they are set."""

FIRST_ROW_FILTERS = frozenset({"q", "since", "until", "status"})
"""Filters in the first row of the form; the others can be folded."""

TAGS_MAX_AGE_SECONDS = 60.0

OFFSET_DIGITS_MAX = 15
"""Of the position in a sorted list: more rows than a store can have."""

"""A new tag may be missing from the list of choices for this long; it can be typed all the same."""

ALL_FILTERS = (*FILTER_NAMES, *CALL_FILTER_NAMES, "tag", "note", "q")

NAME_SEARCH_PERIOD = timedelta(days=31)
"""Without a start time a name is searched in a month: it may be part of any text of any leg."""

EARLIEST_DATE = "1990-01-01"
"""Without calls."""

Columns = Annotated[str, QueryParameter(description="Columns, separated by commas", max_length=TEXT_CHARACTERS_MAX)]
Sort = Annotated[str, QueryParameter(description="Sort key, `-` in front reverses it", max_length=TEXT_CHARACTERS_MAX)]


class CallsView(View, frozen=True, kw_only=True):
    """Values of the page: matching calls, their totals, and the form of the search."""

    template: ClassVar = "calls.html"
    page: CallPage
    totals: Totals
    by_pbx: Sequence[Mapping[str, Any]]
    is_today: bool
    filter_texts: Mapping[str, str]
    is_filtered: bool
    has_more_filters: bool
    more_filters: Sequence[str]
    unlimited_url: str
    search_meaning: str
    limit_param: str
    is_newest: bool
    position: int
    pbxs: Sequence[Pbx]
    saved_searches: Sequence[SavedSearch]
    current_path: str
    columns: Sequence[str]
    columns_default: Sequence[str] = COLUMNS_DEFAULT
    tags_by_call: Mapping[tuple[str, str], Sequence[str]]
    known_tags: Sequence[str]
    columns_param: str
    all_columns: Mapping[str, str]
    column_toggles: Mapping[str, str]
    sort: str
    sort_links: Mapping[str, str]
    date_range: DateRange
    errors: Mapping[str, str] = {}


@get("/calls", opt=SCOPED, include_in_schema=False)
async def calls_page(  # noqa: PLR0917 - the parameters of the URL
    request: AnyRequest,
    app_state: AppStateDep,
    search_filter: SearchFilterDep,
    reader_zone: ReaderZone,
    limit: Limit = PAGE_DEFAULT,
    cursor: Cursor = "",
    columns: Columns = "",
    sort: Sort = "",
) -> Response[str]:
    """Return the page of matching calls, one line each, with their totals. A sorted list is paged by row numbers."""
    now = app_state.clock.now()
    filter_texts = {name: request.query_params.get(name, "") for name in ALL_FILTERS}
    is_name_search = _is_name_search(search_filter)
    if is_name_search:
        filter_texts["since"] = f"{now.astimezone(reader_zone) - NAME_SEARCH_PERIOD:%Y-%m-%d}"
        search_filter = msgspec.structs.replace(
            search_filter, since=parse_time(filter_texts["since"], reader_zone, now)
        )
    # Read before the calls: a call in between is sent twice rather than never.
    position = await app_state.store.position()
    call_page = await _load_page(app_state, position, search_filter, limit, cursor, sort)
    is_today = search_filter.since is None and search_filter.until is None and search_filter.call_filter is None
    today = parse_time("today", reader_zone, now)
    totals_filter = msgspec.structs.replace(search_filter, since=today) if is_today else search_filter
    by_pbx = await app_state.coalescer.get(
        (position, "summary", totals_filter, reader_zone.key),
        lambda: app_state.store.summary(totals_filter, "pbx", reader_zone.key),
    )
    zone_param = request.query_params.get("zone", "")
    selected_columns = parse_columns(columns) or await _remembered_columns(request, app_state)
    current_query: dict[str, str] = {
        **filter_texts,
        "zone": zone_param,
        "columns": columns,
        "limit": str(limit) if limit != PAGE_DEFAULT else "",
    }
    return await render_page(
        request,
        app_state,
        reader_zone,
        CallsView(
            page=await name_calls(app_state, call_page),
            totals=add_up(by_pbx),
            by_pbx=by_pbx,
            is_today=is_today,
            filter_texts=filter_texts,
            is_filtered=any(filter_texts.values()),
            has_more_filters=any(value for name, value in filter_texts.items() if name not in FIRST_ROW_FILTERS),
            more_filters=[name for name in ALL_FILTERS if name not in FORM_FILTERS],
            unlimited_url=url("/calls", **{**current_query, "since": EARLIEST_DATE}) if is_name_search else "",
            search_meaning=_describe_search_text(filter_texts["q"], search_filter),
            limit_param=current_query["limit"],
            is_newest=not cursor and not sort,
            position=position,
            pbxs=await list_visible_pbxs(app_state, search_filter.scope),
            saved_searches=await list_visible_searches(request, app_state),
            current_path=url("/calls", **{**current_query, "sort": sort, "limit": ""}),
            columns=selected_columns,
            tags_by_call=await _load_tags_of_calls(app_state, call_page) if "tags" in selected_columns else {},
            known_tags=await load_tags(app_state) if search_filter.scope is None else [],
            columns_param=columns,
            all_columns=COLUMNS,
            column_toggles={name: _toggle_column(selected_columns, name) for name in COLUMNS},
            sort=sort,
            date_range=create_date_range("/calls", {**current_query, "sort": sort}, reader_zone, now, offers_all=True),
            sort_links={name: url("/calls", **{**current_query, "sort": _next_sort(sort, name)}) for name in SORTABLE},
        ),
    )


async def list_visible_pbxs(app_state: AppState, scope: AccessScope | None) -> list[Pbx]:
    """Return the PBXs that the reader may filter by."""
    return [pbx for pbx in await app_state.appdb.pbxs() if scope is None or scope.allows_pbx(pbx.sn)]


async def list_visible_searches(request: AnyRequest, app_state: AppState) -> list[SavedSearch]:
    """Return the saved searches that the user sees."""
    principal = get_principal(request.scope)
    return await app_state.appdb.saved_searches.visible(principal.name, principal.scope) if principal else []


async def load_tags(app_state: AppState) -> list[str]:
    """Return the tags to choose from; cached, because all notes are read for them."""
    return await app_state.coalescer.get("tags", app_state.appdb.notes.tags, TAGS_MAX_AGE_SECONDS)


async def _load_tags_of_calls(app_state: AppState, page: CallPage) -> Mapping[tuple[str, str], Sequence[str]]:
    keys = [(call.sn, call.call_id) for call in page.data]
    tags_by_call = await app_state.appdb.notes.tags_by_call(keys)
    masking = app_state.masking
    if masking is None:
        return tags_by_call
    originals = await app_state.unmasked_store.calls_by_keys([key for key in keys if key in tags_by_call])
    return {
        key: [masking.mask_note(tag, call) for tag in tags_by_call[key]]
        for call in originals
        if (key := (call.sn, call.call_id)) in tags_by_call
    }


async def _load_page(  # noqa: PLR0917 - independent values
    app_state: AppState, position: int, search_filter: RecordFilter, limit: int, cursor: str, sort: str
) -> CallPage:
    if not sort:
        return await app_state.coalescer.get(
            (position, "calls", search_filter, limit, cursor),
            lambda: app_state.store.calls(search_filter, limit, cursor or None),
        )
    offset = int(cursor[:OFFSET_DIGITS_MAX]) if cursor.isdecimal() else 0
    listing = CallListing(
        filter=search_filter, order_by=sort.removeprefix("-"), is_descending=sort.startswith("-"), offset=offset,
        limit=min(limit, LISTING_ROWS_MAX),
    )  # fmt: skip
    result = await app_state.store.list_calls(listing)
    end = offset + len(result.data)
    return CallPage(result.data, str(end) if end < result.total else None)


def _is_name_search(search_filter: RecordFilter) -> bool:
    """Return whether a name is searched without a period."""
    return (
        search_filter.call_filter is not None and bool(search_filter.call_filter.name) and search_filter.since is None
    )


def _next_sort(sort: str, name: str) -> str:
    """Return the sort key after a click on a column: descending, then ascending, then the default."""
    return {"-" + name: name, name: ""}.get(sort, "-" + name)


async def _remembered_columns(request: AnyRequest, app_state: AppState) -> tuple[str, ...]:
    """Return the columns that the reader has chosen; columns of another version are left out."""
    names = (await load_reader_settings(request, app_state)).call_columns.split(",")
    return tuple(name for name in names if name in COLUMNS) or COLUMNS_DEFAULT


def parse_columns(columns: str) -> tuple[str, ...]:
    """Return the names of columns, none for an empty text. Raises `UsageError`."""
    names = tuple(name.strip() for name in columns.split(",") if name.strip())
    for name in names:
        if name not in COLUMNS:
            raise UsageError(
                _("there is no column {name}", name=repr(name[:40])),
                location="columns",
                hint=_("use some of {columns}", columns=", ".join(COLUMNS)),
            )
    return names


def _toggle_column(selected_columns: tuple[str, ...], name: str) -> str:
    """Return the columns with this one, or without it; one is always left, because none means the default ones."""
    remaining_columns = [column for column in COLUMNS if column in selected_columns and column != name]
    return ",".join(
        [column for column in COLUMNS if column in {*selected_columns, name}]
        if name not in selected_columns
        else remaining_columns or [name]
    )


def _describe_search_text(text: str, search_filter: RecordFilter) -> str:
    """Return how the free text was understood."""
    if not text:
        return ""
    if search_filter.call_filter is not None and search_filter.call_filter.numbers:
        return _("the number {numbers}", numbers=" or ".join(search_filter.call_filter.numbers))
    if search_filter.call_filter is not None and search_filter.call_filter.name:
        return _("{name} in a name or number", name=repr(search_filter.call_filter.name))
    return _("the call {call_id}", call_id=search_filter.call_id)
