"""Roll-ups of past weeks, computed in the background."""

import asyncio

from onhook.lib.errors import Unavailable
from onhook.store.contract import Store

REST_FACTOR = 3
"""After each week the job pauses for so many times as long as that took: the projector writes to the same file."""

IDLE_SECONDS = 5.0
"""How long a week that is over, or that a late event changed, may wait for its roll-up; until then it is counted."""


async def run_rollup_job(store: Store) -> None:
    """Roll up week after week until cancelled."""
    loop_time = asyncio.get_running_loop().time
    while True:
        started_at = loop_time()
        is_idle = not await _sum_up_week(store)
        await asyncio.sleep(IDLE_SECONDS if is_idle else (loop_time() - started_at) * REST_FACTOR)


async def _sum_up_week(store: Store) -> bool:
    try:
        return await store.roll_up()
    except Unavailable:
        # The projector meets the same error, and reports it; only time is lost here.
        return False
