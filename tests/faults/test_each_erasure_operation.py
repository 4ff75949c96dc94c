"""Whichever operation fails while a number is erased, the next attempt finishes it, and no file has the number."""

import contextlib
from pathlib import Path

import pytest

from onhook.config import Config
from onhook.lib.errors import NotFound
from onhook.ops.rebuild import rebuild
from onhook.runtime.engines import ENGINES
from tests.faults.test_each_operation import EACH, early_and_late, fail_each
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

STEP = 151
"""An attempt takes more than a second here."""

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


@pytest.mark.parametrize("step", [STEP, EACH])
@early_and_late
async def test_erase_each_operation_fails(tmp_path: Path, step: int, *, is_late: bool) -> None:
    config = Config(data=tmp_path / "data", zone="Europe/Berlin")
    await fill(config, tmp_path / "recordings")

    async def check(copy: Path) -> None:
        assert find_bytes(copy) == find_bytes(copy, NAME) == find_bytes(tmp_path / "recordings", DIGITS) == []
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

    await fail_each(tmp_path / "data", erase, check, step, is_late=is_late)
