"""What a process reports of itself, and which machines report now."""

import asyncio
import threading
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.node_states import NodeProcess, NodeReport
from onhook.config import Config
from onhook.lib.clock import SystemClock
from onhook.lib.versions import installed_version
from onhook.ops import node_report
from onhook.ops.node_report import STATE_AGE_MAX, report_node, running_machines
from tests.appdb.test_node_states import node_state
from tests.waiting import wait_until


class CountingClock(SystemClock):
    """The system's clock; counts its readings, one for each report."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0

    def microseconds(self) -> int:
        self.reads += 1
        return super().microseconds()


async def test_report_node_version_is_read_once_beside_the_event_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[threading.Thread] = []

    def read_version(name: str) -> str:
        threads.append(threading.current_thread())
        return installed_version(name)

    monkeypatch.setattr(node_report, "installed_version", read_version)
    monkeypatch.setattr(node_report, "REPORT_SECONDS", 0.0)
    clock = CountingClock()
    async with AppDb(tmp_path / "onhook.db") as appdb:
        reporting = asyncio.create_task(report_node(Config(data=tmp_path), appdb, clock, "hub", "owner"))
        await wait_until(lambda: clock.reads > 2)
        reporting.cancel()
        await asyncio.wait([reporting])
        reports = await appdb.node_states.all(now_us=clock.microseconds())
    assert [report.state.version for report in reports] == [installed_version("onhook")]
    assert len(threads) == 1
    assert threading.main_thread() not in threads


def test_running_machines_are_by_name_each_with_its_latest_state() -> None:
    def report(node: str, process: NodeProcess, age: timedelta, free_bytes: int) -> NodeReport:
        state = msgspec.structs.replace(node_state(node, free_bytes=free_bytes), process=process)
        return NodeReport(state=state, age=age)

    second = timedelta(seconds=1)
    reports = [
        report("second", "hub", STATE_AGE_MAX, 1),
        report("first", "hub", second, 2),
        report("first", "intake", 2 * second, 3),
        report("gone", "hub", STATE_AGE_MAX + second, 4),
    ]
    assert [(state.node, state.free_bytes) for state in running_machines(reports)] == [("first", 2), ("second", 1)]
    assert running_machines(reports[::-1]) == running_machines(reports)
