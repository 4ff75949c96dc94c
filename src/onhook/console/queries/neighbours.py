"""The calls around a call: the one before and after it in time, and the latest of the same number."""

from collections.abc import Sequence
from datetime import timedelta

import msgspec

from onhook.cdr.access_scope import AccessScope
from onhook.cdr.call_details import fold_word
from onhook.cdr.identity import extract_number
from onhook.cdr.record import Call
from onhook.cdr.record_filter import RecordFilter
from onhook.console.state import AppState

NEIGHBOUR_PERIOD = timedelta(days=31)
"""A call before or after a longer pause is found in the list."""

SAME_SECOND_MAX = 50
"""Calls that begin in one second; beyond them there is no link."""

RELATED_MAX = 10
"""The rest is one click away."""


class Neighbours(msgspec.Struct, frozen=True, kw_only=True):
    """Calls around a call: `number` is the one that the related ones have on a side; empty where there is none."""

    previous: Call | None
    next: Call | None
    number: str
    related: Sequence[Call]


async def find_neighbours(app_state: AppState, call: Call, scope: AccessScope | None) -> Neighbours:
    """Return the calls around a call, as the reader may see them."""
    after = RecordFilter(since=call.started_at, until=call.started_at + NEIGHBOUR_PERIOD, scope=scope)
    before = RecordFilter(
        since=call.started_at - NEIGHBOUR_PERIOD, until=call.started_at + timedelta(seconds=1), scope=scope
    )
    number = _related_number(call)
    related: list[Call] = []
    if number:
        page = await app_state.store.ordered_calls(
            RecordFilter(number=number, scope=scope), "-started_at", RELATED_MAX + 1
        )
        related = [other for other in page.data if _key(other) != _key(call)][:RELATED_MAX]
    return Neighbours(
        previous=await _find_beside(app_state, call, before, "-started_at"),
        next=await _find_beside(app_state, call, after, "started_at"),
        number=number,
        related=related,
    )


async def _find_beside(app_state: AppState, call: Call, record_filter: RecordFilter, order: str) -> Call | None:
    page = await app_state.store.ordered_calls(record_filter, order, SAME_SECOND_MAX)
    keys = [_key(other) for other in page.data]
    place = keys.index(_key(call)) + 1 if _key(call) in keys else len(keys)
    return page.data[place] if place < len(page.data) else None


def _key(call: Call) -> tuple[str, str]:
    return call.sn, call.call_id


def _related_number(call: Call) -> str:
    """Return the number of the side that the office wants to know of: the called one of an outgoing call."""
    party = call.call_to if fold_word(call.type) == "OUTBOUND" else call.call_from
    number = extract_number(party)
    return number if any(character.isdigit() for character in number) else ""
