"""Settings of queues."""

from pathlib import Path

import pytest

from onhook.appdb.appdb import AppDb
from onhook.cdr.queue_figures import QueueTargets
from onhook.lib.errors import UsageError

pytestmark = pytest.mark.usefixtures("each_engine")


async def test_queue_targets_are_stored_and_removed(tmp_path: Path) -> None:
    """The usual settings have no row; a removed PBX takes its own along."""
    async with AppDb(tmp_path / "onhook.db") as appdb:
        for name in ("office", "branch"):
            await appdb.add_pbx(name=name, sn=name, secret="0123456789", now_us=1)
            await appdb.queue_targets.put(name, " 6400 ", QueueTargets(service_level_seconds=30))
        await appdb.queue_targets.put("office", "6400", QueueTargets(short_abandon_seconds=0))
        assert await appdb.queue_targets.all() == {
            ("branch", "6400"): QueueTargets(service_level_seconds=30),
            ("office", "6400"): QueueTargets(short_abandon_seconds=0),
        }
        await appdb.queue_targets.put("office", "6400", QueueTargets())
        await appdb.remove_pbx("branch")
        assert await appdb.queue_targets.all() == {}


@pytest.mark.parametrize(
    ("queue", "targets"),
    [
        ("", QueueTargets()),
        ("6" * 33, QueueTargets()),
        ("64\n00", QueueTargets()),
        ("6400", QueueTargets(service_level_seconds=3_601)),
        ("6400", QueueTargets(short_abandon_seconds=-1)),
    ],
)
async def test_queue_targets_out_of_range_are_rejected(tmp_path: Path, queue: str, targets: QueueTargets) -> None:
    async with AppDb(tmp_path / "onhook.db") as appdb:
        await appdb.add_pbx(name="office", sn="office", secret="0123456789", now_us=1)
        with pytest.raises(UsageError):
            await appdb.queue_targets.put("office", queue, targets)
