"""One way to what was kept, whether the server runs or not: its API, or else the files themselves.

While the hub runs it alone has the store open; so commands ask it, as any other program would.
"""

import asyncio
import importlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from onhook.config import Config
from onhook.lib.errors import NotFound, Unavailable
from onhook.ops.instance_lock import is_running, read_running
from onhook.store.contract import ExportFormat

Row = Mapping[str, Any]
"""What the API answers for one record, call or report: moments are texts, ISO 8601 in UTC."""

Where = Mapping[str, str]
"""Filters as people write them."""

WAIT_SECONDS_MAX = 10.0
WAIT_STEP_SECONDS = 0.1
"""How long a command waits for a hub that is being started: as long as opening the store takes."""


class Reach(Protocol):
    """What commands ask of the calls; see the API of the same names. Errors are those of `onhook.lib.errors`."""

    def records(self, where: Where, limit: int) -> AsyncIterator[Row]:
        """Records that match, the latest first."""
        ...

    def calls(self, where: Where, limit: int) -> AsyncIterator[Row]:
        """Calls that match, with their legs, the latest first."""
        ...

    def export(self, where: Where, form: ExportFormat) -> AsyncIterator[bytes]:
        """All records that match as one file, in pieces."""
        ...

    def quarantine(self, limit: int) -> AsyncIterator[Row]:
        """What could not be read, in order of number."""
        ...

    async def quarantined(self, seq: int) -> Row:
        """Why a report could not be read, in `reason`, and the `report`."""
        ...

    async def retry(self, seq: int) -> Row:
        """Read a report again; `is_read`, and else the `reason`."""
        ...

    async def tallies(self) -> list[Row]:
        """What happened at the door, the latest first."""
        ...

    async def subscriptions(self) -> list[Row]:
        """All subscriptions, each with its `standing` and `plights`, by name."""
        ...

    async def subscription(self, name: str) -> Row:
        """The one with this name, the same. Raises `NotFound`."""
        ...

    async def replay(self, name: str, where: Where) -> int:
        """Have what matches sent again to a subscription; how many records."""
        ...

    async def behind(self) -> int:
        """How many reports the store has yet to read; negative where it is ahead of its ledger."""
        ...


async def reach(config: Config) -> AbstractAsyncContextManager[Reach]:
    """The way that is open now. Raises `Unavailable` when a server has the files and does not answer."""
    if not is_running(config):
        return _opener("via_files")(config)
    for _ in range(round(WAIT_SECONDS_MAX / WAIT_STEP_SECONDS)):
        running = read_running(config)
        if running is not None and running.hub is not None:
            return _opener("via_server")(config, running.hub.address)
        await asyncio.sleep(WAIT_STEP_SECONDS)
        if not is_running(config):
            return _opener("via_files")(config)
    raise Unavailable(
        "the server runs, but its hub does not answer",
        where=str(config.data),
        todo="the log of `onhook serve` says why; `onhook rebuild` makes a damaged store again",
    )


def not_quarantined(seq: int) -> NotFound:
    """What both ways say of a number that is not there."""
    return NotFound(f"report {seq} is not in the quarantine", todo="`onhook quarantine list` shows what is")


def _opener(module: str) -> Callable[..., AbstractAsyncContextManager[Reach]]:
    """Of the two ways only the one that is taken is imported: the store costs a quarter of a second."""
    opener: Callable[..., AbstractAsyncContextManager[Reach]] = importlib.import_module(
        f"onhook.cli.{module}"
    ).open_reach
    return opener
