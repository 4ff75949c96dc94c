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
from onhook.ops.instance_lock import is_server_running, read_server_info
from onhook.store.contract import ExportFormat

Row = Mapping[str, Any]
"""What the API answers for one record, call or raw event: times are texts, ISO 8601 in UTC."""

FilterValues = Mapping[str, str]
"""Filters as people write them."""

WAIT_SECONDS_MAX = 10.0
WAIT_POLL_SECONDS = 0.1
"""How long a command waits for a hub that is being started: as long as opening the store takes."""


class DataClient(Protocol):
    """What commands ask of the calls; see the API of the same names. Errors are those of `onhook.lib.errors`."""

    def records(self, filters: FilterValues, limit: int) -> AsyncIterator[Row]:
        """Records that match, the latest first."""
        ...

    def calls(self, filters: FilterValues, limit: int) -> AsyncIterator[Row]:
        """Calls that match, with their legs, the latest first."""
        ...

    def export(self, filters: FilterValues, export_format: ExportFormat) -> AsyncIterator[bytes]:
        """All records that match as one file, in pieces."""
        ...

    def quarantine(self, limit: int) -> AsyncIterator[Row]:
        """What could not be read, in order of number."""
        ...

    async def quarantined_raw_event(self, seq: int) -> Row:
        """Why a raw event could not be parsed, in `reason`, and the `raw_event`."""
        ...

    async def retry(self, seq: int) -> Row:
        """Parse a raw event again; `is_parsed`, and else the `reason`."""
        ...

    async def rejections(self) -> list[Row]:
        """What happened at the door, the latest first."""
        ...

    async def destinations(self) -> list[Row]:
        """All destinations, each with its status and `issues`, by name."""
        ...

    async def destination(self, name: str) -> Row:
        """The one with this name, the same. Raises `NotFound`."""
        ...

    async def replay(self, name: str, filters: FilterValues) -> int:
        """Have what matches sent again to a destination; how many records."""
        ...

    async def lag(self) -> int:
        """How many raw events the store has yet to read; negative where it is ahead of its ledger."""
        ...


async def open_data_client(config: Config) -> AbstractAsyncContextManager[DataClient]:
    """The way that is open now. Raises `Unavailable` when a server has the files and does not answer."""
    if not is_server_running(config):
        return _load_opener("via_files")(config)
    for _ in range(round(WAIT_SECONDS_MAX / WAIT_POLL_SECONDS)):
        server = read_server_info(config)
        if server is not None and server.hub is not None:
            return _load_opener("via_server")(config, server.hub.address)
        await asyncio.sleep(WAIT_POLL_SECONDS)
        if not is_server_running(config):
            return _load_opener("via_files")(config)
    raise Unavailable(
        "the server runs, but its hub does not answer",
        location=str(config.data),
        hint="the log of `onhook serve` says why; `onhook rebuild` makes a damaged store again",
    )


def not_quarantined_error(seq: int) -> NotFound:
    """What both ways say of a number that is not there."""
    return NotFound(f"raw event {seq} is not in the quarantine", hint="`onhook quarantine list` shows what is")


def _load_opener(module: str) -> Callable[..., AbstractAsyncContextManager[DataClient]]:
    """Of the two ways only the one that is taken is imported: the store costs a quarter of a second."""
    opener: Callable[..., AbstractAsyncContextManager[DataClient]] = importlib.import_module(
        f"onhook.cli.{module}"
    ).open_client
    return opener
