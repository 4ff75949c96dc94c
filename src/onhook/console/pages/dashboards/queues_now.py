"""Queues now: who waits and talks, of PBXs that report it; of the others, the calls that ended in the last minutes.

Invariants: a reader sees the queues in scope alone. A count of ended calls is that of the visits of exactly those calls
to which its queue links.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from onhook.appdb.pbxs import Pbx
from onhook.cdr.access_scope import AccessScope
from onhook.cdr.call_filter import CallFilter
from onhook.cdr.queue_figures import QueueCount
from onhook.cdr.queue_states import QueueState, is_queue_visible
from onhook.console.pages.reports.queues import count_visits, total_figures
from onhook.console.pages.reports.report import Cell, Column, ReportQuery
from onhook.console.state import AppState
from onhook.lib.messages import _, mark

ENDED_MINUTES = 15
"""A quarter of an hour: the interval by which call centres are staffed."""

CALL_HOURS_MAX = 12
"""Length of a call in a queue: calls that began earlier are not read."""

REFRESH_SECONDS = 5
"""Interval at which this tile alone is loaded again: a caller enters a queue without an event in the store."""

PBXS_NAMED_MAX = 5
"""In the sentence about ended calls."""

_SHARED_SECONDS = 5
"""The period of ended calls begins at a multiple of this, so that equal requests share what is counted."""

_PBX_COLUMN = Column(mark("PBX"), "text")
_LIVE_COLUMNS = (Column(mark("Waiting")), Column(mark("Longest wait"), "seconds"), Column(mark("Talking")))
_ENDED_COLUMNS = (
    *(Column(mark("Offered")), Column(mark("Answered")), Column(mark("Abandoned"))),
    *(Column(mark("Longest wait"), "seconds"), Column(mark("ASA"), "seconds")),
)


class QueueTable(msgspec.Struct, frozen=True, kw_only=True):
    """Queues, a row each."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]


class QueuesNow(msgspec.Struct, frozen=True, kw_only=True):
    """`live` has the queues of PBXs that report who waits, `ended` those of the others; None where there is no such
    PBX. `note` says what the second one is.
    """

    live: QueueTable | None = None
    ended: QueueTable | None = None
    note: str = ""

    @property
    def has_rows(self) -> bool:
        """Return whether there is a queue."""
        return any(table is not None and table.rows for table in (self.live, self.ended))


async def load_queues_now(
    app_state: AppState, scope: AccessScope | None, query: ReportQuery, position: int
) -> QueuesNow:
    """Return the queues of the PBXs in scope that a dashboard shows; of its filters only the PBX counts for callers who
    wait or talk. `position` is that of the store.
    """
    pbxs = [pbx for pbx in await app_state.appdb.pbxs() if _is_shown(pbx, scope, query)]
    all_states = await app_state.read_live_queues()
    states = {pbx.sn: all_states[pbx.sn] for pbx in pbxs if pbx.sn in all_states}
    other_pbxs = [pbx for pbx in pbxs if pbx.sn not in states]
    has_several = len(pbxs) > 1
    ended = None
    if other_pbxs:
        ended_query = _in_last_minutes(query, app_state.clock.now())
        counts = await app_state.coalescer.get(
            (position, "queues-now", ended_query.search_filter), lambda: count_visits(ended_query, "queue")
        )
        other_sns = {pbx.sn for pbx in other_pbxs}
        ended = _ended_table(ended_query, [count for count in counts if count.sn in other_sns], has_pbx=has_several)
    return QueuesNow(
        live=_live_table(query, pbxs, states, has_pbx=has_several) if states else None,
        ended=ended,
        note=_describe_ended(other_pbxs) if other_pbxs else "",
    )


def _is_shown(pbx: Pbx, scope: AccessScope | None, query: ReportQuery) -> bool:
    search_filter = query.search_filter
    is_chosen = search_filter.pbx in (None, pbx.name) and search_filter.sn in (None, pbx.sn)
    return is_chosen and (scope is None or scope.allows_pbx(pbx.sn))


