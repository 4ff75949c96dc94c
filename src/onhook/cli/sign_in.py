"""`onhook sign-in`: how people sign in to the console."""

from typing import Annotated

import typer
from msgspec import structs

from onhook.appdb.sign_in_settings import validate_roles
from onhook.cli.commands import CommandGroup
from onhook.cli.formats import print_table
from onhook.cli.open_appdb import open_appdb
from onhook.cli.options import DataOption
from onhook.lib.messages import _

app = CommandGroup(
    add_completion=False,
    help=_("Set how people sign in to the console."),
    epilog="Example: onhook sign-in require-factor administrator",
)


@app.command("show", epilog="Example: onhook sign-in show")
async def show(data: DataOption = None) -> None:
    """Show the settings of the sign-in."""
    async with open_appdb(data) as appdb:
        settings = await appdb.sign_in_settings.get()
    rows = [
        ["second factor needed by", ", ".join(settings.factor_roles) or "-"],
        ["address of the console", settings.console_url or "-"],
    ]
    print_table(rows, ("setting", "value"))


@app.command("require-factor", epilog="Example: onhook sign-in require-factor administrator annotator")
async def require_factor(
    roles: Annotated[
        list[str] | None, typer.Argument(metavar="[ROLE]...", help=_("Roles that need one; none: no role"))
    ] = None,
    *,
    data: DataOption = None,
) -> None:
    """Set the roles whose users need a second factor; without one they can do nothing but add it."""
    async with open_appdb(data) as appdb:
        settings = await appdb.sign_in_settings.get()
        settings = await appdb.sign_in_settings.put(structs.replace(settings, factor_roles=validate_roles(roles or [])))
    names = ", ".join(settings.factor_roles)
    print(_("A second factor is needed by: {roles}", roles=names) if names else _("No role needs a second factor."))


@app.command("console-url", epilog="Example: onhook sign-in console-url https://calls.example.com")
async def console_url(
    url: Annotated[str, typer.Argument(metavar="URL", help=_("Address of the console; '' is that of `onhook mail`"))],
    *,
    data: DataOption = None,
) -> None:
    """Set the address of the console as people know it, for which passkeys are made."""
    async with open_appdb(data) as appdb:
        settings = await appdb.sign_in_settings.get()
        settings = await appdb.sign_in_settings.put(structs.replace(settings, console_url=url))
    print(_("Address of the console: {url}", url=settings.console_url or "-"))
