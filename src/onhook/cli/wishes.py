"""The options by which a person says how an application wants to be told; the same for a new one and a changed one."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Annotated, Any

import typer

from onhook.cli.options import optional, with_options
from onhook.errors import UsageError
from onhook.settings.wishes import Method, Per, Plan, Profile

_OPTIONS: Mapping[str, Any] = MappingProxyType(
    {
        "method": Annotated[Method | None, typer.Option("--method", help="How it is asked.", show_default="POST")],
        "profile": Annotated[
            Profile | None,
            typer.Option("--profile", help="The generation of PBX it is written as.", show_default="p-2026"),
        ],
        "per": Annotated[Per | None, typer.Option("--per", help="One event per leg, or per call.", show_default="leg")],
        "timeout_seconds": Annotated[
            float | None, typer.Option("--timeout", metavar="SECONDS", help="For an answer.", show_default="5")
        ],
        "plan": Annotated[
            Plan | None,
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
        "with_standard_webhooks": Annotated[
            bool | None,
            typer.Option(
                "--standard-webhooks/--no-standard-webhooks",
                help="Send the headers of Standard Webhooks too.",
                show_default="no",
            ),
        ],
        "allows_private": Annotated[
            bool | None,
            typer.Option(
                "--allow-private/--no-allow-private", help="It may be in a private network.", show_default="no"
            ),
        ],
    }
)


def with_wishes(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command these options; it is handed those that were given, by the names of the wishes, in `wishes`."""
    return with_options(command, "wishes", [optional(*one) for one in _OPTIONS.items()], _read)


def _read(wishes: dict[str, Any]) -> Mapping[str, Any]:
    """Typer gives an empty list where no header was given."""
    texts = wishes.pop("headers", [])
    return wishes | ({"headers": dict(map(_header, texts))} if texts else {})


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise UsageError("a header has no value", todo="write --header 'Name: value'")
    return name.strip(), value.strip()
