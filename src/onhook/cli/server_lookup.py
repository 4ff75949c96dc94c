"""Access to the data for commands: by the API of a running server, or else by the files.

While the hub runs it alone has the store open; so commands use its API, like any other program.
"""

import asyncio
import importlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from onhook.appdb.destination_spec import PayloadFormat
from onhook.cli.server_url import get_server
from onhook.config import Config
from onhook.lib.errors import NotFound, Unavailable, UsageError
from onhook.lib.messages import _
from onhook.ops.instance_lock import is_server_running, read_server_info
from onhook.store.contract import ExportFormat

Row = Mapping[str, Any]
"""One record, call or raw event of the API: times are texts, ISO 8601 in UTC."""

FilterValues = Mapping[str, str]
"""Filters as texts."""

WAIT_SECONDS_MAX = 10.0
WAIT_POLL_SECONDS = 0.1
"""Time to wait for a starting hub: as long as opening the store takes."""


class DataClient(Protocol):
    """Data access of commands; see the API of the same names. Errors are those of `onhook.lib.errors`."""

    def records(self, filters: FilterValues, limit: int) -> AsyncIterator[Row]:
        """Yield matching records, the latest first."""
        ...

    def calls(self, filters: FilterValues, limit: int) -> AsyncIterator[Row]:
        """Yield matching calls with their legs, the latest first."""
        ...

    def follow(self, filters: FilterValues) -> AsyncIterator[Row]:
        """Yield matching calls as they end, until cancelled; a call of which more becomes known is yielded again.
        Raises `Unavailable` without a server.
        """
        ...

    def export(self, filters: FilterValues, export_format: ExportFormat, form: FilterValues) -> AsyncIterator[bytes]:
        """Yield all matching records as one file, in chunks; of its `form`, `excel` is the separator of a CSV file for
        Excel, and `mask` that of external numbers.
        """
        ...

    def quarantine(self, limit: int) -> AsyncIterator[Row]:
        """Yield quarantined events, in order of number."""
        ...

    async def sql(self, query: str) -> Row:
        """Run one SELECT; return `columns`, `data` with a list of cells per row, `is_truncated`, and `data_at` and
        `age_seconds` of the copy that it read.
        """
        ...

    async def quarantined_raw_event(self, seq: int) -> Row:
        """Return why a raw event could not be parsed, in `reason`, and the `raw_event`."""
        ...

    async def retry(self, seq: int) -> Row:
        """Parse a raw event again; return `is_parsed`, and else the `reason`."""
        ...

    async def rejections(self) -> list[Row]:
        """Return the counters of requests to the intake, the latest first."""
        ...

    async def destinations(self) -> list[Row]:
        """Return all destinations, each with its status and `issues`, by name."""
        ...

    async def destination(self, name: str) -> Row:
        """Return the destination with this name. Raises `NotFound`."""
        ...

    async def preview(self, name: str, call_id: str, payload_format: PayloadFormat | None) -> Row:
        """Return the notification of a call (empty: the newest one) in a payload format (None: that of the
        destination). Raises `NotFound`, `UsageError`.
        """
        ...

    async def replay(self, name: str, filters: FilterValues) -> int:
        """Replay matching records to a destination; return their number."""
        ...

    async def preview_erasure(self, number: str) -> Row:
        """Return how much of what is stored has a number. Raises `UsageError`, `NotFound`."""
        ...

    async def erase(self, number: str, calls: int | None) -> Row:
        """Erase a number; `calls` confirms how many calls have it. Return what had it. Raises `UsageError`."""
        ...

    async def catch_up(self) -> None:
        """Bring the store up to date with the ledger, where no server does."""
        ...

    async def lag(self) -> int:
        """Return how many raw events the store has yet to process; negative where it is ahead of its ledger."""
        ...


async def open_data_client(config: Config) -> AbstractAsyncContextManager[DataClient]:
    """Open the access that is available now. Raises `Unavailable` when a server has the files open and
    does not answer.
    """
    if (remote := get_server()) is not None:
        return _load_opener("via_server", "open_remote_client")(config, remote)
    if not is_server_running(config):
        return _load_opener("via_files")(config)
    for _attempt in range(round(WAIT_SECONDS_MAX / WAIT_POLL_SECONDS)):
        server = read_server_info(config)
        if server is not None and server.hub is not None:
            return _load_opener("via_server")(config, server.hub.address)
        if server is not None and not server.has_process("hub"):
            raise UsageError(
                _("this machine runs the intake alone, which has no calls"),
                location=str(config.data),
                hint=_("run the command on a machine with a hub"),
            )
        await asyncio.sleep(WAIT_POLL_SECONDS)
        if not is_server_running(config):
            return _load_opener("via_files")(config)
    raise Unavailable(
        _("the server is running, but its hub does not answer"),
        location=str(config.data),
        hint=_("see the log of `onhook serve`; `onhook rebuild` repairs a damaged store"),
    )


def not_quarantined_error(seq: int) -> NotFound:
    """Return the error for an unknown number."""
    return NotFound(
        _("event {seq} is not in the quarantine", seq=seq), hint=_("`onhook quarantine list` shows its events")
    )


def _load_opener(module: str, name: str = "open_client") -> Callable[..., AbstractAsyncContextManager[DataClient]]:
    """Return the opener. Only the needed module is imported: the store costs a quarter of a second."""
    opener: Callable[..., AbstractAsyncContextManager[DataClient]] = getattr(
        importlib.import_module(f"onhook.cli.{module}"), name
    )
    return opener
