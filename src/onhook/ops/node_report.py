"""Report of a process, for the others of an installation on several machines: version, clock, disk of its machine."""

import asyncio
import logging
import shutil
from collections.abc import Callable, Iterable
from datetime import timedelta

from onhook.appdb.appdb import AppDb
from onhook.appdb.node_states import NodeProcess, NodeReport, NodeState
from onhook.config import Config
from onhook.lib.clock import Clock
from onhook.lib.periodic_job import run_periodically
from onhook.lib.transition_log import TransitionLog
from onhook.lib.versions import installed_version

REPORT_SECONDS = 20.0

SPOOL_REPORT_SECONDS = 2.0
"""Of what is lost with the machine, others know what was there seconds before."""

STATE_AGE_MAX = timedelta(seconds=70)
"""Three reports may fail; an older one says nothing of now."""


ReadSpool = Callable[[], tuple[int, int]]
"""Returns how many events wait, and when the first of them was received, in microseconds since 1970, UTC."""


async def report_spool(config: Config, appdb: AppDb, clock: Clock, read_spool: ReadSpool) -> None:
    """Report how many events this machine keeps for the ledger again and again, until cancelled."""
    log = logging.getLogger("spool")
    failure_log = TransitionLog(log, begins="cannot report kept events", ends="kept events are reported again")

    async def report() -> None:
        events, oldest_at = read_spool()
        await appdb.node_states.report_spool(
            config.node_name, events=events, oldest_at=oldest_at, now_us=clock.microseconds()
        )

    await run_periodically(report, SPOOL_REPORT_SECONDS, failure_log)


async def report_node(config: Config, appdb: AppDb, clock: Clock, process: NodeProcess, lease_owner: str) -> None:
    """Report this process again and again, until cancelled."""
    log = logging.getLogger("node")
    failure_log = TransitionLog(
        log, begins="cannot report the state of this machine", ends="the state of this machine is reported again"
    )
    # Once: this process is of the version that it was started from. Folders are read for it.
    version = await asyncio.to_thread(installed_version, "onhook")

    async def report() -> None:
        total_bytes, _used_bytes, free_bytes = await asyncio.to_thread(shutil.disk_usage, config.data)
        now_us = clock.microseconds()
        state = NodeState(
            node=config.node_name,
            process=process,
            version=version,
            lease_owner=lease_owner,
            clock_offset=await appdb.node_states.clock_offset(now_us=now_us),
            free_bytes=free_bytes,
            total_bytes=total_bytes,
        )
        await appdb.node_states.report(state, now_us=now_us)
        await appdb.disk_samples.add(free_bytes, node=config.node_name, now_us=now_us)

    await run_periodically(report, REPORT_SECONDS, failure_log)


def running_machines(reports: Iterable[NodeReport]) -> list[NodeState]:
    """Return the machines that report now, by their names: of each the latest state, of whichever process."""
    states = {
        report.state.node: report.state
        for report in sorted(reports, key=lambda report: report.age, reverse=True)
        if report.age <= STATE_AGE_MAX
    }
    return [states[node] for node in sorted(states)]
