"""`GET /api/v1/summary`: calls counted, by time, by how they ended, by who was in them."""

from typing import Annotated, Any

import msgspec
from litestar import get
from litestar.params import QueryParameter

from onhook.cdr.record_filter import TEXT_CHARACTERS_MAX
from onhook.console.auth.access import LIMITED
from onhook.console.parameters import CallsWhere, ReaderZone
from onhook.console.problem_documents import PROBLEMS
from onhook.console.state import Handed
from onhook.store.contract import SUMMARY_BY

By = Annotated[
    str,
    QueryParameter(
        description=f"What to count by: {', '.join(SUMMARY_BY)}; several joined by a comma",
        max_length=TEXT_CHARACTERS_MAX,
    ),
]


class Summary(msgspec.Struct, frozen=True):
    """A row per value of what it is by; `answered` + `missed` = `calls`; sums in seconds, null where none was said."""

    data: list[dict[str, Any]]


@get("/summary", opt=LIMITED, summary="Calls that match, counted", tags=["calls"], responses=PROBLEMS)
async def summarise(rooms: Handed, calls_where: CallsWhere, reader_zone: ReaderZone, by: By = "day") -> Summary:
    """Hours, days, weeks and months are cut in `zone`, right on days of 23 and 25 hours."""
    return Summary(await rooms.store.summary(calls_where, by or "day", reader_zone.key))
