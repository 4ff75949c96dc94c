"""Stopping workers, and opening destinations."""

import asyncio

import pytest

from onhook.config import Config
from onhook.delivery.destinations.registry import destination_kinds
from onhook.delivery.dispatcher import open_destination, wait_or_cancel
from onhook.lib.errors import UsageError
from tests.delivery.factories import destination


async def test_wait_or_cancel_stops_tasks_concurrently() -> None:
    """One that does not end by itself is cancelled, and does not delay the others."""
    stop_requested = asyncio.Event()
    ends, hangs = asyncio.create_task(_wait(stop_requested)), asyncio.create_task(_wait(asyncio.Event()))
    stop_requested.set()
    await wait_or_cancel([hangs, ends], 0.01)
    assert (ends.cancelled(), hangs.cancelled()) == (False, True)
    await wait_or_cancel([], 0.01)


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


def test_open_destination_unknown_kind_is_one_clear_error() -> None:
    """As after a downgrade; the error names the known kinds."""
    with pytest.raises(UsageError, match=r"CRM has the unknown destination kind 'pigeon'") as error_info:
        open_destination(destination_kinds(Config()), destination(kind="pigeon"), ())
    assert "webhook" in str(error_info.value)
