"""Filters as options, the same for all commands, and notes about values that are valid and probably a mistake."""

import functools
import importlib
import inspect
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any

import typer

from onhook.cdr.call_filter import SEARCH_NAMES
from onhook.cdr.record_filter import FILTER_NAMES, KNOWN_STATUSES, KNOWN_TYPES, WordFilter
from onhook.cli.options import AsyncCommand, load_config, optional_parameter, print_note, with_options
from onhook.cli.server_url import get_server
from onhook.lib.errors import UsageError
from onhook.lib.messages import _
from onhook.lib.text import UNKNOWN
from onhook.ops.instance_lock import has_appdb

_TIME_FORMATS = "2026-04-27, 2026-04-27T19:04, today, yesterday, or 30m, 12h, 7d, 2w ago"
TIME_FILTERS = frozenset({"since", "until", "under_way_at", "ended_since"})

FILTER_HELP: Mapping[str, str] = MappingProxyType(
    {
        "since": f"Started at or after: {_TIME_FORMATS}",
        "until": "Started before this time",
        "pbx": "Name of the PBX",
        "sn": "Serial number of the PBX",
        "call_id": "Call id",
        "number": "Number of the caller or the called party",
        "call_from": "Number of the caller",
        "call_to": "Number of the called party",
        "status": "Outcome, such as answered or 'no answer'",
        "type": "Internal, inbound or outbound",
        "trunk": "Name of the trunk, in or out",
        "did_number": "DID number",
        "min_talk_duration": "Minimum seconds of talk",
        "max_talk_duration": "Maximum seconds of talk",
        "extra": "Members of extra, such as account_code=4711 or transfer=attended; several are separated by commas",
        "answered_by": "Number of the person who answered",
        "min_wait_duration": "Minimum seconds of waiting",
        "max_wait_duration": "Maximum seconds of waiting",
        "min_ring_duration": "Minimum seconds of ringing",
        "max_ring_duration": "Maximum seconds of ringing",
        "weekday": "1 (Monday) to 7",
        "hour_of_day": "0 to 23",
        "under_way_at": "In progress at this time, ISO 8601",
        "ended_since": "Ended at or after this time, ISO 8601",
        "caller": "Number of the caller of the whole call",
        "dialled": "Number that was dialled first",
        "by_trunk": "Trunk of the whole call",
        "by_did": "DID number of the whole call",
        "tag": "A tag of the call",
        "note": "Part of a note on the call, written in Onhook or on the PBX",
        "q": "Free text: a number in any notation, a call id, or part of a name",
    }
)


def with_filters(command: AsyncCommand) -> AsyncCommand:
    """Add an option for each filter on records to a command, which receives the given ones, as texts, in `filters`."""
    return _with_named_filters(command, FILTER_NAMES)


def with_search_filters(command: AsyncCommand) -> AsyncCommand:
    """Add the filters on whole calls too: those of `/api/v1/calls`."""
    return _with_named_filters(command, (*FILTER_NAMES, *SEARCH_NAMES))


def _with_named_filters(command: AsyncCommand, names: Sequence[str]) -> AsyncCommand:

    @functools.wraps(command)
    async def checking_command(**arguments: Any) -> None:
        await warn_about_unknown_pbx(arguments["filters"], arguments["data"])
        await command(**arguments)

    options = [_filter_option(name) for name in names]
    return with_options(checking_command, "filters", options, _validate_filters)


def warn_about_unknown_status(status: str) -> None:
    """Print a note about statuses that no PBX is known to have."""
    _warn_about_unknown_words("status", status, KNOWN_STATUSES)


def warn_about_unknown_type(call_type: str) -> None:
    """Print a note about types of calls that no PBX is known to have."""
    _warn_about_unknown_words("type", call_type, KNOWN_TYPES)


async def warn_about_unknown_pbx(filters: Mapping[str, str], data: str | None) -> None:
    """Print a note about a name or serial number that no PBX has; a removed PBX may still have calls."""
    if get_server() is not None or not filters.keys() & {"pbx", "sn"} or not has_appdb(load_config(data=data)):
        return
    # A search for anything else does without the application database.
    async with importlib.import_module("onhook.cli.open_appdb").open_appdb(data) as appdb:
        pbxs = await appdb.pbxs()
    for name, values in (("pbx", [pbx.name for pbx in pbxs]), ("sn", [pbx.sn for pbx in pbxs])):
        if (value := filters.get(name)) is not None and value.strip() not in values:
            known_values = ", ".join(values) or UNKNOWN
            print_note(
                _(
                    "no PBX has the {name} {value}; known are {values}",
                    name=name,
                    value=repr(value),
                    values=known_values,
                )
            )


def _warn_about_unknown_words(name: str, text: str, known_values: Sequence[str]) -> None:
    known_words = {word for value in known_values for word in WordFilter.parse(value).words}
    unknown_words = [word for word in WordFilter.parse(text).words if word not in known_words]
    if unknown_words:
        quoted_words = ", ".join(map(repr, unknown_words))
        choices = ", ".join(known_values)
        print_note(_("unknown {name} {words}; known are {choices}", name=name, words=quoted_words, choices=choices))


def _validate_filters(filters: dict[str, Any]) -> Mapping[str, Any]:
    for name, value in filters.items():
        if not value.strip():
            raise UsageError(
                _("an empty filter matches everything"), location=f"--{name.replace('_', '-')}", hint=_("leave it out")
            )
    if "status" in filters:
        warn_about_unknown_status(filters["status"])
    if "type" in filters:
        warn_about_unknown_type(filters["type"])
    return filters


def _filter_option(name: str) -> inspect.Parameter:
    flag = f"--{name.replace('_', '-')}"
    metavar = {**dict.fromkeys(TIME_FILTERS, "TIME"), "extra": "NAME=VALUE"}.get(
        name, "SECONDS" if name.endswith("_duration") else "TEXT"
    )
    option = typer.Option(
        flag, metavar=metavar, help=FILTER_HELP[name], show_default=False, rich_help_panel=_("Filters")
    )
    return optional_parameter(name, Annotated[str | None, option])