def _live_table(
    query: ReportQuery, pbxs: Iterable[Pbx], states_by_sn: Mapping[str, Sequence[QueueState]], *, has_pbx: bool
) -> QueueTable:
    scope = query.search_filter.scope
    return QueueTable(
        columns=[Column(mark("Queue"), "text"), *([_PBX_COLUMN] if has_pbx else []), *_LIVE_COLUMNS],
        rows=[
            (
                *(_name_queue(query, pbx, state), *([Cell(pbx.name)] if has_pbx else [])),
                *(Cell(state.waiting), Cell(state.longest_wait), Cell(state.talking)),
            )
            for pbx in pbxs
            for state in states_by_sn.get(pbx.sn, ())
            if is_queue_visible(pbx.sn, state, scope)
        ],
    )


def _name_queue(query: ReportQuery, pbx: Pbx, state: QueueState) -> Cell:
    """Return the number of a queue with its name in the directory, else with that on the PBX."""
    cell = query.number_cell(state.queue, pbx=pbx.name)
    return cell if cell.name or state.name == state.queue else Cell(state.queue, name=state.name)


def _in_last_minutes(query: ReportQuery, now: datetime) -> ReportQuery:
    """Return the query of the calls that ended in the last minutes."""
    ended_since = now - timedelta(minutes=ENDED_MINUTES, seconds=now.second % _SHARED_SECONDS)
    ended_since = ended_since.replace(microsecond=0)
    since = ended_since - timedelta(hours=CALL_HOURS_MAX)
    call_filter = msgspec.structs.replace(query.search_filter.call_filter or CallFilter(), ended_since=ended_since)
    return msgspec.structs.replace(
        query,
        since=since,
        search_filter=msgspec.structs.replace(query.search_filter, since=since, until=None, call_filter=call_filter),
    )


def _ended_table(query: ReportQuery, counts: Sequence[QueueCount], *, has_pbx: bool) -> QueueTable:
    by_queue: dict[tuple[str, str], list[QueueCount]] = {}
    for count in counts:
        by_queue.setdefault((count.pbx, count.queue), []).append(count)
    return QueueTable(
        columns=[Column(mark("Queue"), "text"), *([_PBX_COLUMN] if has_pbx else []), *_ENDED_COLUMNS],
        rows=[_ended_cells(query, *key, by_queue[key], has_pbx=has_pbx) for key in sorted(by_queue)],
    )


def _ended_cells(
    query: ReportQuery, pbx: str, queue: str, counts: Sequence[QueueCount], *, has_pbx: bool
) -> tuple[Cell, ...]:
    figures = total_figures(query, counts)
    call_filter = query.search_filter.call_filter
    assert call_filter is not None
    assert call_filter.ended_since is not None
    calls_url = query.calls_url(
        pbx=pbx,
        call_to=queue,
        since=query.since.astimezone(query.zone).isoformat(),
        until="",
        ended_since=call_filter.ended_since.astimezone(query.zone).isoformat(),
    )
    return (
        *(query.number_cell(queue, calls_url, pbx), *([Cell(pbx)] if has_pbx else [])),
        *(Cell(figures.offered, calls_url), Cell(figures.answered), Cell(figures.abandoned)),
        *(Cell(figures.wait_longest), Cell(figures.wait_average)),
    )


def _describe_ended(pbxs: Sequence[Pbx]) -> str:
    names = ", ".join(pbx.name for pbx in pbxs[:PBXS_NAMED_MAX])
    if (more := len(pbxs) - PBXS_NAMED_MAX) > 0:
        names = _("{names} and {count} more", names=names, count=more)
    return _(
        "{pbxs}: calls that ended in the last {minutes} minutes. Who waits there now is not reported.",
        pbxs=names,
        minutes=ENDED_MINUTES,
    )
