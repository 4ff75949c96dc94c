"""`/calls`: the search. All filters and a free text, columns as one likes, the latest or the longest first.

Live while it shows the newest. The whole search is its address, so that it can be shared by a link.
"""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Annotated

import msgspec
from litestar import Response, get
from litestar.params import QueryParameter

from onhook.cdr.call_filter import ASPECT_NAMES
from onhook.cdr.record_filter import FILTER_NAMES, TEXT_CHARACTERS_MAX, Filter, parse_moment
from onhook.console.auth.access import LIMITED
from onhook.console.pages.formatting import url
from onhook.console.pages.page import AnyRequest, page
from onhook.console.pages.totals import add_up
from onhook.console.parameters import PAGE_DEFAULT, CallsWhere, Cursor, Limit, ReaderZone
from onhook.console.state import Handed, Rooms
from onhook.lib.errors import UsageError
from onhook.store.contract import LISTED_MAX, CallListing, CallPage

COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        "by": "Answered by",
        "wait": "Wait",
        "talk": "Talk",
        "whole": "In all",
        "tags": "Tags",
        "type": "Type",
        "trunk": "Trunk",
        "did": "DID number",
        "recording": "Recording",
        "legs": "Legs",
        "pbx": "PBX",
    }
)
"""What may be shown besides time, sides and outcome."""

COLUMNS_DEFAULT = ("by", "wait", "talk", "pbx")

SORTABLE = ("started_at", "status", "type", "wait_duration", "talk_duration", "call_duration")
"""What calls can be sorted by; a `-` in front turns it round. Unsorted, the latest come first."""

FORM_FILTERS = frozenset(
    {"since", "until", "pbx", "number", "call_from", "call_to", "status", "type", "trunk", "did_number"}
    | {"min_talk_duration", "max_talk_duration", "tag", "note", "q"}
)
"""Those with a field of their own in the form; others appear in it when they are set."""

ALWAYS_SHOWN = frozenset({"q", "since", "status"})
"""Filters that stand in the first row of the form; the others fold away."""

TAGS_FRESH_SECONDS = 60.0
"""So long a new tag may be missing from those to choose from; it can be written all the same."""

ALL_FILTERS = (*FILTER_NAMES, *ASPECT_NAMES, "tag", "note", "q")

NAMED_RECENTLY = timedelta(days=31)
"""Where nobody says when, a name is looked for in a month: it may be part of any text of any leg."""

EVER = "1990-01-01"
"""Before any call."""

Columns = Annotated[str, QueryParameter(description="Columns, joined by commas", max_length=TEXT_CHARACTERS_MAX)]
Sort = Annotated[
    str, QueryParameter(description="By what, `-` in front turns it round", max_length=TEXT_CHARACTERS_MAX)
]


