"""`onhook doctor`: what is right and what is not, a line each, and what to do."""

import asyncio
import os
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from onhook.appdb.appdb import AppDb
from onhook.cli.formats import replace_control_characters
from onhook.cli.open_appdb import open_appdb
from onhook.cli.options import DataOption, load_config
from onhook.cli.server_lookup import open_data_client
from onhook.config import Config
from onhook.lib.clock import SystemClock
from onhook.lib.errors import OnhookError
from onhook.ops.doctor.host import Check, check_data, check_installation
from onhook.ops.doctor.pbx import PbxCheckTarget, check_pbx, load_check_target

app = typer.Typer(add_completion=False)

_STATUS_LABELS = {"right": ("ok  ", "green"), "look": ("look", "yellow"), "wrong": ("BAD ", "bold red")}


@app.command(epilog="Example: onhook doctor --data /var/lib/onhook")
def doctor(
    name: Annotated[
        str | None, typer.Argument(metavar="PBX", help="Look at this PBX instead.", show_default=False)
    ] = None,
    *,
    webhook: Annotated[
        str,
        typer.Option("--webhook", metavar="URL", help="The address that should stand in the PBX.", show_default=False),
    ] = "",
    data: DataOption = None,
) -> None:
    """Look at the house, or at one PBX: name, port, certificate, credentials, firmware, webhooks, clock; how an
    Asterisk is set, and its CDRs. Fails when something is wrong."""
    config = load_config(data=data)
    console = Console()
    if name is None:
        checks = list(check_installation(config, SystemClock()))
        if os.access(config.ledger_file, os.R_OK | os.W_OK):
            checks += asyncio.run(_run_data_checks(config))
    else:
        with open_appdb(data) as appdb:
            target = load_check_target(appdb, name, webhook)
            checks = asyncio.run(_run_pbx_checks(config, appdb, target))
    with console.capture() as captured_output:
        for check in checks:
            _print_check(console, check)
    print(captured_output.get(), end="")
    raise typer.Exit(any(check.grade == "wrong" for check in checks))


def _print_check(console: Console, finding: Check) -> None:
    label, style = _STATUS_LABELS[finding.grade]
    hint_text = f": {finding.todo}" if finding.todo else ""
    console.print(
        Text(f"{label} ", style=style) + Text(replace_control_characters(f"{finding.what}{hint_text}")), soft_wrap=True
    )
    if finding.lines:
        console.print(Text(f"     in {finding.file}:"), soft_wrap=True)
    for line in finding.lines:
        console.print(Text(f"       {replace_control_characters(line)}"), soft_wrap=True)


async def _run_pbx_checks(config: Config, settings: AppDb, one: PbxCheckTarget) -> list[Check]:
    return [check async for check in check_pbx(config, settings, SystemClock(), one)]


async def _run_data_checks(config: Config) -> list[Check]:
    """What only the calls themselves can tell."""
    try:
        async with await open_data_client(config) as client:
            lag = await client.behind()
            quarantined_rows = [row async for row in client.quarantine(1)]
            return list(check_data(lag, bool(quarantined_rows), await client.tallies()))
    except OnhookError as error:
        return [Check("wrong", f"the calls cannot be read: {error.what}", error.todo)]
