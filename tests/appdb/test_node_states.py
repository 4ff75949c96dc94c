"""What processes say of themselves."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.node_states import NodeReport, NodeState
from onhook.appdb.postgresql import PostgresqlDatabase
from onhook.lib.errors import NotFound

pytestmark = pytest.mark.usefixtures("each_engine")

SECOND, DAY = 1_000_000, 86_400_000_000


def node_state(node: str, *, free_bytes: int = 50, total_bytes: int = 100) -> NodeState:
    return NodeState(
        node=node,
        process="hub",
        version="1.2.3",
        lease_owner=f"owner of {node}",
        clock_offset=-5,
        free_bytes=free_bytes,
        total_bytes=total_bytes,
    )


@pytest.fixture
async def appdb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AppDb]:
    """Yield a database that measures by the clock of the test."""

    async def lease_time(_database: PostgresqlDatabase, now_us: int) -> int:
        return now_us

    monkeypatch.setattr(PostgresqlDatabase, "lease_time", lease_time)
    async with AppDb(tmp_path / "onhook.db") as opened_appdb:
        yield opened_appdb


async def test_node_state_is_the_last_that_a_process_has_reported(appdb: AppDb) -> None:
    first, second = node_state("first"), node_state("second")
    intake = msgspec.structs.replace(second, process="intake")
    for state in (msgspec.structs.replace(first, version="1.2.2"), second, intake):
        await appdb.node_states.report(state, now_us=DAY)
    await appdb.node_states.report(first, now_us=DAY + SECOND)
    assert await appdb.node_states.all(now_us=DAY + 3 * SECOND) == [
        NodeReport(state=first, age=timedelta(seconds=2)),
        NodeReport(state=second, age=timedelta(seconds=3)),
        NodeReport(state=intake, age=timedelta(seconds=3)),
    ]


async def test_node_state_of_a_machine_that_is_gone_for_a_week_is_forgotten(appdb: AppDb) -> None:
    await appdb.node_states.report(node_state("first"), now_us=DAY)
    await appdb.node_states.report(node_state("second"), now_us=8 * DAY)
    assert [report.state.node for report in await appdb.node_states.all(now_us=8 * DAY)] == ["first", "second"]
    await appdb.node_states.report(node_state("second"), now_us=8 * DAY + 1)
    assert [report.state.node for report in await appdb.node_states.all(now_us=8 * DAY + 1)] == ["second"]


async def test_spool_of_a_machine_is_listed_until_it_is_empty_or_forgotten(appdb: AppDb) -> None:
    """However long ago it was reported."""
    nodes = appdb.node_states
    for events in (2, 3):
        await nodes.report_spool("first", events=events, oldest_at=SECOND, now_us=DAY)
    await nodes.report_spool("second", events=1, oldest_at=2 * SECOND, now_us=DAY)
    assert [(spool.node, spool.events, spool.age) for spool in await nodes.list_spools(now_us=40 * DAY)] == [
        ("first", 3, timedelta(days=39)),
        ("second", 1, timedelta(days=39)),
    ]
    await nodes.report_spool("first", events=0, oldest_at=0, now_us=DAY)
    await nodes.forget_spool("second")
    assert await nodes.list_spools(now_us=DAY) == []
    with pytest.raises(NotFound):
        await nodes.forget_spool("second")


async def test_clock_offset_is_measured_by_the_clock_of_the_database(
    appdb: AppDb, each_engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file has none of its own."""

    async def lease_time(_database: PostgresqlDatabase, _now_us: int) -> int:
        return 7 * SECOND

    monkeypatch.setattr(PostgresqlDatabase, "lease_time", lease_time)
    offset = await appdb.node_states.clock_offset(now_us=10 * SECOND)
    assert offset == (3 * SECOND if each_engine == "postgresql" else 0)