@get("/calls", opt=LIMITED, include_in_schema=False)
async def calls_page(  # noqa: PLR0917 - what the address may say
    request: AnyRequest,
    rooms: Handed,
    calls_where: CallsWhere,
    reader_zone: ReaderZone,
    limit: Limit = PAGE_DEFAULT,
    cursor: Cursor = "",
    columns: Columns = "",
    sort: Sort = "",
) -> Response[str]:
    """Calls that match, one line each, with their totals. A sorted list is paged by numbers of rows."""
    now = rooms.clock.now()
    asked = {name: request.query_params.get(name, "") for name in ALL_FILTERS}
    is_recent = _is_about_a_name(calls_where)
    if is_recent:
        asked["since"] = f"{now.astimezone(reader_zone) - NAMED_RECENTLY:%Y-%m-%d}"
        calls_where = msgspec.structs.replace(calls_where, since=parse_moment(asked["since"], reader_zone, now))
    # Asked before the page is read: what comes in between is told twice rather than never.
    position = await rooms.store.position()
    shown = await _shown(rooms, position, calls_where, limit, cursor, sort)
    is_today = calls_where.since is None and calls_where.until is None and calls_where.aspects is None
    counted = calls_where
    if is_today:
        counted = msgspec.structs.replace(calls_where, since=parse_moment("today", reader_zone, now))
    by_pbx = await rooms.shared.ask(
        (position, "summary", counted, reader_zone.key), lambda: rooms.store.summary(counted, "pbx", reader_zone.key)
    )
    zone_asked = request.query_params.get("zone", "")
    chosen = _chosen(columns)
    here = {**asked, "zone": zone_asked, "columns": columns, "limit": limit if limit != PAGE_DEFAULT else ""}
    return page(
        request,
        rooms,
        reader_zone,
        "calls.html",
        page=shown,
        totals=add_up(by_pbx),
        by_pbx=by_pbx,
        is_today=is_today,
        asked=asked,
        is_filtered=any(asked.values()),
        is_narrow=any(value for name, value in asked.items() if name not in ALWAYS_SHOWN),
        more_filters=[name for name in ALL_FILTERS if name not in FORM_FILTERS],
        all_the_time=url("/calls", **{**here, "since": EVER}) if is_recent else "",
        meant=_meant(asked["q"], calls_where),
        limit_asked=here["limit"],
        is_newest=not cursor and not sort,
        position=position,
        pbxs=[
            one for one in rooms.settings.pbxs() if calls_where.within is None or calls_where.within.is_of_pbx(one.sn)
        ],
        searches=rooms.settings.searches.all(),
        path_here=url("/calls", **{**here, "sort": sort, "limit": ""}),
        columns=chosen,
        tags_of=rooms.settings.notes.tags_of((one.sn, one.call_id) for one in shown.data) if "tags" in chosen else {},
        known_tags=await _known_tags(rooms) if calls_where.within is None else [],
        columns_asked=columns,
        all_columns=COLUMNS,
        toggled={name: _toggled(chosen, name) for name in COLUMNS},
        sort=sort,
        sort_links={name: url("/calls", **{**here, "sort": _turned(sort, name)}) for name in SORTABLE},
    )


async def _known_tags(rooms: Rooms) -> list[str]:
    """To choose from; a new one is seen a little late, because all notes are looked through for them."""
    return await rooms.shared.ask("tags", lambda: asyncio.to_thread(rooms.settings.notes.tags), TAGS_FRESH_SECONDS)


async def _shown(  # noqa: PLR0917 - each is another thing
    rooms: Rooms, position: int, where: Filter, limit: int, cursor: str, sort: str
) -> CallPage:
    if not sort:
        return await rooms.shared.ask(
            (position, "calls", where, limit, cursor), lambda: rooms.store.calls(where, limit, cursor or None)
        )
    offset = int(cursor) if cursor.isdigit() else 0
    asked = CallListing(
        where=where, order_by=sort.removeprefix("-"), is_descending=sort.startswith("-"), offset=offset,
        limit=min(limit, LISTED_MAX),
    )  # fmt: skip
    listed = await rooms.store.listed_calls(asked)
    end = offset + len(listed.data)
    return CallPage(listed.data, str(end) if end < listed.total else None)


def _is_about_a_name(where: Filter) -> bool:
    """Whether a name is looked for, at no time in particular."""
    return where.aspects is not None and bool(where.aspects.name) and where.since is None


def _turned(sort: str, name: str) -> str:
    """What a click on a head asks for: the longest first, then the shortest, then as usual."""
    return {"-" + name: name, name: ""}.get(sort, "-" + name)


def _chosen(columns: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in columns.split(",") if name.strip()) or COLUMNS_DEFAULT
    for name in names:
        if name not in COLUMNS:
            raise UsageError(
                f"there is no column {name[:40]!r}", where="columns", todo=f"use some of {', '.join(COLUMNS)}"
            )
    return names


def _toggled(chosen: tuple[str, ...], name: str) -> str:
    """The columns with this one, or without it; at least one is left, because none means the usual ones."""
    others = [one for one in COLUMNS if one in chosen and one != name]
    return ",".join([one for one in COLUMNS if one in {*chosen, name}] if name not in chosen else others or [name])


def _meant(text: str, where: Filter) -> str:
    """What the free text was taken for, said to the person who wrote it."""
    if not text:
        return ""
    if where.aspects is not None and where.aspects.numbers:
        return f"the number {' or '.join(where.aspects.numbers)}"
    if where.aspects is not None and where.aspects.name:
        return f"{where.aspects.name!r} in a name or number"
    return f"the call {where.call_id}"
