"""`onhook doctor`: health checks, a line each, with what to do."""

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from onhook.appdb.appdb import AppDb
from onhook.cdr.utc_offset import get_zone
from onhook.cli.commands import CommandGroup
from onhook.cli.open_appdb import open_appdb
from onhook.cli.options import DataOption, ZoneOption, load_reader_config
from onhook.cli.server_lookup import open_data_client
from onhook.config import Config
from onhook.lib.clock import SystemClock
from onhook.lib.errors import OnhookError, UsageError
from onhook.lib.messages import _
from onhook.lib.text import replace_control_characters
from onhook.ops.doctor.bundle import write_bundle
from onhook.ops.doctor.check import Check
from onhook.ops.doctor.cluster import check_cluster
from onhook.ops.doctor.host import QUARANTINE_COUNT_MAX, check_data, check_installation
from onhook.ops.doctor.pbx import PbxCheckTarget, check_pbx, load_check_target
from onhook.ops.instance_lock import has_appdb, is_server_running, read_server_info
from onhook.runtime.engines import ENGINES

app = CommandGroup(add_completion=False)

_STATUS_STYLES = {"OK": "green", "WARNING": "yellow", "ERROR": "bold red"}
_STATUS_WIDTH = 8


@app.command(epilog="Example: onhook doctor --data /var/lib/onhook")
async def doctor(
    name: Annotated[str | None, typer.Argument(metavar="PBX", help=_("Check this PBX"), show_default=False)] = None,
    *,
    webhook_url: Annotated[
        str,
        typer.Option(
            "--webhook", metavar="URL", help=_("URL of the webhook that should be set in the PBX"), show_default=False
        ),
    ] = "",
    bundle: Annotated[
        Path | None,
        typer.Option("--bundle", metavar="FILE", help=_("Write a ZIP for a bug report, without secrets and numbers")),
    ] = None,
    cluster: Annotated[bool, typer.Option("--cluster", help=_("Check all machines of the installation"))] = False,
    zone: ZoneOption = None,
    data: DataOption = None,
) -> None:
    """Run health checks for the installation or for one PBX: name, port, certificate, credentials, firmware, webhooks,
    clock; configuration and CDR source of an Asterisk. Fails when a check has an error.
    """
    config = load_reader_config(data, zone)
    console = Console()
    if cluster:
        if name is not None:
            raise UsageError(_("--cluster checks machines, not a PBX"), hint=_("leave one of them out"))
        checks = [check async for check in check_cluster(config, SystemClock(), ENGINES)]
    elif name is None:
        checks = [check async for check in check_installation(config, SystemClock(), ENGINES)]
        if _has_data_files(config):
            checks += await _run_data_checks(config)
    else:
        async with open_appdb(data) as appdb:
            target = await load_check_target(appdb, name, webhook_url, get_zone(config.zone))
            checks = await _run_pbx_checks(config, appdb, target)
    with console.capture() as captured_output:
        for check in checks:
            _print_check(console, check)
    print(captured_output.get(), end="")
    if bundle is not None:
        await write_bundle(config, SystemClock(), checks, bundle, ENGINES.open_appdb)
        print(_("Written to {path}: look through it before you send it.", path=bundle))
    raise typer.Exit(any(check.status == "ERROR" for check in checks))


def _print_check(console: Console, check: Check) -> None:
    hint_text = f": {check.hint}" if check.hint else ""
    console.print(
        Text(f"{check.status:{_STATUS_WIDTH}}", style=_STATUS_STYLES[check.status])
        + Text(replace_control_characters(f"{check.detail}{hint_text}")),
        soft_wrap=True,
    )
    if check.lines:
        console.print(Text(f"{'':{_STATUS_WIDTH}}in {check.file}:"), soft_wrap=True)
    for line in check.lines:
        console.print(Text(f"{'':{_STATUS_WIDTH}}  {replace_control_characters(line)}"), soft_wrap=True)


async def _run_pbx_checks(config: Config, appdb: AppDb, target: PbxCheckTarget) -> list[Check]:
    return [check async for check in check_pbx(config, appdb, SystemClock(), target, ENGINES.open_ledger)]


def _has_data_files(config: Config) -> bool:
    """Return whether the calls can be read now, without creating a file; a missing file, and a hub that is starting,
    are reported by another check.
    """
    if not config.ledger and not os.access(config.ledger_file, os.R_OK | os.W_OK):
        return False
    if is_server_running(config):
        server = read_server_info(config)
        return server is not None and server.hub is not None
    return has_appdb(config) and config.store_file.exists()


async def _run_data_checks(config: Config) -> list[Check]:
    """Return the checks that need call data."""
    try:
        async with await open_data_client(config) as client:
            lag = await client.lag()
            quarantined_count = len([seq async for seq in client.quarantine(QUARANTINE_COUNT_MAX)])
            counters, now = await client.rejections(), SystemClock().now()
            return list(check_data(lag, quarantined_count, counters, get_zone(config.zone), now))
    except OnhookError as error:
        return [Check("ERROR", _("the calls cannot be read: {message}", message=error.message), error.hint)]
