"""The options by which a person says how an application wants to be told; the same for a new one and a changed one."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Annotated, Any

import typer

from onhook.appdb.destination_spec import Method, PayloadFormat, Per, RetryPolicy
from onhook.cli.options import optional, with_options
from onhook.lib.errors import UsageError

_STANDARD = "Send the headers of Standard Webhooks too."
_PRIVATE = "It may be in a private network."


def _switch(flags: str, says: str) -> Any:
    return Annotated[bool | None, typer.Option(flags, metavar="", help=says, show_default="no")]


_OPTIONS: Mapping[str, Any] = MappingProxyType(
    {
        "method": Annotated[Method | None, typer.Option("--method", help="How it is asked.", show_default="POST")],
        "profile": Annotated[
            PayloadFormat | None,
            typer.Option("--profile", help="The generation of PBX it is written as.", show_default="p-2026"),
        ],
        "per": Annotated[Per | None, typer.Option("--per", help="One event per leg, or per call.", show_default="leg")],
        "timeout_seconds": Annotated[
            float | None, typer.Option("--timeout", metavar="SECONDS", help="For an answer.", show_default="5")
        ],
        "plan": Annotated[
            RetryPolicy | None,
            typer.Option("--plan", help="Ten attempts in three days, or as the original.", show_default="days"),
        ],
        "tries": Annotated[
            int | None,
            typer.Option("--tries", metavar="N", help="Attempts of the plan original, 1 to 5.", show_default="3"),
        ],
        "headers": Annotated[
            list[str] | None,
            typer.Option("--header", metavar="NAME:VALUE", help="A further header; repeatable.", show_default=False),
        ],
        "with_standard_webhooks": _switch("--standard-webhooks", _STANDARD),
        "allows_private": _switch("--allow-private", _PRIVATE),
    }
)
_TAKING_BACK: Mapping[str, Any] = MappingProxyType(
    {
        "no_standard": _switch("--no-standard", "Send them no more."),
        "no_private": _switch("--no-private", "It may not be there."),
    }
)
# Flags of their own: as the other halves of two they would have a column, and at 80 columns names would be cut.
_TAKES_BACK: Mapping[str, str] = MappingProxyType(
    {"no_standard": "with_standard_webhooks", "no_private": "allows_private"}
)


def with_wishes(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command these options; it is handed those that were given, by the names of the wishes, in `wishes`."""
    return with_options(command, "wishes", [optional(*one) for one in _OPTIONS.items()], _read)


def with_changed_wishes(command: Callable[..., None]) -> Callable[..., None]:
    """The same, for one that has wishes already: what is allowed can be taken back."""
    options = {**_OPTIONS, **_TAKING_BACK}
    return with_options(command, "wishes", [optional(*one) for one in options.items()], _read)


def _read(given: dict[str, Any]) -> Mapping[str, Any]:
    """Typer gives an empty list where no header was given. What is taken back is not allowed, whatever else is said."""
    wishes = {name: value for name, value in given.items() if name not in _TAKES_BACK and name != "headers"}
    headers = {"headers": dict(map(_header, texts))} if (texts := given.get("headers")) else {}
    return wishes | headers | {wish: False for name, wish in _TAKES_BACK.items() if given.get(name)}


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise UsageError("a header has no value", todo="write --header 'Name: value'")
    return name.strip(), value.strip()
