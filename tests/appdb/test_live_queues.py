"""The callers in queues, as hubs share them."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.live_queues import AGE_MICROSECONDS_MAX, SharedQueues
from onhook.appdb.postgresql import PostgresqlDatabase
from onhook.cdr.queue_states import QueueState

pytestmark = pytest.mark.usefixtures("each_engine")

NOW = 1_795_848_000_000_000
SALES = QueueState(queue="6400", name="sales", waiting=2, talking=1, longest_wait=30)
IDLE = QueueState(queue="6500", name="idle", waiting=0, talking=0, longest_wait=None)


@pytest.fixture
async def queues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SharedQueues]:
    """Yield the repository of a database that measures by the clock of the test."""

    async def lease_time(_database: PostgresqlDatabase, now_us: int) -> int:
        return now_us

    monkeypatch.setattr(PostgresqlDatabase, "lease_time", lease_time)
    async with AppDb(tmp_path / "onhook.db") as appdb:
        yield appdb.live_queues


async def test_live_queues_are_those_of_other_hubs_as_they_are_now(queues: SharedQueues) -> None:
    """The wait goes on; a PBX without queues is another thing than one that reports none."""
    await queues.replace("first", {"PBX": [SALES, IDLE], "EMPTY": []}, now_us=NOW)
    await queues.replace("second", {"BRANCH": [IDLE]}, now_us=NOW)
    later = msgspec.structs.replace(SALES, longest_wait=33)
    assert await queues.of_others("second", now_us=NOW + 3_000_000) == {"EMPTY": [], "PBX": [later, IDLE]}
    assert await queues.of_others("first", now_us=NOW) == {"BRANCH": [IDLE]}
    await queues.replace("first", {"PBX": [IDLE]}, now_us=NOW + 1)
    assert await queues.of_others("second", now_us=NOW + 1) == {"PBX": [IDLE]}
    await queues.replace("first", {}, now_us=NOW + 2)
    assert await queues.of_others("second", now_us=NOW + 2) == {}


async def test_live_queues_of_a_hub_that_writes_no_longer_are_not_shown(queues: SharedQueues) -> None:
    await queues.replace("first", {"PBX": [SALES]}, now_us=NOW)
    assert await queues.of_others("second", now_us=NOW + AGE_MICROSECONDS_MAX - 1) != {}
    assert await queues.of_others("second", now_us=NOW + AGE_MICROSECONDS_MAX) == {}


async def test_live_queues_of_a_machine_that_is_gone_are_deleted_with_the_next_write(queues: SharedQueues) -> None:
    await queues.replace("gone", {"PBX": [SALES]}, now_us=NOW)
    await queues.replace("second", {"BRANCH": [IDLE]}, now_us=NOW + 1)
    await queues.replace("first", {}, now_us=NOW + AGE_MICROSECONDS_MAX)
    assert {node for (node,) in await queues._database.rows("SELECT node FROM live_queues")} == {"second"}
