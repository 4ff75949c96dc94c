"""The whole system on one seed: whatever fails, the model and the machine agree.

A failing seed prints its steps. `PYTHONHASHSEED=0 SEEDS=…` with `-k 'seed-17'` repeats it, step by step.
"""

from pathlib import Path

import pytest

from onhook import projector
from onhook.cdr.call_details import CallDetails
from onhook.pbx.yeastar.payload import Yeastar
from onhook.store import connections
from onhook.sync import sync_schedule
from tests import counts
from tests.simulation.steps import run_steps
from tests.simulation.virtual_time import VirtualTime, run_simulation
from tests.simulation.world import World, open_world

STEPS = 40

POLL_SECONDS = 0.5
"""Each poll of the projector is a query."""


FIRST_SYNC_DAYS = 4
"""Each start of the hub compares so many days."""


async def simulate(virtual_time: VirtualTime, folder: Path, seed: int, patch: pytest.MonkeyPatch) -> World:
    """Run one simulation to its end."""
    patch.setattr(projector, "POLL_SECONDS", POLL_SECONDS)
    patch.setattr(sync_schedule, "FIRST_SYNC_DAYS", FIRST_SYNC_DAYS)
    patch.setattr(connections, "THREADS_MAX", 1)  # small queries: more threads only wait for each other
    async with open_world(virtual_time, folder, seed) as world:
        original = Yeastar.parse

        def parse(dialect: Yeastar, body: bytes) -> list[CallDetails]:
            return world.parse(dialect, body, original)

        patch.setattr(Yeastar, "parse", parse)
        await run_steps(world, STEPS)
        if not world.model.errors:
            await end(world)
        return world


async def end(world: World) -> None:
    """Repair everything, run until nothing is pending, and compare."""
    world.note("repair")
    await world.repair()
    await world.run_until_quiet()
    world.model.check_always(await world.read_state())
    await world.backfill()
    world.model.check_end(await world.read_state())


@pytest.mark.slow
@pytest.mark.parametrize("seed", counts.seeds(20))
def test_simulation_of_one_seed_agrees_with_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    world = run_simulation(seed, lambda virtual_time: simulate(virtual_time, tmp_path, seed, monkeypatch))
    assert not world.model.errors, "\n".join([*world.trace, "", *world.model.errors])
