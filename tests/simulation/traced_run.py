"""A short simulation of one seed in a process of its own, which prints its trace.

Arguments: an empty directory and the seed. Run with `python -m tests.simulation.traced_run`.
"""

import sys
from pathlib import Path

import pytest

from tests.simulation import test_simulation
from tests.simulation.test_simulation import simulate
from tests.simulation.virtual_time import run_simulation

SHORT_STEPS = 12

if __name__ == "__main__":
    folder, seed = Path(sys.argv[1]), int(sys.argv[2])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(test_simulation, "STEPS", SHORT_STEPS)
        world = run_simulation(seed, lambda virtual_time: simulate(virtual_time, folder, seed, patch))
    sys.stdout.write("\n".join([*world.trace, *world.model.errors]) + "\n")
