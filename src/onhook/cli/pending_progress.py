"""Progress of pending notifications of a destination on a terminal; nothing in a pipe."""

import asyncio
import contextlib

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from onhook.cli.server_lookup import open_data_client
from onhook.config import Config
from onhook.lib.errors import NotFound
from onhook.lib.messages import _
from onhook.ops.instance_lock import is_server_running

POLL_SECONDS = 0.5
"""As often as an eye can follow figures."""


async def follow_pending(config: Config, name: str) -> None:
    """Show the progress until nothing is pending, or until Ctrl-C; the server continues either way."""
    console = Console(stderr=True)
    if not console.is_terminal:
        return
    if not is_server_running(config):
        console.print(_("They are sent when `onhook serve` runs."), style="dim")
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with (
        contextlib.suppress(KeyboardInterrupt, asyncio.CancelledError),
        Progress(*columns, console=console) as progress,
    ):
        total = await _read_pending(config, name)
        task = progress.add_task("sent", total=total)
        while total and (pending := await _read_pending(config, name)):
            total = max(total, pending)
            progress.update(task, total=total, completed=total - pending)
            await asyncio.sleep(POLL_SECONDS)
        progress.update(task, completed=total)


async def _read_pending(config: Config, name: str) -> int:
    try:
        async with await open_data_client(config) as client:
            pending: int = (await client.destination(name))["pending"]
    except NotFound:
        return 0  # removed meanwhile
    return pending
