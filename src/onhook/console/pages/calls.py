"""`/calls`: the search, with all filters, free text, selectable columns, and sorting.

Live while it shows the newest calls. The whole search is in the URL, so that it can be shared as a link.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Annotated, Any, ClassVar
from zoneinfo import ZoneInfo

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
from onhook.console.pages.filter_chips import FilterChip, list_chips
from onhook.console.pages.formatting import url
from onhook.console.pages.page import render_page
from onhook.console.pages.rendering import View
from onhook.console.pages.totals import Totals, add_up
from onhook.console.parameters import PAGE_DEFAULT, Cursor, Limit, ReaderZone, RowOffset, SearchFilterDep, Sort
from onhook.console.queries.directory import load_names, name_calls
from onhook.console.reader import load_reader_settings
from onhook.console.state import AnyRequest, AppState, AppStateDep
from onhook.lib.errors import UsageError
from onhook.lib.messages import _, mark
from onhook.store.contract import CALL_ORDERS, LATEST_FIRST, CallPage, OrderedCallPage

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

FORM_FILTERS = frozenset(
    {"since", "until", "pbx", "number", "call_from", "call_to", "status", "type", "trunk", "did_number"}
    | {"answered_by"}
    | {"min_talk_duration", "max_talk_duration", "extra", "tag", "note", "q"}
)
"""Filters with a field of their own in the form; others appear in it when they are set."""

FIRST_ROW_FILTERS = frozenset({"q", "since", "until", "status"})
"""Filters in the first row of the form; the others can be folded."""

TAGS_MAX_AGE_SECONDS = 60.0
"""A new tag may be missing from the list of choices for this long; it can be typed all the same."""

TOTAL_MAX_AGE_SECONDS = 5.0
"""The number of all calls grows by some while it is shown."""

ALL_FILTERS = (*FILTER_NAMES, *CALL_FILTER_NAMES, "tag", "note", "q")

NAME_SEARCH_PERIOD = timedelta(days=31)
"""Without a start time a name is searched in a month: it may be part of any text of any leg."""

EARLIEST_DATE = "1990-01-01"
"""Without calls."""

Columns = Annotated[str, QueryParameter(description="Columns, separated by commas", max_length=TEXT_CHARACTERS_MAX)]
CountQuery = Annotated[
    str, QueryParameter(name="count", description="`yes` counts the calls of all times", max_length=3)
]


class PageLinks(msgspec.Struct, frozen=True, kw_only=True):
    """The place of a page in the list, and the pages beside it; empty URLs lead nowhere. Rows count from 1. `total` and
    `page_count` are None where counting would cost a search of all times; `count_url` does it.
    """

    total: int | None
    first_row: int
    last_row: int
    page_number: int
    page_count: int | None
    count_url: str
    first_url: str
    previous_url: str
    next_url: str


class CallsView(View, frozen=True, kw_only=True):
    """Values of the page: matching calls, their totals, and the form of the search."""

    template: ClassVar = "calls.html"
    page: OrderedCallPage
    links: PageLinks
    chips: Sequence[FilterChip]
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
    row: RowOffset = 0,
    with_count: CountQuery = "",
) -> Response[str]:
    """Return the page of matching calls, one line each, with their totals. `row` is the number of rows before it."""
    now = app_state.clock.now()
    filter_texts = {name: request.query_params.get(name, "") for name in ALL_FILTERS}
    if is_name_search := _is_name_search(search_filter):
        filter_texts["since"] = f"{now.astimezone(reader_zone) - NAME_SEARCH_PERIOD:%Y-%m-%d}"
        begin = parse_time(filter_texts["since"], reader_zone, now)
        search_filter = msgspec.structs.replace(search_filter, since=begin)
    # Read before the calls: a call in between is sent twice rather than never.
    position = await app_state.store.position()
    call_page = await _load_page(app_state, position, search_filter, limit, cursor, sort)
    is_today = search_filter.since is None and search_filter.until is None and search_filter.call_filter is None
    totals_filter = _since_today(search_filter, reader_zone, now) if is_today else search_filter
    by_pbx = await app_state.coalescer.get(
        (position, "summary", totals_filter, reader_zone.key),
        lambda: app_state.store.summary(totals_filter, "pbx", reader_zone.key),
    )
    total: int | None = add_up(by_pbx).calls
    if is_today:
        total = await _count_calls(app_state, search_filter, reader_zone, is_asked=bool(with_count))
    zone_param = request.query_params.get("zone", "")
    selected_columns = parse_columns(columns) or await _remembered_columns(request, app_state)
    limit_param = str(limit) if limit != PAGE_DEFAULT else ""
    current_query = {**filter_texts, "zone": zone_param, "columns": columns, "limit": limit_param}
    sorted_query = {**current_query, "sort": sort}
    return await render_page(
        request,
        app_state,
        reader_zone,
        CallsView(
            page=await name_calls(app_state, call_page),
            links=_link_pages(sorted_query, call_page, limit, row, total),
            chips=list_chips("/calls", sorted_query, await load_names(app_state), search_filter.scope),
            totals=add_up(by_pbx),
            by_pbx=by_pbx,
            is_today=is_today,
            filter_texts=filter_texts,
            is_filtered=any(filter_texts.values()),
            has_more_filters=any(value for name, value in filter_texts.items() if name not in FIRST_ROW_FILTERS),
            more_filters=[name for name in ALL_FILTERS if name not in FORM_FILTERS],
            unlimited_url=url("/calls", **{**current_query, "since": EARLIEST_DATE}) if is_name_search else "",
            search_meaning=_describe_search_text(filter_texts["q"], search_filter),
            limit_param=limit_param,
            is_newest=not cursor and not sort,
            position=position,
            pbxs=await list_visible_pbxs(app_state, search_filter.scope),
            saved_searches=await list_visible_searches(request, app_state),
            current_path=url("/calls", **{**sorted_query, "limit": ""}),
            columns=selected_columns,
            tags_by_call=await _load_tags_of_calls(app_state, call_page) if "tags" in selected_columns else {},
            known_tags=await load_tags(app_state) if search_filter.scope is None else [],
            columns_param=columns,
            all_columns=COLUMNS,
            column_toggles={name: _toggle_column(selected_columns, name) for name in COLUMNS},
            sort=sort,
            date_range=create_date_range("/calls", sorted_query, reader_zone, now, offers_all=True),
            sort_links=_link_orders(current_query, sort),
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


def _since_today(search_filter: RecordFilter, zone: ZoneInfo, now: datetime) -> RecordFilter:
    return msgspec.structs.replace(search_filter, since=parse_time("today", zone, now))


async def _load_page(  # noqa: PLR0917 - independent values
    app_state: AppState, position: int, search_filter: RecordFilter, limit: int, cursor: str, sort: str
) -> OrderedCallPage:
    order = sort or LATEST_FIRST
    return await app_state.coalescer.get(
        (position, "calls", search_filter, order, limit, cursor),
        lambda: app_state.store.ordered_calls(search_filter, order, limit, cursor or None),
    )


def _is_counted_fast(search_filter: RecordFilter) -> bool:
    """Return whether the number of all matching calls is summed up already: that by PBX and type is."""
    scope = search_filter.scope
    names = {name for name in FILTER_NAMES if getattr(search_filter, name) is not None}
    return names <= {"pbx", "sn", "type"} and (scope is None or not scope.limits_numbers) and not search_filter.parties


async def _count_calls(
    app_state: AppState, search_filter: RecordFilter, zone: ZoneInfo, *, is_asked: bool
) -> int | None:
    """Return the number of matching calls of all times; None where it takes a search that was not asked for."""
    if not is_asked and not _is_counted_fast(search_filter):
        return None
    rows = await app_state.coalescer.get(
        ("total", search_filter, zone.key),
        lambda: app_state.store.summary(search_filter, "pbx", zone.key),
        TOTAL_MAX_AGE_SECONDS,
    )
    return add_up(rows).calls


def _link_pages(query: Mapping[str, str], page: OrderedCallPage, limit: int, row: int, total: int | None) -> PageLinks:
    """Return the place of a page. Its number follows from the rows before it, which calls that arrive push on."""
    before = 0 if page.previous is None else max(row, 1)
    last_row = before + len(page.data)
    if page.next is None:
        total = last_row
    elif total is not None:
        total = max(total, last_row + 1)
    page_count = None if total is None else max(1, -(-total // limit))
    page_number = -(-before // limit) + 1
    return PageLinks(
        total=total,
        first_row=min(before + 1, last_row),
        last_row=last_row,
        page_number=page_number if page_count is None else min(page_count, page_number),
        page_count=page_count,
        count_url="" if total is not None else url("/calls", **query, count="yes"),
        first_url=url("/calls", **query) if page.previous else "",
        previous_url=url("/calls", **query, cursor=page.previous, row=max(0, before - limit) or "")
        if page.previous
        else "",
        next_url=url("/calls", **query, cursor=page.next, row=last_row) if page.next else "",
    )


def _is_name_search(search_filter: RecordFilter) -> bool:
    """Return whether a name is searched without a period."""
    return (
        search_filter.call_filter is not None and bool(search_filter.call_filter.name) and search_filter.since is None
    )


def _link_orders(query: Mapping[str, str], sort: str) -> Mapping[str, str]:
    """Return the URL of a click on each column that sorts."""
    return {name: url("/calls", **{**query, "sort": _next_sort(sort, name)}) for name in CALL_ORDERS}


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
        numbers = search_filter.call_filter.numbers
        if len(numbers) == 1:
            return _("the number {number}", number=numbers[0])
        return _("one of the numbers {numbers}", numbers=", ".join(numbers))
    if search_filter.call_filter is not None and search_filter.call_filter.name:
        return _("{name} in a name or number", name=repr(search_filter.call_filter.name))
    return _("the call {call_id}", call_id=search_filter.call_id)
