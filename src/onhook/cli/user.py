"""`onhook user`: people who sign in to the console with a password."""

from typing import Annotated

import typer
from msgspec import UNSET

from onhook.appdb.scopes import parse_scope
from onhook.appdb.tokens import Role
from onhook.appdb.user_changes import UserChanges, change_user
from onhook.cdr.number_masking import Mask
from onhook.cli.commands import CommandGroup
from onhook.cli.formats import format_optional_time, print_table
from onhook.cli.open_appdb import open_appdb
from onhook.cli.options import DataOption, ZoneOption, load_config, load_reader_zone, print_note
from onhook.cli.scope_options import (
    DepartmentScopeOption,
    MaskOption,
    NumberScopeOption,
    PbxScopeOption,
    PermissionOption,
    RoleOption,
    SiteScopeOption,
    describe_scope,
)
from onhook.config import Config, local_address, parse_address
from onhook.console.invitation_mails import add_invitation_mail, invitation_path
from onhook.lib.clock import SystemClock
from onhook.lib.errors import UsageError
from onhook.lib.messages import _
from onhook.ops.instance_lock import read_server_info

app = CommandGroup(add_completion=False, help=_("Manage users of the console."), epilog="Example: onhook user list")

EmailOption = Annotated[
    str, typer.Option("--email", metavar="ADDRESS", help=_("Address to which invitations and links are sent"))
]
UserName = Annotated[str, typer.Argument(metavar="NAME", help=_("Name of the user"))]


@app.command("add", epilog="Example: onhook user add alice --pbx Office")
async def add(
    name: UserName,
    *,
    role: RoleOption = "reader",
    pbx: PbxScopeOption = None,
    number: NumberScopeOption = None,
    department: DepartmentScopeOption = None,
    site: SiteScopeOption = None,
    mask: MaskOption = "none",
    permission: PermissionOption = None,
    email: EmailOption = "",
    data: DataOption = None,
) -> None:
    """Add a user and print the link of the invitation, where the password is chosen: valid once, for three days."""
    async with open_appdb(data, create=True) as appdb:
        scope = await parse_scope(appdb, pbx or [], number or [], mask, department or [], site or [])
        invitation = await appdb.users.add(
            name, role, scope, now_us=SystemClock().microseconds(), permissions=permission or [], email=email
        )
        mailed_to = await add_invitation_mail(appdb, SystemClock(), await appdb.users.get(name.strip()), invitation)
    _print_invitation(load_config(data=data), invitation, mailed_to)


@app.command("change", epilog="Example: onhook user change alice --role annotator --number ''")
async def change(
    name: UserName,
    *,
    new_name: Annotated[str | None, typer.Option("--name", metavar="NAME", help=_("New name"))] = None,
    role: Annotated[Role | None, typer.Option("--role", help=_("reader, annotator or administrator"))] = None,
    pbx: Annotated[
        list[str] | None,
        typer.Option("--pbx", metavar="NAME", help=_("Limit to calls of this PBX; repeatable; '' lifts the limit")),
    ] = None,
    number: Annotated[
        list[str] | None,
        typer.Option(
            "--number", metavar="NUMBER", help=_("Limit to calls of this extension; repeatable; '' lifts the limit")
        ),
    ] = None,
    department: Annotated[
        list[str] | None,
        typer.Option(
            "--department", metavar="NAME", help=_("Limit to this department; repeatable; '' lifts the limit")
        ),
    ] = None,
    site: Annotated[
        list[str] | None,
        typer.Option("--site", metavar="NAME", help=_("Limit to this site; repeatable; '' lifts the limit")),
    ] = None,
    mask: Annotated[Mask | None, typer.Option("--mask", help=_("External numbers: none, last3 or hash"))] = None,
    permission: Annotated[
        list[str] | None,
        typer.Option(
            "--permission", metavar="NAME", help=_("share, links or mail, all that the user has; '' for none")
        ),
    ] = None,
    email: Annotated[
        str | None,
        typer.Option("--email", metavar="ADDRESS", help=_("Address for links; '' for none"), show_default=False),
    ] = None,
    enabled: Annotated[
        bool | None,
        typer.Option("--enable/--disable", help=_("Whether the user can sign in"), show_default=False),
    ] = None,
    data: DataOption = None,
) -> None:
    """Change a user. It applies to open sessions within a second; a new name ends them, and so does disabling."""
    async with open_appdb(data) as appdb:
        changes = UserChanges(
            name=UNSET if new_name is None else new_name,
            role=UNSET if role is None else role,
            pbxs=UNSET if pbx is None else pbx,
            numbers=UNSET if number is None else number,
            departments=UNSET if department is None else department,
            sites=UNSET if site is None else site,
            mask=UNSET if mask is None else mask,
            permissions=UNSET if permission is None else permission,
            is_disabled=UNSET if enabled is None else not enabled,
            email=UNSET if email is None else email,
        )
        if changes == UserChanges():
            raise UsageError(_("nothing is to be changed"), hint=_("`onhook user change --help` lists what can be"))
        user = await change_user(appdb, name, changes)
    print(_('User "{name}" changed.', name=user.name))


@app.command("list", epilog="Example: onhook user list")
async def list_users(zone: ZoneOption = None, data: DataOption = None) -> None:
    """List the users by name."""
    reader_zone = load_reader_zone(data, zone)
    async with open_appdb(data) as appdb:
        names = {pbx.sn: pbx.name for pbx in await appdb.pbxs()}
        rows = [
            [
                user.name,
                user.role,
                describe_scope(user.scope, names),
                ", ".join(user.permissions),
                _("disabled") if user.is_disabled else _("set") if user.has_password else _("invited"),
                format_optional_time(user.created_at, reader_zone),
                format_optional_time(user.last_seen_at, reader_zone),
            ]
            for user in await appdb.users.all()
        ]
    print_table(rows, ("name", "role", "scope", "may", "password", "added", "last seen"))


@app.command("invite", epilog="Example: onhook user invite alice")
async def invite(name: UserName, data: DataOption = None) -> None:
    """Print the link of another invitation, as for a forgotten password; earlier ones become invalid."""
    async with open_appdb(data) as appdb:
        invitation = await appdb.users.invite(name, now_us=SystemClock().microseconds())
        mailed_to = await add_invitation_mail(appdb, SystemClock(), await appdb.users.get(name), invitation)
    _print_invitation(load_config(data=data), invitation, mailed_to)


@app.command("reset-factor", epilog="Example: onhook user reset-factor alice")
async def reset_factor(name: UserName, data: DataOption = None) -> None:
    """Remove the second factor of a user, as for a lost telephone; open sessions end within a second."""
    async with open_appdb(data) as appdb:
        user = await appdb.users.get(name)
        await appdb.second_factors.reset(user.name)
    print(_('Second factor of user "{name}" removed.', name=user.name))


@app.command("remove", epilog="Example: onhook user remove alice")
async def remove(name: UserName, data: DataOption = None) -> None:
    """Remove a user; open sessions end within a second."""
    async with open_appdb(data) as appdb:
        await appdb.users.remove(name)
    print(_('User "{name}" removed.', name=name))


def _print_invitation(config: Config, invitation: str, mailed_to: str) -> None:
    """Print the link, on the address of the running server or of the settings, and where it is sent."""
    server = read_server_info(config)
    address = config.console if server is None or server.hub is None else parse_address(server.hub.address, "hub")
    print(f"http://{local_address(address)}{invitation_path(invitation)}")
    if mailed_to:
        print_note(_("the running server sends the link to {address}", address=mailed_to))
