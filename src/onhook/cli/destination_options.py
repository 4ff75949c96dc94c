"""The options by which a person says how an application wants to be told; the same for a new one and a changed one."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Annotated, Any

import typer

from onhook.appdb.destination_spec import Method, PayloadFormat, RetryPolicy
from onhook.cli.options import optional_parameter, with_options
from onhook.lib.errors import UsageError

_STANDARD_WEBHOOKS_HELP = "Send the headers of Standard Webhooks too."
_ALLOW_PRIVATE_HELP = "It may be in a private network."


def _flag_option(flags: str, help_text: str) -> Any:
    return Annotated[bool | None, typer.Option(flags, metavar="", help=help_text, show_default="no")]


_OPTIONS: Mapping[str, Any] = MappingProxyType(
    {
        "method": Annotated[Method | None, typer.Option("--method", help="How it is asked.", show_default="POST")],
        "payload_format": Annotated[
            PayloadFormat | None,
            typer.Option("--payload-format", help="The generation of PBX it is written as.", show_default="p-2026"),
        ],
        "timeout_seconds": Annotated[
            float | None, typer.Option("--timeout", metavar="SECONDS", help="For an answer.", show_default="5")
        ],
        "retry_policy": Annotated[
            RetryPolicy | None,
            typer.Option("--retry-policy", help="Ten attempts in three days, or as the original.", show_default="days"),
        ],
        "max_attempts": Annotated[
            int | None,
            typer.Option(
                "--max-attempts", metavar="N", help="Attempts of the policy original, 1 to 5.", show_default="3"
            ),
        ],
        "headers": Annotated[
            list[str] | None,
            typer.Option("--header", metavar="NAME:VALUE", help="A further header; repeatable.", show_default=False),
        ],
        "with_standard_webhooks": _flag_option("--standard-webhooks", _STANDARD_WEBHOOKS_HELP),
        "allow_private": _flag_option("--allow-private", _ALLOW_PRIVATE_HELP),
    }
)
_RESET_OPTIONS: Mapping[str, Any] = MappingProxyType(
    {
        "no_standard": _flag_option("--no-standard", "Send them no more."),
        "no_private": _flag_option("--no-private", "It may not be there."),
    }
)
# Flags of their own: as the other halves of two they would have a column, and at 80 columns names would be cut.
_RESET_FIELDS: Mapping[str, str] = MappingProxyType(
    {"no_standard": "with_standard_webhooks", "no_private": "allow_private"}
)


def with_destination_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command these options; it is handed those that were given, by field, in `spec_values`."""
    options = [optional_parameter(*item) for item in _OPTIONS.items()]
    return with_options(command, "spec_values", options, _parse_options)


def with_destination_change_options(command: Callable[..., None]) -> Callable[..., None]:
    """The same, for one that has a specification already: what is allowed can be taken back."""
    options = [optional_parameter(*item) for item in (*_OPTIONS.items(), *_RESET_OPTIONS.items())]
    return with_options(command, "spec_values", options, _parse_options)


def _parse_options(values: dict[str, Any]) -> Mapping[str, Any]:
    """Typer gives an empty list where no header was given. What is taken back is not allowed, whatever else is said."""
    fields = {name: value for name, value in values.items() if name not in _RESET_FIELDS and name != "headers"}
    headers = {"headers": dict(map(_parse_header, header_texts))} if (header_texts := values.get("headers")) else {}
    return fields | headers | {field: False for name, field in _RESET_FIELDS.items() if values.get(name)}


def _parse_header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise UsageError("a header has no value", hint="write --header 'Name: value'")
    return name.strip(), value.strip()
