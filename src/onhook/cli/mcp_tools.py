"""The tools of `onhook mcp`: what an assistant may ask, and which route of the API answers it.

Invariant: every route is read by GET; no tool can change anything, whatever its arguments.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from onhook.lib.errors import UsageError
from onhook.lib.messages import _

VALUE_CHARACTERS_MAX = 4_000
"""Of an argument: a query in SQL is the longest."""

ROWS_MAX = 100
"""Of a list: an assistant reads all of them; more come with `cursor`."""


class ToolParameter(msgspec.Struct, frozen=True, kw_only=True):
    """A parameter of a tool, under its name in the API."""

    name: str
    description: str
    type: str = "string"
    is_required: bool = False


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """A tool: `path` is that of a route, with parameters in braces."""

    name: str
    description: str
    path: str
    parameters: Sequence[ToolParameter] = ()

    def describe(self) -> Mapping[str, Any]:
        """Return the description that the protocol has, with the JSON Schema of the arguments."""
        properties: dict[str, Any] = {}
        for parameter in self.parameters:
            properties[parameter.name] = {"type": parameter.type, "description": parameter.description}
            if parameter.name == "limit":
                properties[parameter.name] |= {"minimum": 1, "maximum": ROWS_MAX}
        return {
            "name": self.name,
            "description": self.description,
            "inputSchema": {
                "type": "object",
                "properties": properties,
                "required": [parameter.name for parameter in self.parameters if parameter.is_required],
                "additionalProperties": False,
            },
            "annotations": {"readOnlyHint": True, "openWorldHint": False},
        }

    def build_target(self, arguments: Mapping[str, Any]) -> str:
        """Return path and query of the request. Raises `UsageError` for an argument that cannot be used."""
        texts = {parameter.name: _parse_argument(parameter, arguments) for parameter in self.parameters}
        if unknown_names := sorted(set(arguments) - set(texts)):
            raise UsageError(
                _("there is no argument {name}", name=repr(unknown_names[0][:80])),
                hint=_("use one of {choices}", choices=", ".join(texts)) if texts else "",
            )
        in_path = set(re.findall(r"\{(\w+)\}", self.path))
        path = self.path.format_map({name: quote(texts[name], safe="") for name in in_path})
        query = {name: text for name, text in texts.items() if text and name not in in_path}
        return f"{path}?{urlencode(query)}" if query else path


def _parse_argument(parameter: ToolParameter, arguments: Mapping[str, Any]) -> str:
    """Return an argument as a text; empty where it is not given."""
    value = arguments.get(parameter.name)
    if value is None and not parameter.is_required:
        return ""
    is_number = isinstance(value, int) and not isinstance(value, bool)
    if value is None or not (is_number if parameter.type == "integer" else isinstance(value, str) and value):
        raise UsageError(
            _("the argument {name} is missing or not of type {type}", name=parameter.name, type=parameter.type)
        )
    if parameter.name == "limit" and not 1 <= int(value) <= ROWS_MAX:
        raise UsageError(_("the argument limit is not a number from 1 to {maximum}", maximum=ROWS_MAX))
    if len(str(value)) > VALUE_CHARACTERS_MAX:
        raise UsageError(_("the argument {name} is too long", name=parameter.name))
    return str(value)


_PERIOD = (
    ToolParameter(
        name="since",
        description=_("Started at or after: an ISO 8601 date or time, `today`, `yesterday`, or `12h`, `7d`, `2w` ago"),
    ),
    ToolParameter(name="until", description=_("Started before, written as `since`")),
    ToolParameter(name="zone", description=_("IANA time zone of days and times, such as Europe/Berlin")),
)
_FILTERS = (
    *_PERIOD,
    ToolParameter(name="pbx", description=_("Name of a PBX")),
    ToolParameter(name="number", description=_("Number or extension on either side")),
    ToolParameter(name="call_from", description=_("Number of the caller")),
    ToolParameter(name="call_to", description=_("Number that was called")),
    ToolParameter(
        name="status",
        description=_(
            "Outcome: answered, no_answer, busy, failed, voicemail; several by commas, `!answered` for missed"
        ),
    ),
    ToolParameter(name="type", description=_("inbound, outbound or internal")),
    ToolParameter(name="answered_by", description=_("Extension of the person who answered")),
    ToolParameter(name="q", description=_("Free text: a number in any notation, a call's id, or part of a name")),
)
_PAGE = (
    ToolParameter(name="limit", type="integer", description=_("Rows, at most {maximum}", maximum=ROWS_MAX)),
    ToolParameter(name="cursor", description=_("`next` of the page before")),
)

TOOLS: Sequence[Tool] = (
    Tool(
        name="search_calls",
        description=_(
            "List matching calls with all their legs, the latest first. Times are in UTC, durations in seconds."
        ),
        path="/api/v1/calls",
        parameters=(*_FILTERS, *_PAGE),
    ),
    Tool(
        name="read_call",
        description=_("Read one call: its legs, who answered, how long callers waited, notes."),
        path="/api/v1/calls/{sn}/{call_id}",
        parameters=(
            ToolParameter(name="sn", is_required=True, description=_("Serial number of the PBX, as the call has it")),
            ToolParameter(name="call_id", is_required=True, description=_("Id of the call")),
        ),
    ),
    Tool(
        name="summarise_calls",
        description=_(
            "Count matching calls and their talk time, together or in groups. Use this instead of counting rows."
        ),
        path="/api/v1/summary",
        parameters=(
            *_FILTERS,
            ToolParameter(
                name="by",
                description=_(
                    "Groups: hour, day, week, month, hour_of_day, weekday, status, type, pbx, answered_by, call_from,"
                    " call_to, did_number, trunk; several by commas"
                ),
            ),
        ),
    ),
    Tool(
        name="report",
        description=_("Read a report about a period: volume, waiting, queues, agents, missed calls and others."),
        path="/api/v1/reports",
        parameters=(
            ToolParameter(
                name="report",
                is_required=True,
                description=_(
                    "volume, week, concurrent, quality, outcomes, unreturned, returned, answer, wait, ring, talk,"
                    " queues, queue-hours, queue-weekdays, ring-groups, agents, extensions, callers, repeat-callers,"
                    " dialled, trunks, dids, pbxs"
                ),
            ),
            *_FILTERS,
        ),
    ),
    Tool(
        name="missed_calls",
        description=_("List missed calls and whether they were returned."),
        path="/api/v1/missed-calls",
        parameters=_FILTERS,
    ),
    Tool(
        name="query_sql",
        description=_(
            "Run one SELECT in DuckDB's SQL over the views `calls` and `records`; `list_sql_tables` has their columns."
        ),
        path="/api/v1/sql",
        parameters=(ToolParameter(name="sql", is_required=True, description=_("The SELECT")),),
    ),
    Tool(
        name="list_sql_tables",
        description=_("List the views and columns that `query_sql` may read."),
        path="/api/v1/sql/tables",
    ),
    Tool(name="list_pbxs", description=_("List the PBXs with their state."), path="/api/v1/pbxs"),
    Tool(
        name="list_issues",
        description=_("List what needs a person: alarms, gaps, failed checks and destinations."),
        path="/api/v1/issues",
    ),
    Tool(
        name="list_destinations",
        description=_("List the destinations of notifications with their state and what is pending."),
        path="/api/v1/destinations",
    ),
    Tool(
        name="read_coverage",
        description=_("Show from when to when calls are verified complete, and the gaps."),
        path="/api/v1/coverage",
        parameters=(*_PERIOD, ToolParameter(name="pbx", description=_("Name of a PBX"))),
    ),
)
"""All tools. What a token may not read is answered by the server with 403, and said to the assistant."""

TOOLS_BY_NAME: Mapping[str, Tool] = {tool.name: tool for tool in TOOLS}
