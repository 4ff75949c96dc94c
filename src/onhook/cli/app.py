"""`onhook app`: apps of the PBX API; changes have effect at once."""

from typing import Annotated, Literal

import msgspec
import typer

from onhook.appdb.api_behaviour import parse_behaviour
from onhook.appdb.api_clients import App
from onhook.cli.commands import CommandGroup
from onhook.cli.formats import format_optional_time, print_table
from onhook.cli.open_appdb import open_appdb
from onhook.cli.options import DataOption, ZoneOption, argument_with_default, load_reader_zone, option_with_default
from onhook.lib.clock import SystemClock
from onhook.lib.errors import NotFound
from onhook.lib.messages import _
from onhook.lib.timestamps import format_time

app = CommandGroup(add_completion=False, help=_("Manage apps of the PBX API."), epilog="Example: onhook app list")

AppName = Annotated[str, typer.Argument(metavar="NAME", help=_("Name or client id of the app"))]
FormatOption = Annotated[Literal["text", "json"], typer.Option("--format", help=_("Output format"))]


class AppCredentials(msgspec.Struct, frozen=True):
    """Credentials as `--format json` shows them."""

    name: str
    client_id: str
    client_secret: str


@app.command("add", epilog="Example: onhook app add crm --pbx Office --format json")
async def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help=_("Name of the app"))],
    *,
    pbx: Annotated[
        list[str] | None,
        option_with_default("--pbx", metavar="NAME", help_text=_("PBX that it may see; repeatable"), default="all"),
    ] = None,
    address: Annotated[
        list[str] | None,
        option_with_default(
            "--address", metavar="NETWORK", help_text=_("Allowed client address; repeatable"), default="any"
        ),
    ] = None,
    date_format: Annotated[
        str | None,
        option_with_default("--date-format", help_text=_("Date format of its PBX"), default="YYYY/MM/DD"),
    ] = None,
    time_format: Annotated[
        str | None, option_with_default("--time-format", help_text=_("Clock of its PBX: 24 or 12 hours"), default="24")
    ] = None,
    time_forms: Annotated[
        str | None,
        option_with_default(
            "--time-forms",
            help_text=_("Accepted forms of time: seconds, display, no-rows-for-seconds"),
            default="seconds,display",
        ),
    ] = None,
    versions: Annotated[
        str | None, option_with_default("--versions", help_text=_("API versions"), default="v1.0,v2.0")
    ] = None,
    firmware: Annotated[
        str | None,
        option_with_default("--firmware", help_text=_("Firmware that its PBX reports"), default="37.23.0.123"),
    ] = None,
    model: Annotated[
        str | None, option_with_default("--model", help_text=_("Model that its PBX reports"), default="P570")
    ] = None,
    payload_format: Annotated[
        str | None,
        option_with_default("--payload-format", help_text=_("Event format on its sockets"), default="p-2026"),
    ] = None,
    allow_control: Annotated[
        bool, typer.Option("--allow-control", help=_("Let it place and end calls through its one PBX"))
    ] = False,
    output_format: FormatOption = "text",
    data: DataOption = None,
) -> None:
    """Add an app and print its credentials once; the secret is stored as a hash."""
    behaviour = parse_behaviour(
        date_format=date_format,
        time_format=time_format,
        time_forms=time_forms,
        versions=versions,
        firmware=firmware,
        model=model,
        payload_format=payload_format,
    )
    async with open_appdb(data, create=True) as appdb:
        new_app, client_secret = await appdb.apps.add(
            name,
            now_us=SystemClock().microseconds(),
            pbxs=[(await appdb.pbx(pbx_name)).sn for pbx_name in pbx or ()],
            networks=address or (),
            behaviour=behaviour,
            allow_control=allow_control,
        )
    _print_credentials(new_app, client_secret, output_format)


