"""Registry of reports: a line for each kind, by its name in the URL."""

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType

import msgspec

from onhook.console.pages.reports.groups import agent_groups, extension_groups, pbx_groups, queue_groups
from onhook.console.pages.reports.missed import missed_calls
from onhook.console.pages.reports.over_time import busy_hours, concurrent_calls, quality, volume
from onhook.console.pages.reports.parties import extensions, outcomes, report_by, top_report, trunks
from onhook.console.pages.reports.queues import agents, group_report, step_report
from onhook.console.pages.reports.repeat_callers import repeat_callers
from onhook.console.pages.reports.report import Report, ReportQuery
from onhook.console.pages.reports.spread import TALK_EDGES, WAIT_EDGES, duration_report
from onhook.lib.messages import mark


class ReportKind(msgspec.Struct, frozen=True, kw_only=True):
    """Title of a report, its group, and its builder; `make_grouped` builds it by department or site. `has_steps`: it is
    along the time.
    """

    title: str
    group: str
    make: Callable[[ReportQuery], Awaitable[Report]]
    has_steps: bool = False
    make_grouped: Callable[[ReportQuery], Awaitable[Report]] | None = None

    async def build(self, query: ReportQuery) -> Report:
        """Return the report, by department or site where the query says so and the report can be."""
        make = self.make_grouped if query.group_by is not None and self.make_grouped is not None else self.make
        return await make(query)


_TIME, _CALLS, _QUEUES = mark("Over time"), mark("Outcomes"), mark("Queues")
_PARTIES, _LINES = mark("Parties"), mark("Lines")

KINDS: Mapping[str, ReportKind] = MappingProxyType(
    {
        "volume": ReportKind(title=mark("Volume"), group=_TIME, make=volume, has_steps=True),
        "week": ReportKind(title=mark("Busy hours"), group=_TIME, make=busy_hours),
        "concurrent": ReportKind(title=mark("Concurrent calls"), group=_TIME, make=concurrent_calls, has_steps=True),
        "quality": ReportKind(title=mark("ASR and ACD"), group=_TIME, make=quality, has_steps=True),
        "outcomes": ReportKind(title=mark("Outcomes"), group=_CALLS, make=outcomes),
        "unreturned": ReportKind(
            title=mark("Unreturned missed calls"), group=_CALLS, make=missed_calls(is_returned=False)
        ),
        "returned": ReportKind(title=mark("Returned missed calls"), group=_CALLS, make=missed_calls(is_returned=True)),
        "answer": ReportKind(
            title=mark("Time to answer"),
            group=_CALLS,
            make=duration_report("wait_duration", WAIT_EDGES, status="ANSWERED"),
        ),
        "wait": ReportKind(title=mark("Wait"), group=_CALLS, make=duration_report("wait_duration", WAIT_EDGES)),
        "ring": ReportKind(title=mark("Ring time"), group=_CALLS, make=duration_report("ring_duration", WAIT_EDGES)),
        "talk": ReportKind(
            title=mark("Talk time"), group=_CALLS, make=duration_report("talk_duration", TALK_EDGES, status="ANSWERED")
        ),
        "queues": ReportKind(
            title=mark("Queues"), group=_QUEUES, make=group_report("queue"), make_grouped=queue_groups("queue")
        ),
        "queue-hours": ReportKind(title=mark("Queues by hour"), group=_QUEUES, make=step_report("hour_of_day")),
        "queue-weekdays": ReportKind(title=mark("Queues by weekday"), group=_QUEUES, make=step_report("weekday")),
        "ring-groups": ReportKind(
            title=mark("Ring groups"),
            group=_QUEUES,
            make=group_report("ring_group"),
            make_grouped=queue_groups("ring_group"),
        ),
        "agents": ReportKind(title=mark("Agents"), group=_QUEUES, make=agents, make_grouped=agent_groups),
        "extensions": ReportKind(
            title=mark("Extensions"), group=_PARTIES, make=extensions, make_grouped=extension_groups
        ),
        "callers": ReportKind(
            title=mark("Top callers"), group=_PARTIES, make=top_report("call_from", "Caller", "caller")
        ),
        "repeat-callers": ReportKind(title=mark("Repeat callers"), group=_PARTIES, make=repeat_callers),
        "dialled": ReportKind(
            title=mark("Top numbers dialled"),
            group=_PARTIES,
            make=top_report("call_to", "Dialled", "dialled"),
        ),
        "trunks": ReportKind(title=mark("Trunks"), group=_LINES, make=trunks),
        "dids": ReportKind(title=mark("DID numbers"), group=_LINES, make=report_by("did_number", "DID", "by_did")),
        "pbxs": ReportKind(
            title=mark("PBXs"), group=_LINES, make=report_by("pbx", "PBX", "pbx"), make_grouped=pbx_groups
        ),
    }
)
