"""`onhook doctor`: what is right and what is not, a line each, and what to do."""

import asyncio
import os
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from onhook.appdb.appdb import AppDb
from onhook.cli.formats import printable
from onhook.cli.open_appdb import open_settings
from onhook.cli.options import DataOption, configured
from onhook.cli.server_lookup import reach
from onhook.config import Config
from onhook.lib.clock import SystemClock
from onhook.lib.errors import OnhookError
from onhook.ops.doctor.host import Finding, examine, findings_of_calls
from onhook.ops.doctor.pbx import Declared, declared, examine_pbx

app = typer.Typer(add_completion=False)

_MARKS = {"right": ("ok  ", "green"), "look": ("look", "yellow"), "wrong": ("BAD ", "bold red")}


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
    config = configured(data=data)
    console = Console()
    if name is None:
        findings = list(examine(config, SystemClock()))
        if os.access(config.ledger_file, os.R_OK | os.W_OK):
            findings += asyncio.run(_ask(config))
    else:
        with open_settings(data) as settings:
            one = declared(settings, name, webhook)
            findings = asyncio.run(_examined(config, settings, one))
    with console.capture() as drawn:
        for finding in findings:
            _draw(console, finding)
    print(drawn.get(), end="")
    raise typer.Exit(any(finding.grade == "wrong" for finding in findings))


def _draw(console: Console, finding: Finding) -> None:
    mark, style = _MARKS[finding.grade]
    advice = f": {finding.todo}" if finding.todo else ""
    console.print(Text(f"{mark} ", style=style) + Text(printable(f"{finding.what}{advice}")), soft_wrap=True)
    if finding.lines:
        console.print(Text(f"     in {finding.file}:"), soft_wrap=True)
    for line in finding.lines:
        console.print(Text(f"       {printable(line)}"), soft_wrap=True)


async def _examined(config: Config, settings: AppDb, one: Declared) -> list[Finding]:
    return [finding async for finding in examine_pbx(config, settings, SystemClock(), one)]


async def _ask(config: Config) -> list[Finding]:
    """What only the calls themselves can tell."""
    try:
        async with await reach(config) as way:
            behind = await way.behind()
            quarantined = [row async for row in way.quarantine(1)]
            return list(findings_of_calls(behind, bool(quarantined), await way.tallies()))
    except OnhookError as error:
        return [Finding("wrong", f"the calls cannot be read: {error.what}", error.todo)]
