"""`onhook token`: API tokens."""

from typing import TYPE_CHECKING, Annotated

import typer

from onhook.appdb.scopes import parse_scope
from onhook.appdb.tokens import EXPORT_FILTER_EXAMPLE, read_token_file
from onhook.cli.commands import CommandGroup
from onhook.cli.formats import format_optional_time, print_table
from onhook.cli.open_appdb import open_appdb
from onhook.cli.options import DataOption, ZoneOption, load_config, load_reader_zone
from onhook.cli.scope_options import (
    DepartmentScopeOption,
    MaskOption,
    NumberScopeOption,
    PbxScopeOption,
    RoleOption,
    SiteScopeOption,
    describe_scope,
)
from onhook.config import local_address, parse_address
from onhook.lib.clock import SystemClock
from onhook.lib.deferred_module import DeferredModule
from onhook.lib.errors import Unavailable, UsageError
from onhook.lib.messages import _
from onhook.ops.instance_lock import is_server_running, read_server_info

if TYPE_CHECKING:
    from onhook.console.auth import share_tokens
else:  # with the web framework, for one option
    share_tokens = DeferredModule("onhook.console.auth.share_tokens")

app = CommandGroup(add_completion=False, help=_("Manage API tokens."), epilog="Example: onhook token list")

DEFAULT_ZONE = "UTC"
"""Zone in which the times of a search are checked; they are read in that of the server."""

TokenName = Annotated[str, typer.Argument(metavar="NAME", help=_("Name of the token"))]


@app.command("add", epilog="Example: onhook token add wallboard --number 1001 --number 1002")
async def add(
    name: TokenName,
    *,
    role: RoleOption = "reader",
    pbx: PbxScopeOption = None,
    number: NumberScopeOption = None,
    department: DepartmentScopeOption = None,
    site: SiteScopeOption = None,
    mask: MaskOption = "none",
    share: Annotated[
        bool, typer.Option("--share", help=_("For exports alone, in their URL: /api/v1/export.csv?token=…"))
    ] = False,
    search: Annotated[
        str | None,
        typer.Option(
            "--search",
            metavar="QUERY",
            help=_("Limit a share token to a search: {example}", example=EXPORT_FILTER_EXAMPLE),
        ),
    ] = None,
    data: DataOption = None,
) -> None:
    """Create a token and print it once; it is stored as a hash."""
    if search is not None and not share:
        raise UsageError(_("only a share token is limited to a search"), location="--search", hint=_("add --share"))
    clock = SystemClock()
    export_filter = share_tokens.parse_export_filter(search or "", zone=DEFAULT_ZONE, clock=clock) if share else None
    async with open_appdb(data, create=True) as appdb:
        scope = await parse_scope(appdb, pbx or [], number or [], mask, department or [], site or [])
        print(await appdb.tokens.add(name, role, now_us=clock.microseconds(), scope=scope, export_filter=export_filter))


@app.command("list", epilog="Example: onhook token list")
async def list_tokens(zone: ZoneOption = None, data: DataOption = None) -> None:
    """List the tokens by name, without their texts."""
    reader_zone = load_reader_zone(data, zone)
    async with open_appdb(data) as appdb:
        names = {pbx.sn: pbx.name for pbx in await appdb.pbxs()}
        rows = [
            [
                token.name,
                token.role,
                describe_scope(token.scope, names),
                _describe_use(token.export_filter),
                format_optional_time(token.created_at, reader_zone),
                format_optional_time(token.last_used_at, reader_zone),
            ]
            for token in await appdb.tokens.all()
        ]
    print_table(rows, ("name", "role", "scope", "for", "added", "last used"))


@app.command("link", epilog="Example: onhook token link")
def link(data: DataOption = None) -> None:
    """Print the link that signs in to the console of the running server, as its administrator."""
    config = load_config(data=data)
    server, token = read_server_info(config), read_token_file(config.admin_token_file)
    if not is_server_running(config) or server is None or server.hub is None or not token:
        raise Unavailable(
            _("the console is not running"), location=str(config.data), hint=_("start it with `onhook serve`")
        )
    print(f"http://{local_address(parse_address(server.hub.address, 'hub'))}/sign-in?token={token}")


@app.command("remove", epilog="Example: onhook token remove wallboard")
async def remove(name: TokenName, data: DataOption = None) -> None:
    """Revoke a token."""
    async with open_appdb(data) as appdb:
        await appdb.tokens.remove(name)
    print(_('Token "{name}" revoked.', name=name))


def _describe_use(export_filter: str | None) -> str:
    if export_filter is None:
        return _("everything")
    return _("exports: {search}", search=export_filter) if export_filter else _("exports")
