"""Processes of tests whose coverage is measured: their figures are complete once they have ended.

A process whose parent was killed ends by itself, a moment after its test, and saves what it has measured then. Combined
meanwhile, its file is not whole: coverage warns that it has `no such table: coverage_schema`, or drops what follows.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path

VARIABLE = "COVERAGE_PROCESS_CONFIG"
"""By it a process knows that it is measured."""

SECONDS_MAX = 20.0
"""A server stops within 15 seconds."""

POLL_SECONDS = 0.05


def wait_for_measured_processes() -> None:
    """Wait until no measured process of this run is left but the workers of pytest-xdist, which have saved already."""
    config = os.environ.get(VARIABLE)
    deadline = time.monotonic() + SECONDS_MAX
    while config and time.monotonic() < deadline and any(_list_processes(config)):
        time.sleep(POLL_SECONDS)


def remove_empty_files(directory: Path) -> None:
    """Remove files that measured processes had made, but not written, as they were killed."""
    for file in directory.glob("*"):
        if file.stat().st_size == 0:
            file.unlink()


def _list_processes(config: str) -> Iterator[int]:
    """Yield the processes with this configuration, without this one and its children."""
    variable = f"{VARIABLE}={config}".encode()
    for path in Path("/proc").glob("[0-9]*"):
        try:
            variables = (path / "environ").read_bytes().split(b"\0")
            parent_pid = int((path / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # it has ended, or is another user's
        if variable in variables and os.getpid() not in (int(path.name), parent_pid):
            yield int(path.name)
