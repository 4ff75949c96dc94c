"""All tests but those of a real Asterisk and of installations, in parts, each printed with its time.

`--part NAME` runs one of them.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

PARTS: Final[Mapping[str, Sequence[str]]] = MappingProxyType(
    {
        "fast": ("-n", "2", "-m", "not slow and not pbx and not install"),
        "engine": ("-m", "slow", "tests/ledger", "tests/receiver", "tests/store"),
        "delivery": ("-n", "2", "-m", "slow", "tests/delivery"),
        "sync": ("-n", "2", "-m", "slow", "tests/sync", "tests/ops", "tests/appdb"),
        "server": (
            "-m",
            "slow",
            "tests/runtime",
            "tests/cli",
            "tests/test_bench.py",
            "tests/test_exit_output.py",
            "tests/test_distribution.py",
            "tests/test_documentation.py",
        ),
        "faults": ("-n", "2", "-m", "slow", "tests/faults"),
        "simulation": (
            "-n",
            "2",
            "-m",
            "slow",
            "tests/simulation",
            "tests/test_equal_stores.py",
            "tests/test_equal_leg_stores.py",
        ),
        "browser": ("-m", "slow", "tests/console"),
    }
)
"""Name and pytest arguments. Parts that kill processes or measure latency have the machine for themselves."""


def run_part(name: str, arguments: Sequence[str]) -> bool:
    """Run one part and print its result with its time; return whether it passed."""
    started_at = time.monotonic()
    command = [sys.executable, "-m", "pytest", "-q", *PARTS[name], *arguments]
    # The order in sets of texts is part of what a seed repeats. Property tests draw all their examples.
    result = subprocess.run(command, check=False, env=os.environ | {"PYTHONHASHSEED": "0", "THOROUGH": "1"})  # noqa: S603 - own arguments
    verdict = "passed" if result.returncode == 0 else "FAILED"
    sys.stdout.write(f"part {name}: {verdict} in {time.monotonic() - started_at:.0f} s\n")
    sys.stdout.flush()
    return result.returncode == 0


def main() -> int:
    """Run the parts; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=PARTS, action="append", help="only this part; repeatable")
    options, arguments = parser.parse_known_args()
    results = [run_part(name, arguments) for name in options.part or PARTS]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
