"""Roll-ups of past weeks, computed in the background."""

import asyncio

from onhook.lib.errors import Unavailable
from onhook.store.contract import Store
from onhook.store.position_notifier import PositionNotifier

REST_FACTOR = 3
"""After each week the job pauses for so many times as long as that took: the projector writes to the same file."""

IDLE_SECONDS = 5.0
"""How long a week that is over, or that a late event changed, may wait for its roll-up; until then it is counted."""

CHECK_SECONDS = 60.0
"""Time between two checks while the store does not change."""


async def run_rollup_job(store: Store, position_notifier: PositionNotifier) -> None:
    """Roll up week after week until cancelled. Only new records end a week or change one."""
    loop_time = asyncio.get_running_loop().time
    while True:
        started_at, position = loop_time(), position_notifier.position
        if await _sum_up_week(store):
            await asyncio.sleep((loop_time() - started_at) * REST_FACTOR)
        else:
            await asyncio.sleep(IDLE_SECONDS)
            await position_notifier.wait(position, CHECK_SECONDS)


async def _sum_up_week(store: Store) -> bool:
    try:
        return await store.roll_up()
    except Unavailable:
        # The projector meets the same error, and reports it; only time is lost here.
        return False
