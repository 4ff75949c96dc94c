"""`onhook token`: API tokens."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

import typer

from onhook.appdb.scopes import parse_scope
from onhook.appdb.tokens import Role
from onhook.cdr.access_scope import AccessScope
from onhook.cli.formats import print_table
from onhook.cli.open_appdb import open_appdb
from onhook.cli.options import DataOption
from onhook.lib.clock import SystemClock
from onhook.lib.messages import _
from onhook.lib.text import UNKNOWN

app = typer.Typer(add_completion=False, help=_("Manage API tokens."), epilog="Example: onhook token list")

TokenName = Annotated[str, typer.Argument(metavar="NAME", help=_("Name of the token"))]


@app.command("add", epilog="Example: onhook token add wallboard --number 1001 --number 1002")
def add(
    name: TokenName,
    role: Annotated[
        Role, typer.Option("--role", help=_("A reader reads; an administrator also changes settings"))
    ] = "reader",
    pbx: Annotated[
        list[str] | None,
        typer.Option("--pbx", metavar="NAME", help=_("Limit to calls of this PBX; repeatable")),
    ] = None,
    number: Annotated[
        list[str] | None,
        typer.Option("--number", metavar="NUMBER", help=_("Limit to calls of this extension; repeatable")),
    ] = None,
    data: DataOption = None,
) -> None:
    """Create a token and print it once; it is stored as a hash."""
    with open_appdb(data, create=True) as appdb:
        scope = parse_scope(appdb, pbx or [], number or [])
        print(appdb.add_token(name, role, now_us=SystemClock().microseconds(), scope=scope))


@app.command("list", epilog="Example: onhook token list")
def list_tokens(data: DataOption = None) -> None:
    """List the tokens by name, without their texts."""
    with open_appdb(data) as appdb:
        names = {pbx.sn: pbx.name for pbx in appdb.pbxs()}
        rows = [
            [
                token.name,
                token.role,
                _describe_scope(token.scope, names),
                _format_time(token.created_at),
                _format_time(token.last_used_at),
            ]
            for token in appdb.tokens()
        ]
    print_table(rows, ("name", "role", "scope", "added", "last used"))


@app.command("remove", epilog="Example: onhook token remove wallboard")
def remove(name: TokenName, data: DataOption = None) -> None:
    """Revoke a token."""
    with open_appdb(data) as appdb:
        appdb.remove_token(name)
    print(_('Token "{name}" revoked.', name=name))


def _describe_scope(scope: AccessScope | None, names: Mapping[str, str]) -> str:
    """Return the scope of a token; of a removed PBX its serial number."""
    if scope is None:
        return "everything"
    pbxs = ", ".join(names.get(sn, sn) for sn in scope.sns or ())
    numbers = ", ".join(scope.numbers or ())
    return "; ".join(text for text in (pbxs, numbers) if text) or "nothing"


def _format_time(time: datetime | None) -> str:
    return UNKNOWN if time is None else f"{time:%Y-%m-%d %H:%M} UTC"
