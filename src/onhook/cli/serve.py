"""`onhook serve`: run the server."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from onhook.appdb.contract import AccessRefused
from onhook.cli.commands import CommandGroup
from onhook.cli.open_appdb import open_appdb
from onhook.cli.options import DataOption, load_config, option_with_default
from onhook.config import ROLE_DEFAULT, Config, local_address, parse_address, read_service_manager
from onhook.lib.clock import SystemClock
from onhook.lib.errors import Unavailable, UsageError
from onhook.lib.messages import _
from onhook.ops.doctor.settings import check_settings
from onhook.ops.instance_lock import ServerInfo
from onhook.ops.ledger_reading import has_events
from onhook.pbx.yeastar.display import WEBHOOK_MENU
from onhook.runtime.engines import ENGINES
from onhook.runtime.logging import configure_logging
from onhook.runtime.supervisor import supervise

app = CommandGroup(add_completion=False)

_ADDRESS_METAVAR = "HOST:PORT"
IntakeOption = Annotated[
    str | None,
    option_with_default(
        "--intake", metavar=_ADDRESS_METAVAR, help_text=_("Address of the intake"), default="0.0.0.0:30012"
    ),
]
ConsoleOption = Annotated[
    str | None,
    option_with_default(
        "--console",
        metavar=_ADDRESS_METAVAR,
        help_text=_("Address of the console and its API"),
        default="127.0.0.1:8030",
    ),
]
PbxApiOption = Annotated[
    str | None,
    option_with_default(
        "--pbx-api",
        metavar=_ADDRESS_METAVAR,
        help_text=_("Address of the PBX API for apps"),
        default="127.0.0.1:8088",
    ),
]
RoleOption = Annotated[
    str | None,
    option_with_default(
        "--role", metavar="ROLE", help_text=_("Run the intake, the hub, or all, on this machine"), default="all"
    ),
]
DemoOption = Annotated[bool, typer.Option("--demo", help=_("Run a simulated PBX, with real signed webhooks"))]
ConsoleOpenOption = Annotated[
    bool, typer.Option("--console-open", help=_("Console without sign-in, on the loopback only"))
]
ServeZoneOption = Annotated[
    str | None, option_with_default("--zone", metavar="ZONE", help_text=_("Time zone of the console"), default="UTC")
]


@app.command(epilog="Example: onhook serve --data /var/lib/onhook --zone Europe/Berlin")
async def serve(
    *,
    data: DataOption = None,
    intake: IntakeOption = None,
    console: ConsoleOption = None,
    pbx_api: PbxApiOption = None,
    role: RoleOption = None,
    zone: ServeZoneOption = None,
    console_open: ConsoleOpenOption = False,
    demo: DemoOption = False,
) -> None:
    """Run the server until it is stopped by Ctrl-C or SIGTERM."""
    config = load_config(
        data=data,
        intake=intake,
        console=console,
        pbx_api=pbx_api,
        role=role,
        zone=zone,
        console_open="true" if console_open else None,
    )
    if demo and config.role != ROLE_DEFAULT:
        raise UsageError(_("a simulated PBX needs the intake and the hub"), hint=_("leave --role or --demo out"))
    config = msgspec.structs.replace(config, data=config.data.absolute())
    clock = SystemClock()
    configure_logging(config, clock, "serve")
    await supervise(
        config,
        clock,
        lambda server, token: _print_addresses(config, server, token, demo=demo),
        with_demo=demo,
        manager=read_service_manager(),
    )


async def _print_addresses(config: Config, server: ServerInfo, token: str, *, demo: bool) -> None:
    """Print the addresses and the next step. The token is printed on a terminal only: other outputs are kept."""
    console = f"http://{local_address(parse_address(server.hub.address, 'hub'))}/" if server.hub else ""
    if console and not config.console_open and token and sys.stdout.isatty():
        console += f"sign-in?token={token}"
    elif console and not config.console_open:
        command = f"onhook token link --data {shlex.quote(str(config.data))}"
        console += _(" (`{command}` prints the link that signs in)", command=command)
    intake = server.intake.address if server.intake else str(config.intake)
    port = intake.rpartition(":")[2]
    console_lines = [_("  Console  {address}", address=console or _("not started yet: see the log"))]
    intake_lines = [_("  Intake   {address}", address=f"http://{local_address(parse_address(intake, 'intake'))}/")]
    lines = [
        _("Onhook is running."),
        "",
        *(console_lines if server.has_process("hub") else []),
        *(intake_lines if server.has_process("intake") else []),
        *_pbx_api_lines(config, server),
        _(
            "  Data     {directory}  (the console's token is in {file})",
            directory=config.data,
            file=Path(config.admin_token_file).name,
        ),
        "",
        await _next_step(config, port, demo=demo),
        "",
    ]
    print("\n".join(lines), flush=True)


async def _next_step(config: Config, port: str, *, demo: bool) -> str:
    if demo:
        return _("  A simulated PBX is running: open the console.")
    try:
        async with open_appdb(str(config.data)) as appdb:
            pbx_count = len(await appdb.pbxs())
            check = await check_settings(appdb, has_events=await has_events(config, ENGINES.open_ledger))
    except (AccessRefused, Unavailable) as error:
        return _("  ERROR: {detail}.\n  {hint}", detail=error.message, hint=error.hint)
    if check.status == "ERROR":
        return _("  ERROR: {detail}.\n  {hint}", detail=check.detail, hint=check.hint)
    if pbx_count:
        return _(
            "  Registered PBXs: {count}. `onhook pbx list` lists them, `onhook doctor` checks them.", count=pbx_count
        )
    return _(
        "  Next: onhook pbx add Office --sn SERIAL --secret SECRET, and in the PBX, under\n"
        "  {menu}, event 30012 to http://THIS-MACHINE:{port}/ with the same secret.",
        menu=WEBHOOK_MENU,
        port=port,
    )


def _pbx_api_lines(config: Config, server: ServerInfo) -> list[str]:
    """Return the address of the PBX API; nothing without apps."""
    if server.pbx_api is None:
        return []
    scheme = "http" if config.pbx_api_plain else "https"
    address = local_address(parse_address(server.pbx_api.address, "pbx_api"))
    return [_("  PBX API  {url}", url=f"{scheme}://{address}/openapi/v1.0/")]
