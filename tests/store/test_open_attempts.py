"""A store whose opening ends the process is not opened for ever."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from onhook.store.contract import StoreUnusable
from onhook.store.duckdb import list_quarantined_seqs, open_store
from onhook.store.open_attempts import DEATHS_MAX, count_deaths, opening_mark

DYING_OPENING = """
import asyncio, signal, sys, time
from pathlib import Path
import duckdb
from onhook.store.duckdb import list_quarantined_seqs, open_store
def die(*_arguments, **_options):
    signal.raise_signal(int(sys.argv[2]))
    time.sleep(60)
duckdb.connect = die
asyncio.run(globals()[sys.argv[3]](Path(sys.argv[1])))
"""


def die_while_opening(path: Path, signal_number: int, function: str = "open_store") -> None:
    """Open a store in a process that is ended meanwhile, as by an engine that reads a damaged page."""
    arguments = (sys.executable, "-c", DYING_OPENING, str(path), str(signal_number), function)
    assert subprocess.run(arguments, check=False).returncode == -signal_number


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """Return the path of a store, closed."""
    path = tmp_path / "calls.duckdb"
    await (await open_store(path)).close()
    assert not opening_mark(path).exists()
    return path


@pytest.mark.parametrize("function", ["open_store", "list_quarantined_seqs"])
async def test_store_that_ends_its_process_some_times_is_unusable(path: Path, function: str) -> None:
    """Also for the rebuild, which would read the quarantine of the old one."""
    for signal_number in (signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL):
        die_while_opening(path, signal_number, function)
    assert count_deaths(path) == DEATHS_MAX
    with pytest.raises(StoreUnusable, match="ended the process 3 times in a row"):
        await open_store(path)
    with pytest.raises(StoreUnusable):
        await list_quarantined_seqs(path)


async def test_store_that_was_opened_in_between_is_counted_anew(path: Path) -> None:
    for _round in range(2):
        for _death in range(DEATHS_MAX - 1):
            die_while_opening(path, signal.SIGSEGV)
        await (await open_store(path)).close()
        assert count_deaths(path) == 0


async def test_store_with_an_error_counts_no_death(path: Path) -> None:
    path.write_bytes(b"this is no store" * 10_000)
    for _attempt in range(DEATHS_MAX + 1):
        with pytest.raises(StoreUnusable, match="damaged or not a store"):
            await open_store(path)
    assert count_deaths(path) == 0
