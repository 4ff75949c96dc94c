"""How far a subscription has come with what is owed to it, for a person who waits; nothing in a pipe."""

import asyncio
import contextlib

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from onhook.cli.server_lookup import reach
from onhook.config import Config
from onhook.lib.errors import NotFound
from onhook.ops.instance_lock import is_running

LOOK_SECONDS = 0.5
"""As often as an eye can follow figures."""


async def follow(config: Config, name: str) -> None:
    """Show progress until nothing is owed any more, or until Ctrl-C; the sending goes on in the server either way."""
    console = Console(stderr=True)
    if not console.is_terminal:
        return
    if not is_running(config):
        console.print("It is sent when `onhook serve` runs.", style="dim")
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with (
        contextlib.suppress(KeyboardInterrupt, asyncio.CancelledError),
        Progress(*columns, console=console) as progress,
    ):
        most = await _owed(config, name)
        task = progress.add_task("sent", total=most)
        while most and (owed := await _owed(config, name)):
            most = max(most, owed)
            progress.update(task, total=most, completed=most - owed)
            await asyncio.sleep(LOOK_SECONDS)
        progress.update(task, completed=most)


async def _owed(config: Config, name: str) -> int:
    try:
        async with await reach(config) as way:
            owed: int = (await way.subscription(name))["standing"]["owed"]
    except NotFound:
        return 0  # removed meanwhile
    return owed
