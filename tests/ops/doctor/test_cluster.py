"""Checks of all machines, of what they report."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import pytest

from onhook.appdb.leases import LeaseOwner
from onhook.appdb.node_states import NodeReport, SpoolReport
from onhook.config import Config
from onhook.ledger.health import LedgerHealth, ServerHealth, StreamHealth
from onhook.lib.clock import SystemClock
from onhook.ops.doctor.check import Check
from onhook.ops.doctor.cluster import (
    check_cluster,
    check_leases,
    check_ledger_servers,
    check_nodes,
    check_spools,
    check_stores,
)
from onhook.ops.node_report import STATE_AGE_MAX
from onhook.runtime.engines import ENGINES
from tests.appdb.test_node_states import node_state

SERVER = ServerHealth(host="n1.example", name="n1", version="2.15.1")
STREAM = StreamHealth(name="LEDGER", leader="n1", configured=3, wanted=3)


def node_report(name: str, *, process: str = "hub", age: float = 5.0, **changes: object) -> NodeReport:
    state = msgspec.structs.replace(node_state(name), process=process, **changes)
    return NodeReport(state=state, age=timedelta(seconds=age))


NODES = [node_report("first"), node_report("first", process="intake", lease_owner="intake of first")]


def summarize(checks: Iterable[Check]) -> list[str]:
    """Return the checks as `doctor` prints them, those that are not `OK` with what to do."""
    checks = list(checks)
    assert all(check.hint for check in checks if check.status != "OK")
    return [f"{check.status} {check.detail}" for check in checks]


def test_check_ledger_servers_all_are_well() -> None:
    assert summarize(check_ledger_servers(LedgerHealth(servers=[SERVER], streams=[STREAM]))) == [
        "OK the NATS server n1.example (n1) has version 2.15.1 and writes before it confirms",
        "OK the stream LEDGER has 3 replicas, all current; n1 leads",
    ]


@pytest.mark.parametrize(
    ("changes", "summary"),
    [
        ({"error": "no answer in time"}, "ERROR the NATS server n1.example does not answer: no answer in time"),
        ({"is_version_sufficient": False}, "ERROR the NATS server n1.example has version 2.15.1"),
        ({"writes_before_it_confirms": False}, "ERROR the NATS server n1.example confirms what is not on disk yet"),
        (
            {"clock_offset": timedelta(seconds=-3)},
            "WARNING the clock of the NATS server n1.example is 3 s behind",
        ),
    ],
)
def test_check_ledger_servers_server_that_does_not_suffice(changes: dict[str, object], summary: str) -> None:
    health = LedgerHealth(servers=[msgspec.structs.replace(SERVER, **changes)])
    assert summarize(check_ledger_servers(health)) == [summary]


@pytest.mark.parametrize(
    ("changes", "summary"),
    [
        ({"configured": 1}, "ERROR the stream LEDGER has 1 replicas, fewer than 3"),
        ({"away": ["n2"]}, "ERROR the stream LEDGER has a replica that is away: n2"),
        ({"behind": ["n2", "n3"]}, "WARNING the stream LEDGER has a replica that is behind: n2, n3"),
        ({"configured": 1, "wanted": 1}, "WARNING the stream LEDGER has 1 replica: it is lost with that disk"),
    ],
)
def test_check_ledger_servers_stream_that_does_not_suffice(changes: dict[str, object], summary: str) -> None:
    health = LedgerHealth(streams=[msgspec.structs.replace(STREAM, **changes)])
    assert summarize(check_ledger_servers(health)) == [summary]


def test_check_ledger_servers_that_cannot_be_asked() -> None:
    assert summarize(check_ledger_servers(LedgerHealth(error="no leader", hint="start them"))) == ["ERROR no leader"]


def test_check_nodes_all_are_well() -> None:
    assert summarize(check_nodes(NODES)) == [
        "OK the hub of machine first runs onhook 1.2.3; its clock differs by 0.0 s from that of the database",
        "OK the intake of machine first runs onhook 1.2.3; its clock differs by 0.0 s from that of the database",
    ]


@pytest.mark.parametrize(
    ("node", "summary"),
    [
        (node_report("second", age=7_260), "WARNING the hub of machine second was last seen 2 hours ago"),
        (node_report("second", age=120), "WARNING the hub of machine second was last seen 2 minutes ago"),
        (node_report("second", age=90_000), "WARNING the hub of machine second was last seen 1 day ago"),
        (
            node_report("old", version="1.2.0"),
            "WARNING the hub of machine old runs onhook 1.2.0, another one 1.2.3",
        ),
        (node_report("second", clock_offset=5_000_000), "WARNING the clock of machine second is 5 s ahead"),
        (node_report("second", clock_offset=-31_000_000), "ERROR the clock of machine second is 31 s behind"),
    ],
)
def test_check_nodes_one_that_needs_a_person(node: NodeReport, summary: str) -> None:
    assert summarize(check_nodes([*NODES, node]))[2:] == [summary]


def test_check_nodes_without_a_hub_or_an_intake_that_runs() -> None:
    """One that was seen long ago is none."""
    assert summarize(check_nodes([node_report("first", age=600)]))[1:] == [
        "ERROR no machine runs the hub",
        "ERROR no machine runs the intake",
    ]


def test_check_nodes_version_of_one_that_stopped_is_not_the_newest() -> None:
    summary, *_rest = summarize(check_nodes([*NODES, node_report("old", age=600, version="9.0.0")]))
    assert summary.startswith("OK")


def test_check_stores_says_how_far_each_is_behind() -> None:
    nodes = [node_report("first"), node_report("second")]
    positions = {"hub@first": 5_000, "hub@gone": 10, "hub@second": 10, "hub@third": 6_000}
    assert summarize(check_stores(positions, 5_001, nodes)) == [
        "OK the store of machine first is 1 entry behind the ledger",
        "WARNING the store of machine gone is 4991 entries behind the ledger",
        "WARNING the store of machine second is 4991 entries behind the ledger",
        "ERROR the store of machine third is ahead of the ledger",
    ]


def test_check_spools_says_which_machine_keeps_events_and_which_is_gone_with_them() -> None:
    since = datetime(2026, 4, 27, 9, tzinfo=UTC)
    spools = [
        SpoolReport(node="first", events=1, oldest_at=since, age=timedelta(seconds=3)),
        SpoolReport(node="second", events=4, oldest_at=since, age=timedelta(hours=2)),
    ]
    first, second = summarize(check_spools(spools, ZoneInfo("UTC")))
    assert first.startswith("WARNING machine first keeps 1 event that the ledger lacks, of 2026-04-27")
    assert second.startswith("ERROR machine second is away with 4 events that the ledger lacks, the first of 2026")


def test_check_leases_says_who_does_what() -> None:
    leases = [
        LeaseOwner("ami:PBX", "another owner"),
        LeaseOwner("destination:1", "owner of first"),
        LeaseOwner("destination:2", ""),
        LeaseOwner("job:mail", ""),
        LeaseOwner("job:retention", "owner of first"),
        LeaseOwner("line:PBX", "intake of first"),
        LeaseOwner("node:first", "abc"),
        LeaseOwner("turn:tokens", "abc"),
    ]
    assert summarize(check_leases(leases, NODES)) == [
        "OK the hub of machine first has the leases destination:1, job:retention",
        "OK the intake of machine first has the leases line:PBX",
        "WARNING an unknown process has the leases ami:PBX",
        "WARNING no hub does job:mail",
    ]


async def test_check_cluster_on_one_machine_says_so(tmp_path: Path) -> None:
    checks = [check async for check in check_cluster(Config(data=tmp_path), SystemClock(), ENGINES)]
    assert summarize(checks) == ["ERROR this installation is on one machine: the setting `appdb` names no database"]


async def test_check_cluster_disk_of_a_machine_with_both_processes_is_one_check(tmp_path: Path) -> None:
    """Of machines that report now."""
    config = Config(data=tmp_path)
    async with ENGINES.open_appdb(config) as appdb:
        now_us = SystemClock().microseconds()
        for report in (*NODES, node_report("second"), node_report("gone")):
            at_us = now_us - round(STATE_AGE_MAX.total_seconds() * 2_000_000) * (report.state.node == "gone")
            await appdb.node_states.report(report.state, now_us=at_us)
    await ENGINES.open_ledger(config).close()
    shared_config = msgspec.structs.replace(config, appdb="postgresql://shared")
    engines = msgspec.structs.replace(ENGINES, open_appdb=lambda _config: ENGINES.open_appdb(config))
    summary = summarize([check async for check in check_cluster(shared_config, SystemClock(), engines)])
    assert [text for text in summary if "disk space" in text] == [
        "ERROR on machine first: 0 MiB of disk space are free",
        "ERROR on machine second: 0 MiB of disk space are free",
    ]
