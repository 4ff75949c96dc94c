"""Process of a simulated PBX that posts real signed webhooks to the intake."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import msgspec

from onhook.config import Config
from onhook.lib.clock import Clock
from onhook.runtime.child import RunningService, run_child
from onhook.runtime.engines import ENGINES
from onhook.simulator.demo import WITH_HISTORY, get_demo_credentials, intake_url
from onhook.simulator.office_plan import SimulationPlan, demo_plan
from onhook.simulator.sender import simulate


@asynccontextmanager
async def open_demo(config: Config, clock: Clock, *, with_history: bool) -> AsyncIterator[RunningService]:
    """Yield the running simulated PBX; with past calls first where asked. `config.intake` is the intake's address."""
    appdb = ENGINES.open_appdb(config)
    try:
        sn, secret = await get_demo_credentials(appdb)
    finally:
        await appdb.close()
    # Another seed each time, or a second start would send the same calls.
    seed = clock.microseconds() // 1_000_000
    plan = demo_plan(intake_url(config.intake), sn, secret, seed=seed)
    if not with_history:
        plan = msgspec.structs.replace(plan, history_calls=0)
    simulation_task = asyncio.create_task(_run_simulation(plan, clock), name="demo")
    try:
        yield RunningService("", (simulation_task,))
    finally:
        simulation_task.cancel()
        await asyncio.wait([simulation_task])


async def _run_simulation(plan: SimulationPlan, clock: Clock) -> None:
    await simulate(plan, clock)


if __name__ == "__main__":
    sys.exit(run_child("demo", partial(open_demo, with_history=WITH_HISTORY in sys.argv)))
