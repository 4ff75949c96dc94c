"""Whichever operation fails while a number is erased, the next attempt finishes it, and no file has the number."""

import asyncio
import contextlib
import itertools
import shutil
import sys
from pathlib import Path

import pytest

from onhook.config import Config
from onhook.lib.errors import NotFound
from onhook.ops.rebuild import rebuild
from onhook.runtime.engines import ENGINES
from tests import counts
from tests.faults.operations import KILLED_EXIT_CODE
from tests.faults.test_each_operation import early_and_late, fail_each
from tests.ops.erasure_world import (
    DIGITS,
    NAME,
    NUMBER,
    append,
    event,
    fill,
    find_bytes,
    open_directory,
    read_calls,
)

KILLED_AT = 223
"""In the middle: in `make test` one process is killed."""

NO_STEP = 0

LONG_STEP = 7
"""Each of its six hundred operations takes a quarter of an hour, and with a process for each an hour: `STEP=1`."""

LATER = event(1, "1001", call_to="Alice Smith<0049 30901820>", type="Outbound", dst_trunk_name="SIP")


async def erase(directory: Path) -> None:
    """Erase the number, and what arrives later for one of its calls."""
    config = Config(data=directory, zone="Europe/Berlin")
    async with open_directory(config) as files:
        # Nothing has it any longer where the entry was written before the operation that failed.
        with contextlib.suppress(NotFound):
            await files.eraser.erase(NUMBER)
        await append(files, LATER)
        await files.eraser.finish()
        while await files.store.roll_up():
            pass
    await rebuild(config, lambda _position, _last_seq: None, ENGINES)


@pytest.mark.parametrize("step", [counts.step(LONG_STEP)])
@early_and_late
async def test_erase_each_operation_fails(tmp_path: Path, step: int, *, is_late: bool) -> None:
    config = Config(data=tmp_path / "data", zone="Europe/Berlin")
    await fill(config, tmp_path / "recordings")

    async def check(copy: Path) -> None:
        await check_erased(copy, tmp_path / "recordings")

    await fail_each(tmp_path / "data", erase, check, step, is_late=is_late)


async def check_erased(copy: Path, recordings: Path) -> None:
    assert find_bytes(copy) == find_bytes(copy, NAME) == find_bytes(recordings, DIGITS) == []
    async with open_directory(Config(data=copy, zone="Europe/Berlin")) as files:
        calls = await read_calls(files)
        assert {status.state for status in await files.eraser.list_erasures()} == {"finished"}
        audit = await files.appdb.audit.latest(100)
    assert [(call.call_from, call.call_to) for call in calls[:3]] == [
        ("erased", "Sales<6400>"),
        ("1001", "erased"),
        ("erased", "Bob<1001>"),
    ]
    assert "erase a number: calls: 3, raw events: 5" in [entry.action for entry in audit]


@pytest.mark.parametrize("step", [NO_STEP, counts.step(LONG_STEP)])
@early_and_late
async def test_erase_process_that_is_killed_at_each_operation_is_finished_by_the_next(
    tmp_path: Path, step: int, *, is_late: bool
) -> None:
    """A process of its own erases the number, and ends at once at one operation; another one finds what is left."""
    config = Config(data=tmp_path / "data", zone="Europe/Berlin")
    await fill(config, tmp_path / "recordings")
    for number in [KILLED_AT] if step == NO_STEP else itertools.count(1, step):
        copy, recordings = tmp_path / f"data-{number}", tmp_path / "recordings"
        shutil.copytree(tmp_path / "data", copy)
        exit_code = await erase_in_process(copy, number, is_late=is_late)
        if exit_code != KILLED_EXIT_CODE:
            assert exit_code == 0
            assert number > KILLED_AT
            break
        await erase(copy)
        await check_erased(copy, recordings)
        shutil.rmtree(copy)


async def erase_in_process(directory: Path, number: int, *, is_late: bool) -> int:
    """Erase in a process that ends at the operation with this number; return its exit code, 0 if it has fewer."""
    arguments = ("-m", "tests.faults.erasing_process", str(directory), str(number), str(int(is_late)))
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments)
    return await process.wait()
