"""Options that several commands share."""

import functools
import inspect
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import msgspec
import typer

from onhook.cdr.utc_offset import get_zone
from onhook.config import ZONE_DEFAULT, Config, read_config
from onhook.lib.errors import Unavailable
from onhook.lib.messages import _
from onhook.lib.text import replace_control_characters
from onhook.ops.instance_lock import check_is_directory, read_server_info

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


def load_reader_config(data: str | None, zone: str | None) -> Config:
    """Return the configuration of a command that shows times: without a zone that of the running server."""
    config = load_config(data=data, zone=zone)
    if zone is not None or config.zone != ZONE_DEFAULT:
        return config
    try:
        server = read_server_info(config)
    except Unavailable:
        return config  # a directory that cannot be read is the command's own error, with its own text
    return msgspec.structs.replace(config, zone=server.zone) if server is not None and server.zone else config


def load_reader_zone(data: str | None, zone: str | None) -> ZoneInfo:
    """Return the zone in which a command shows times. Raises `UsageError`."""
    return get_zone(load_reader_config(data, zone).zone)


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
    print(_("Note: {sentence}.", sentence=replace_control_characters(sentence)), file=sys.stderr)
