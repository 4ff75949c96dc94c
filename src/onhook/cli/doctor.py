"""`onhook doctor`: what is right and what is not, a line each, and what to do."""

import asyncio
import os

import typer
from rich.console import Console
from rich.text import Text

from onhook.cli.formats import printable
from onhook.cli.options import DataOption, configured
from onhook.cli.reach import reach
from onhook.clock import SystemClock
from onhook.config import Config
from onhook.errors import OnhookError
from onhook.hub.examination import Finding, examine, findings_of_calls

app = typer.Typer(add_completion=False)

_MARKS = {"right": ("ok  ", "green"), "look": ("look", "yellow"), "wrong": ("BAD ", "bold red")}


@app.command(epilog="Example: onhook doctor --data /var/lib/onhook")
def doctor(data: DataOption = None) -> None:
    """Look at the data directory, the disk, the processes, the clock and what waits. Fails when something is wrong."""
    config = configured(data=data)
    console = Console()
    findings = list(examine(config, SystemClock()))
    if os.access(config.ledger_file, os.R_OK | os.W_OK):
        findings += asyncio.run(_ask(config))
    with console.capture() as drawn:
        for finding in findings:
            _draw(console, finding)
    print(drawn.get(), end="")
    raise typer.Exit(any(finding.grade == "wrong" for finding in findings))


def _draw(console: Console, finding: Finding) -> None:
    mark, style = _MARKS[finding.grade]
    advice = f": {finding.todo}" if finding.todo else ""
    console.print(Text(f"{mark} ", style=style) + Text(printable(f"{finding.what}{advice}")), soft_wrap=True)


async def _ask(config: Config) -> list[Finding]:
    """What only the calls themselves can tell."""
    try:
        async with await reach(config) as way:
            behind = await way.behind()
            quarantined = [row async for row in way.quarantine(1)]
            return list(findings_of_calls(behind, bool(quarantined), await way.tallies()))
    except OnhookError as error:
        return [Finding("wrong", f"the calls cannot be read: {error.what}", error.todo)]
