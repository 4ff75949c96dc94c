"""Options that several commands share, each described once."""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

import typer

from onhook.cdr.record_filter import FILTER_NAMES
from onhook.cli.filter_hints import warn_about_unknown_status
from onhook.config import Config, read_config
from onhook.lib.errors import UsageError
from onhook.ops.instance_lock import check_is_directory

DataOption = Annotated[
    str | None, typer.Option("--data", metavar="DIR", help="The data directory.", show_default=False)
]
ZoneOption = Annotated[
    str | None,
    typer.Option("--zone", metavar="ZONE", help="The zone in which times are read and shown.", show_default=False),
]
Format = Literal["table", "json", "csv"]
FormatOption = Annotated[Format, typer.Option("--format", help="How to show it.")]
LimitOption = Annotated[int, typer.Option("--limit", metavar="N", min=1, help="How many at most, the latest first.")]

LIMIT_DEFAULT = 50
"""A screen or two."""

_TIME_FORMATS = "2026-04-27, 2026-04-27T19:04, today, yesterday, or 30m, 12h, 7d, 2w ago"
FILTER_HELP: Mapping[str, str] = MappingProxyType(
    {
        "since": f"Started at or after: {_TIME_FORMATS}.",
        "until": "Started before.",
        "pbx": "Name of the PBX.",
        "sn": "Serial number of the PBX.",
        "call_id": "The call's id.",
        "number": "A number on either side.",
        "call_from": "Number of the caller.",
        "call_to": "Number that was called.",
        "status": "How it ended, such as answered or 'no answer'.",
        "type": "Internal, inbound or outbound.",
        "trunk": "Name of the trunk, in or out.",
        "did_number": "DID number that was dialled.",
        "min_talk_duration": "Seconds of talk, at least.",
        "max_talk_duration": "Seconds of talk, at most.",
    }
)


def load_config(**flags: str | None) -> Config:
    """The configuration with these flags. Raises `UsageError`."""
    config = read_config(flags, Path.cwd())
    check_is_directory(config)
    return config


def with_filters(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for each filter; it is handed those that were given, as texts, in `filters`."""
    return with_options(command, "filters", [_filter_option(name) for name in FILTER_NAMES], _validate_filters)


def with_options(
    command: Callable[..., None],
    parameter_name: str,
    options: Sequence[inspect.Parameter],
    parse: Callable[[dict[str, Any]], Mapping[str, Any]],
) -> Callable[..., None]:
    """Give a command these options; it is handed those that were given, as they were `read`, in one parameter."""
    signature = inspect.signature(command)

    @functools.wraps(command)
    def wrapper(**arguments: Any) -> None:
        values = {option.name: value for option in options if (value := arguments.pop(option.name)) is not None}
        command(**{parameter_name: parse(values)}, **arguments)

    parameters = [
        *(parameter for parameter in signature.parameters.values() if parameter.name != parameter_name),
        *options,
    ]
    wrapper.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined] # as functools does
    wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return wrapper


def optional_parameter(name: str, annotation: Any) -> inspect.Parameter:
    """An option that need not be given."""
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _validate_filters(filters: dict[str, Any]) -> Mapping[str, Any]:
    for name, value in filters.items():
        if not value.strip():
            raise UsageError(
                "an empty filter finds everything", location=f"--{name.replace('_', '-')}", hint="leave it out"
            )
    if "status" in filters:
        warn_about_unknown_status(filters["status"])
    return filters


def _filter_option(name: str) -> inspect.Parameter:
    flag = f"--{name.replace('_', '-')}"
    metavar = "TIME" if name in ("since", "until") else "SECONDS" if name.endswith("_duration") else "TEXT"
    option = typer.Option(flag, metavar=metavar, help=FILTER_HELP[name], show_default=False, rich_help_panel="Filters")
    return optional_parameter(name, Annotated[str | None, option])
