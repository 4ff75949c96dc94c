"""Lanes come to an end, and destinations are opened."""

import asyncio

import pytest

from onhook.config import Config
from onhook.delivery.destinations.registry import destination_kinds
from onhook.delivery.dispatcher import open_destination, wait_or_cancel
from onhook.lib.errors import UsageError
from tests.delivery.factories import destination


async def test_lanes_end_side_by_side() -> None:
    """One that does not end by itself is broken off, and costs the others nothing."""
    told = asyncio.Event()
    ends, hangs = asyncio.create_task(_wait(told)), asyncio.create_task(_wait(asyncio.Event()))
    told.set()
    await wait_or_cancel([hangs, ends], 0.01)
    assert (ends.cancelled(), hangs.cancelled()) == (False, True)
    await wait_or_cancel([], 0.01)


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


def test_an_unknown_kind_of_destination_is_one_clear_error() -> None:
    """As after a step back to an older Onhook; it names what is known."""
    with pytest.raises(UsageError, match=r"CRM has the unknown destination kind 'pigeon'") as told:
        open_destination(destination_kinds(Config()), destination(kind="pigeon"), ())
    assert "webhook" in str(told.value)
