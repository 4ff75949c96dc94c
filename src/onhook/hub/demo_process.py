"""A made-up PBX that posts real signed webhooks to the intake, like any other PBX would."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from onhook.clock import Clock
from onhook.config import Config
from onhook.hub.child import Opened, run_child
from onhook.hub.demo import demo_secret, demo_url
from onhook.settings.settings import Settings
from onhook.simulator.plan import SimulationPlan, demo_plan
from onhook.simulator.sender import simulate


@asynccontextmanager
async def open_demo(config: Config, clock: Clock) -> AsyncIterator[Opened]:
    """The made-up PBX, calling. `config.intake` is where the intake listens."""
    settings = Settings(config.settings_file)
    try:
        sn, secret = demo_secret(settings)
    finally:
        settings.close()
    # Another seed each time, or a second start would send what the first has sent.
    seed = clock.microseconds() // 1_000_000
    plan = demo_plan(demo_url(config.intake), sn, secret, seed=seed)
    calling = asyncio.create_task(_call(plan, clock), name="demo")
    try:
        yield Opened("", (calling,))
    finally:
        calling.cancel()
        await asyncio.wait([calling])


async def _call(plan: SimulationPlan, clock: Clock) -> None:
    await simulate(plan, clock)


if __name__ == "__main__":
    sys.exit(run_child("demo", open_demo))
