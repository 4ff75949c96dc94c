"""Filters of calls from texts, as a reader with a scope may use them."""

from collections.abc import Mapping
from zoneinfo import ZoneInfo

import msgspec

from onhook.cdr.access_scope import AccessScope
from onhook.cdr.party_groups import parse_group_filter, split_group_filters
from onhook.cdr.record_filter import FILTER_NAMES, RecordFilter, parse_filter
from onhook.console.masked_store import check_masked_tag
from onhook.console.queries.directory import find_name_parties
from onhook.console.queries.group_filters import apply_group_filters
from onhook.console.search import apply_search
from onhook.console.state import AppState


async def make_record_filter(
    app_state: AppState, scope: AccessScope | None, texts: Mapping[str, str], zone: ZoneInfo
) -> RecordFilter:
    """Return the filter on records of these texts, limited to a scope. Raises `UsageError`."""
    plain_texts, group_filters = split_group_filters({name: texts.get(name, "") for name in FILTER_NAMES})
    # The scope of the user applies to every filter.
    result = msgspec.structs.replace(parse_filter(plain_texts, zone, app_state.clock.now()), scope=scope)
    return await apply_group_filters(app_state, scope, result, group_filters)


async def make_search_filter(
    app_state: AppState, record_filter: RecordFilter, texts: Mapping[str, str], zone: ZoneInfo
) -> RecordFilter:
    """Return a filter with the conditions of these texts on whole calls. Raises `UsageError`."""
    tag, q = texts.get("tag", ""), texts.get("q", "")
    if app_state.masking is not None:
        check_masked_tag(tag, app_state.masking)
    plain_texts, group_filters = split_group_filters(texts)
    if (group := parse_group_filter(q)) is not None:
        plain_texts, group_filters = plain_texts | {"q": ""}, {**group_filters, "number": group}
    result = await apply_search(app_state.appdb, record_filter, plain_texts, zone)
    result = await apply_group_filters(app_state, record_filter.scope, result, group_filters)
    if result.call_filter is None or not result.call_filter.name:
        return result
    name_parties = await find_name_parties(app_state, record_filter.scope, result.call_filter.name)
    call_filter = msgspec.structs.replace(result.call_filter, name_parties=name_parties)
    return msgspec.structs.replace(result, call_filter=call_filter)
