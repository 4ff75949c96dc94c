"""Registry of reports: a line for each kind, by its name in the URL."""

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType

import msgspec

from onhook.console.pages.reports.missed import missed_calls
from onhook.console.pages.reports.over_time import busy_hours, concurrent_calls, quality, volume
from onhook.console.pages.reports.parties import agents, extensions, outcomes, queues, report_by, trunks
from onhook.console.pages.reports.report import Report, ReportQuery
from onhook.console.pages.reports.spread import TALK_EDGES, WAIT_EDGES, duration_report


class ReportKind(msgspec.Struct, frozen=True, kw_only=True):
    """Title of a report, its group, and its builder. `has_steps`: it is along the time."""

    title: str
    group: str
    make: Callable[[ReportQuery], Awaitable[Report]]
    has_steps: bool = False


_TIME, _CALLS, _PARTIES, _LINES = "Over time", "Outcomes", "Parties", "Lines"

KINDS: Mapping[str, ReportKind] = MappingProxyType(
    {
        "volume": ReportKind(title="Volume", group=_TIME, make=volume, has_steps=True),
        "week": ReportKind(title="Busy hours", group=_TIME, make=busy_hours),
        "concurrent": ReportKind(title="Concurrent calls", group=_TIME, make=concurrent_calls, has_steps=True),
        "quality": ReportKind(title="ASR and ACD", group=_TIME, make=quality, has_steps=True),
        "outcomes": ReportKind(title="Outcomes", group=_CALLS, make=outcomes),
        "unreturned": ReportKind(title="Unreturned missed calls", group=_CALLS, make=missed_calls(is_returned=False)),
        "returned": ReportKind(title="Returned missed calls", group=_CALLS, make=missed_calls(is_returned=True)),
        "answer": ReportKind(
            title="Time to answer", group=_CALLS, make=duration_report("wait_duration", WAIT_EDGES, status="ANSWERED")
        ),
        "wait": ReportKind(title="Wait", group=_CALLS, make=duration_report("wait_duration", WAIT_EDGES)),
        "ring": ReportKind(title="Ring time", group=_CALLS, make=duration_report("ring_duration", WAIT_EDGES)),
        "talk": ReportKind(
            title="Talk time", group=_CALLS, make=duration_report("talk_duration", TALK_EDGES, status="ANSWERED")
        ),
        "extensions": ReportKind(title="Extensions", group=_PARTIES, make=extensions),
        "queues": ReportKind(title="Queues", group=_PARTIES, make=queues),
        "agents": ReportKind(title="Agents", group=_PARTIES, make=agents),
        "callers": ReportKind(
            title="Top callers", group=_PARTIES, make=report_by("call_from", "Caller", "caller", is_top=True)
        ),
        "dialled": ReportKind(
            title="Top numbers dialled", group=_PARTIES, make=report_by("call_to", "Dialled", "dialled", is_top=True)
        ),
        "trunks": ReportKind(title="Trunks", group=_LINES, make=trunks),
        "dids": ReportKind(title="DID numbers", group=_LINES, make=report_by("did_number", "DID", "by_did")),
        "pbxs": ReportKind(title="PBXs", group=_LINES, make=report_by("pbx", "PBX", "pbx")),
    }
)
