"""Options of a destination, shared by `add` and `change`."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Annotated, Any

import typer

from onhook.appdb.destination_spec import Method, PayloadFormat, RetryPolicy
from onhook.cli.options import optional_parameter, with_options
from onhook.lib.errors import UsageError
from onhook.lib.messages import _

_STANDARD_WEBHOOKS_HELP = "Also send the headers of Standard Webhooks"
_ALLOW_PRIVATE_HELP = "Allow private addresses"


def _flag_option(flags: str, help_text: str) -> Any:
    return Annotated[bool | None, typer.Option(flags, metavar="", help=help_text, show_default="no")]


_OPTIONS: Mapping[str, Any] = MappingProxyType(
    {
        "method": Annotated[Method | None, typer.Option("--method", help="HTTP method", show_default="POST")],
        "payload_format": Annotated[
            PayloadFormat | None,
            typer.Option("--payload-format", help="Event format", show_default="p-2026"),
        ],
        "timeout_seconds": Annotated[
            float | None, typer.Option("--timeout", metavar="SECONDS", help="Time-out in seconds", show_default="5")
        ],
        "retry_policy": Annotated[
            RetryPolicy | None,
            typer.Option(
                "--retry-policy",
                help=("Retry policy: ten attempts in three days, or that of a PBX"),
                show_default="days",
            ),
        ],
        "max_attempts": Annotated[
            int | None,
            typer.Option(
                "--max-attempts", metavar="N", help="Attempts of the policy original, 1 to 5", show_default="3"
            ),
        ],
        "headers": Annotated[
            list[str] | None,
            typer.Option("--header", metavar="NAME:VALUE", help="Custom header; repeatable", show_default=False),
        ],
        "with_standard_webhooks": _flag_option("--standard-webhooks", _STANDARD_WEBHOOKS_HELP),
        "allow_private": _flag_option("--allow-private", _ALLOW_PRIVATE_HELP),
    }
)
_RESET_OPTIONS: Mapping[str, Any] = MappingProxyType(
    {
        "no_standard": _flag_option("--no-standard", "Do not send the headers of Standard Webhooks"),
        "no_private": _flag_option("--no-private", "Do not allow private addresses"),
    }
)
# Separate flags: as --x/--no-x they would need a column, and at 80 columns names would be cut.
_RESET_FIELDS: Mapping[str, str] = MappingProxyType(
    {"no_standard": "with_standard_webhooks", "no_private": "allow_private"}
)


def with_destination_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options to a command, which receives the given ones, by field, in `spec_values`."""
    options = [optional_parameter(*item) for item in _OPTIONS.items()]
    return with_options(command, "spec_values", options, _parse_options)


def with_destination_change_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options to a command that changes a destination: permissions can be revoked."""
    options = [optional_parameter(*item) for item in (*_OPTIONS.items(), *_RESET_OPTIONS.items())]
    return with_options(command, "spec_values", options, _parse_options)


def _parse_options(values: dict[str, Any]) -> Mapping[str, Any]:
    """Return the given values. Typer passes an empty list without headers. A revoked permission has precedence."""
    fields = {name: value for name, value in values.items() if name not in _RESET_FIELDS and name != "headers"}
    headers = {"headers": dict(map(_parse_header, header_texts))} if (header_texts := values.get("headers")) else {}
    return fields | headers | {field: False for name, field in _RESET_FIELDS.items() if values.get(name)}


def _parse_header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise UsageError(_("a header has no value"), hint=_("write --header 'Name: value'"))
    return name.strip(), value.strip()