@app.command("change", epilog="Example: onhook app change crm --pbx Office --allow-control")
async def change(
    name: AppName,
    *,
    pbx: Annotated[
        list[str] | None,
        typer.Option("--pbx", metavar="NAME", help=_("PBX that it may see; repeatable; `all` is every PBX")),
    ] = None,
    address: Annotated[
        list[str] | None,
        typer.Option("--address", metavar="NETWORK", help=_("Allowed client address; repeatable; `any` is every one")),
    ] = None,
    allow_control: Annotated[
        bool | None,
        typer.Option("--allow-control/--no-control", help=_("Let it place and end calls through its one PBX")),
    ] = None,
    data: DataOption = None,
) -> None:
    """Change what an app may do; its open sockets follow within a second."""
    async with open_appdb(data) as appdb:
        changed_app = await appdb.apps.change(
            name,
            pbxs=None if pbx is None else [(await appdb.pbx(pbx_name)).sn for pbx_name in pbx if pbx_name != "all"],
            networks=None if address is None else [network for network in address if network != "any"],
            allow_control=allow_control,
        )
    print(_('App "{name}" changed.', name=changed_app.name))


@app.command("list", epilog="Example: onhook app list")
async def list_apps(zone: ZoneOption = None, data: DataOption = None) -> None:
    """List the apps, without their secrets."""
    reader_zone = load_reader_zone(data, zone)
    async with open_appdb(data) as appdb:
        names = {pbx.sn: pbx.name for pbx in await appdb.pbxs()}
        rows = [
            [
                api_app.name,
                api_app.client_id,
                ", ".join(names.get(sn, sn) for sn in api_app.pbxs) or "all",
                ", ".join(api_app.networks) or "any",
                _("yes") if api_app.allow_control else _("no"),
                format_time(api_app.created_at, reader_zone),
                format_optional_time(api_app.last_used_at, reader_zone),
            ]
            for api_app in await appdb.apps.all()
        ]
    print_table(rows, ("name", "client id", "pbxs", "addresses", "control", "added", "last used"))


@app.command("renew", epilog="Example: onhook app renew crm --format json")
async def renew(name: AppName, *, output_format: FormatOption = "text", data: DataOption = None) -> None:
    """Replace the secret of an app and print the new one once; the old secret and its tokens become invalid."""
    async with open_appdb(data) as appdb:
        renewed_app, client_secret = await appdb.apps.renew_secret(name)
    _print_credentials(renewed_app, client_secret, output_format)


@app.command("remove", epilog="Example: onhook app remove crm")
async def remove(name: AppName, data: DataOption = None) -> None:
    """Remove an app; its credentials, tokens and sockets become invalid."""
    async with open_appdb(data) as appdb:
        await appdb.apps.remove(name)
    print(_('App "{removed_app_name}" removed.', removed_app_name=name))


@app.command("unblock", epilog="Example: onhook app unblock 192.0.2.7")
async def unblock(
    address: Annotated[
        str | None,
        argument_with_default(metavar="ADDRESS", help_text=_("Blocked address"), default="all"),
    ] = None,
    data: DataOption = None,
) -> None:
    """Unblock failed logins of an address before the block of an hour ends; valid credentials are never blocked."""
    async with open_appdb(data) as appdb:
        blocked_addresses = await appdb.apps.blocked_addresses(SystemClock().microseconds())
        count = await appdb.apps.unblock(address)
    if address is not None and not count:
        address_list = ", ".join(blocked_address.address for blocked_address in blocked_addresses) or "none is blocked"
        raise NotFound(
            _("{address} is not blocked", address=repr(address[:80])),
            hint=_("blocked addresses: {address_list}", address_list=address_list),
        )
    print(_("Unblocked addresses: {count}.", count=count))


def _print_credentials(api_app: App, client_secret: str, output_format: str) -> None:
    if output_format == "json":
        print(msgspec.json.encode(AppCredentials(api_app.name, api_app.client_id, client_secret)).decode())
        return
    print(
        _(
            "client_id      {client_id}\nclient_secret  {client_secret}",
            client_id=api_app.client_id,
            client_secret=client_secret,
        )
    )
