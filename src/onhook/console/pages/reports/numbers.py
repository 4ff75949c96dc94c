"""The most frequent numbers, and trunks: an inside number and a trunk are those of one PBX, whatever others have the
same; a number outside is the same one for all PBXs.

Invariant: a number that is inside one PBX has a row for each PBX, also where it comes from outside there, so that a row
has exactly the calls that its filters find.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from onhook.cdr.number_masking import WITHHELD_WORDS, is_masked
from onhook.cdr.number_plan import NumberPlan
from onhook.console.pages.reports.report import ReportQuery

ROWS_MAX = 100_000
"""Of a summary; more are not read for a few most frequent ones."""

GROWTH = 4
"""How many times as many rows are read where those so far do not decide which numbers are the most frequent."""

Row = dict[str, Any]


class PartyRow(msgspec.Struct, frozen=True):
    """The counts of a number or trunk; of one PBX where `pbx` is not empty."""

    name: str
    pbx: str
    counts: Row


async def list_top_numbers(query: ReportQuery, by: str, top: int) -> list[PartyRow]:
    """Return the numbers of a dimension with the most calls, the most first, without the empty one."""
    size = 2 * top
    if len(await query.store.summary(query.search_filter, "pbx", query.zone.key)) <= 1:
        rows = await query.store.summary(query.search_filter, by, query.zone.key, size)
        return [PartyRow(row[by], "", row) for row in rows if row[by]][:top]
    while True:
        together = await query.store.summary(query.search_filter, by, query.zone.key, size)
        separate = await query.store.summary(query.search_filter, f"pbx,{by}", query.zone.key, size)
        joined = await asyncio.to_thread(_join, query, by, together, separate)
        # What was not read has no more calls than the last row that was.
        unread = max((int(rows[-1]["calls"]) for rows in (together, separate) if len(rows) == size), default=0)
        is_decided = len(joined) >= top and joined[top - 1].counts["calls"] >= unread
        if is_decided or not unread or size >= ROWS_MAX:
            return joined[:top]
        size = min(GROWTH * size, ROWS_MAX)


async def list_trunks(query: ReportQuery) -> list[PartyRow]:
    """Return the trunks with calls, those with the most first; by PBX where there are several PBXs."""
    rows = [row for row in await query.store.summary(query.search_filter, "pbx,trunk", query.zone.key) if row["trunk"]]
    has_several = len({row["pbx"] for row in rows}) > 1
    rows.sort(key=lambda row: -int(row["calls"]))
    return [PartyRow(row["trunk"], row["pbx"] if has_several else "", row) for row in rows]


def _join(query: ReportQuery, by: str, together: Sequence[Row], separate: Sequence[Row]) -> list[PartyRow]:
    """Return the rows of numbers outside for all PBXs, and those of inside ones for each."""
    plans = set(query.number_plans.values()) or {NumberPlan()}
    numbers = {row[by] for rows in (together, separate) for row in rows if row[by]}
    inside = {number for number in numbers if _is_inside(plans, number)}
    joined = [PartyRow(row[by], "", row) for row in together if row[by] and row[by] not in inside]
    joined += [PartyRow(row[by], row["pbx"], row) for row in separate if row[by] in inside]
    joined.sort(key=lambda row: (row.name, row.pbx))
    joined.sort(key=lambda row: row.counts["calls"], reverse=True)
    return joined


def _is_inside(plans: set[NumberPlan], number: str) -> bool:
    """Return whether one of the PBXs has a number inside; a masked or withheld one is outside."""
    if is_masked(number) or number.casefold() in WITHHELD_WORDS:
        return False
    return any(plan.kind_of(number) != "external" for plan in plans)
