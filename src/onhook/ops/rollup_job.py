"""Sums of weeks that are over, made in the background while the hub has better things to do."""

import asyncio

from onhook.lib.errors import Unavailable
from onhook.store.contract import Store

REST_FACTOR = 3
"""After each week it rests so many times as long as that took: the projector writes into the same file."""

IDLE_SECONDS = 5.0
"""How long a week that is over, or that a late report changed, may wait to be summed up; until then it is counted."""


async def sum_up_for_ever(store: Store) -> None:
    """Sum up week after week. Ends by cancellation only."""
    now = asyncio.get_running_loop().time
    while True:
        begun_at = now()
        is_done = not await _sum_up_one(store)
        await asyncio.sleep(IDLE_SECONDS if is_done else (now() - begun_at) * REST_FACTOR)


async def _sum_up_one(store: Store) -> bool:
    try:
        return await store.sum_up()
    except Unavailable:
        # The projector meets the same trouble, and tells of it; nothing is lost here but time.
        return False
