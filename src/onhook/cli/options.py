"""Options that several commands share, and notes about values that are valid and probably a mistake."""

import functools
import inspect
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

import typer

from onhook.cdr.record_filter import FILTER_NAMES, KNOWN_STATUSES, WordFilter
from onhook.config import Config, read_config
from onhook.lib.errors import UsageError
from onhook.lib.messages import _
from onhook.ops.instance_lock import check_is_directory

DataOption = Annotated[str | None, typer.Option("--data", metavar="DIR", help=_("Data directory"), show_default=False)]
ZoneOption = Annotated[
    str | None,
    typer.Option("--zone", metavar="ZONE", help=_("Time zone in which times are parsed and shown"), show_default=False),
]
Format = Literal["table", "json", "csv"]
FormatOption = Annotated[Format, typer.Option("--format", help=_("Output format"))]
LimitOption = Annotated[int, typer.Option("--limit", metavar="N", min=1, help=_("Maximum number, the latest first"))]

AsyncCommand = Callable[..., Coroutine[Any, Any, None]]
"""A command, which `cli.commands` runs on an event loop."""

LIMIT_DEFAULT = 50
"""A screen or two."""

_TIME_FORMATS = "2026-04-27, 2026-04-27T19:04, today, yesterday, or 30m, 12h, 7d, 2w ago"
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
    }
)


def option_with_default(flag: str, *, default: str, help_text: str, metavar: str | None = None) -> Any:
    """Return an option without a value of its own, whose help states what applies without it.

    Typer writes a text default in parentheses, `[default: (all)]`.
    """
    return typer.Option(flag, metavar=metavar, help=_help_with_default(help_text, default), show_default=False)


def argument_with_default(*, metavar: str, default: str, help_text: str) -> Any:
    """Return an argument like `option_with_default`."""
    return typer.Argument(metavar=metavar, help=_help_with_default(help_text, default), show_default=False)


def _help_with_default(help_text: str, default: str) -> str:
    # The bracket is escaped: Rich reads `[…]` as markup.
    return rf"{help_text} [dim]\[default: {default}][/dim]"


def load_config(**flags: str | None) -> Config:
    """Return the configuration with these flags. Raises `UsageError`."""
    config = read_config(flags, Path.cwd())
    check_is_directory(config)
    return config


def with_filters(command: AsyncCommand) -> AsyncCommand:
    """Add an option for each filter to a command, which receives the given ones, as texts, in `filters`."""
    return with_options(command, "filters", [_filter_option(name) for name in FILTER_NAMES], _validate_filters)


def with_options(
    command: AsyncCommand,
    parameter_name: str,
    options: Sequence[inspect.Parameter],
    parse: Callable[[dict[str, Any]], Mapping[str, Any]],
) -> AsyncCommand:
    """Add options to a command, which receives the given ones, parsed, in one parameter."""
    signature = inspect.signature(command)

    @functools.wraps(command)
    async def wrapper(**arguments: Any) -> None:
        values = {option.name: value for option in options if (value := arguments.pop(option.name)) is not None}
        await command(**{parameter_name: parse(values)}, **arguments)

    parameters = [
        *(parameter for parameter in signature.parameters.values() if parameter.name != parameter_name),
        *options,
    ]
    wrapper.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined] # as functools does
    wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return wrapper


def optional_parameter(name: str, annotation: Any) -> inspect.Parameter:
    """Return an optional option."""
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def print_note(sentence: str) -> None:
    """Print a note on standard error."""
    print(_("Note: {sentence}.", sentence=sentence), file=sys.stderr)


def warn_about_unknown_status(status: str) -> None:
    """Print a note about statuses that no PBX is known to have."""
    known_words = {word for known_status in KNOWN_STATUSES for word in WordFilter.parse(known_status).words}
    unknown_words = [word for word in WordFilter.parse(status).words if word not in known_words]
    if unknown_words:
        quoted_words = ", ".join(map(repr, unknown_words))
        print_note(
            _(
                "unknown status {words}; known statuses are {known_statuses}",
                words=quoted_words,
                known_statuses=", ".join(KNOWN_STATUSES),
            )
        )


def _validate_filters(filters: dict[str, Any]) -> Mapping[str, Any]:
    for name, value in filters.items():
        if not value.strip():
            raise UsageError(
                _("an empty filter matches everything"), location=f"--{name.replace('_', '-')}", hint=_("leave it out")
            )
    if "status" in filters:
        warn_about_unknown_status(filters["status"])
    return filters


def _filter_option(name: str) -> inspect.Parameter:
    flag = f"--{name.replace('_', '-')}"
    metavar = {"since": "TIME", "until": "TIME", "extra": "NAME=VALUE"}.get(
        name, "SECONDS" if name.endswith("_duration") else "TEXT"
    )
    option = typer.Option(
        flag, metavar=metavar, help=FILTER_HELP[name], show_default=False, rich_help_panel=_("Filters")
    )
    return optional_parameter(name, Annotated[str | None, option])
