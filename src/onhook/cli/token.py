"""`onhook token`: who may use the API and the pages."""

from datetime import datetime
from typing import Annotated

import typer

from onhook.cli.formats import UNKNOWN, show_table
from onhook.cli.options import DataOption
from onhook.cli.settings import open_settings
from onhook.clock import SystemClock
from onhook.settings.tokens import Role

app = typer.Typer(
    add_completion=False, help="Say who may use the API and the pages.", epilog="Example: onhook token list"
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Who or what it is for.")]


@app.command("add", epilog="Example: onhook token add wallboard --role reader")
def add(
    name: Name,
    role: Annotated[Role, typer.Option("--role", help="A reader reads; an administrator changes too.")] = "reader",
    data: DataOption = None,
) -> None:
    """Make a token and show it: this once, for only its hash is kept."""
    with open_settings(data, makes=True) as settings:
        print(settings.add_token(name, role, at=SystemClock().microseconds()))


@app.command("list", epilog="Example: onhook token list")
def list_tokens(data: DataOption = None) -> None:
    """Show the tokens by name, never their texts."""
    with open_settings(data) as settings:
        rows = [[one.name, one.role, _day(one.created_at), _day(one.last_used)] for one in settings.tokens()]
    show_table(rows, ("name", "role", "since", "last used"))


@app.command("remove", epilog="Example: onhook token remove wallboard")
def remove(name: Name, data: DataOption = None) -> None:
    """Let nobody in with this token any more."""
    with open_settings(data) as settings:
        settings.remove_token(name)
    print(f"The token {name} counts no more.")


def _day(moment: datetime | None) -> str:
    return UNKNOWN if moment is None else f"{moment:%Y-%m-%d %H:%M} UTC"
