"""`GET /api/v1/summary`: counts of calls, by time, outcome and party."""

from typing import Annotated, Any

import msgspec
from litestar import get
from litestar.params import QueryParameter

from onhook.cdr.party_groups import PARTY_GROUP_KINDS
from onhook.cdr.record_filter import TEXT_CHARACTERS_MAX
from onhook.console.auth.access import SCOPED
from onhook.console.parameters import ReaderZone, SearchFilterDep
from onhook.console.problem_documents import PROBLEMS
from onhook.console.queries.directory import load_groups
from onhook.console.state import AppStateDep
from onhook.store.contract import SUMMARY_DIMENSIONS

PBX_DIMENSIONS = frozenset({"answered_by", "made_by", "went_to", "trunk"})
"""Dimensions whose values are extensions, other inside numbers and trunks of one PBX."""

SummaryDimensions = Annotated[
    str,
    QueryParameter(
        description=f"Dimensions: {', '.join(SUMMARY_DIMENSIONS)}; several separated by a comma. Or, alone:"
        f" {', '.join(PARTY_GROUP_KINDS)}, of a number on either side of a leg",
        max_length=TEXT_CHARACTERS_MAX,
    ),
]


class SummaryTable(msgspec.Struct, frozen=True):
    """A row per value of the dimensions; `answered` + `missed` = `calls`; sums in seconds, null where they
    are unknown.
    """

    data: list[dict[str, Any]]


@get("/summary", opt=SCOPED, summary="Count calls", tags=["calls"], responses=PROBLEMS)
async def summarise(
    app_state: AppStateDep, search_filter: SearchFilterDep, reader_zone: ReaderZone, by: SummaryDimensions = "day"
) -> SummaryTable:
    """Count matching calls. Hours, days, weeks and months are those of `zone`, also on days of 23 and 25 hours. By
    extension, other inside number or trunk, each PBX has rows of its own, with its name in `pbx`. By department or site
    a call counts once in each that it belongs to, and without one under the empty name.
    """
    for kind in PARTY_GROUP_KINDS:
        if by.strip() == kind:
            labels = (await load_groups(app_state, search_filter.scope)).labels(kind)
            rows = await app_state.store.summary_by_group(search_filter, "party", labels)
            return SummaryTable([{kind: row.pop("group"), **row} for row in rows])
    return SummaryTable(await app_state.store.summary(search_filter, separate_pbxs(by or "day"), reader_zone.key))


def separate_pbxs(by: str) -> str:
    """Return the dimensions, with that of the PBX where one is an inside number or a trunk: 1001 is another person
    on each PBX.

    >>> separate_pbxs("day,answered_by"), separate_pbxs("pbx,made_by"), separate_pbxs("trunk"), separate_pbxs("day")
    ('day,answered_by,pbx', 'pbx,made_by', 'trunk,pbx', 'day')
    """
    names = [name.strip() for name in by.split(",")]
    return f"{by},pbx" if PBX_DIMENSIONS & {*names} and "pbx" not in names else by
