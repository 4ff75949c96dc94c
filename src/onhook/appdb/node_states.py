"""What each process of an installation on several machines says of itself: where it runs, how its machine is, and how
many events it keeps that the ledger lacks.

Invariant: events that a machine keeps are listed until it reports that the ledger has all, or a person forgets them:
those of a machine whose disk is lost are lost too.
"""

from datetime import datetime, timedelta
from typing import Literal

import msgspec

from onhook.appdb.contract import Database, Row
from onhook.appdb.stored_json import read_rows
from onhook.lib.errors import NotFound
from onhook.lib.messages import _
from onhook.lib.timestamps import to_datetime

ABSENCE_MICROSECONDS = timedelta(days=7) // timedelta(microseconds=1)
"""A process that was not seen for so long is forgotten: its machine is gone, or has another name."""

NodeProcess = Literal["intake", "hub"]


class NodeState(msgspec.Struct, frozen=True, kw_only=True):
    """A process of a machine. `lease_owner` is the name by which it has leases, `clock_offset` is by how much its clock
    is ahead of that of the database, in microseconds; the bytes are those of the disk of its data directory.
    """

    node: str
    process: NodeProcess
    version: str
    lease_owner: str
    clock_offset: int
    free_bytes: int
    total_bytes: int


class NodeReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a process said of itself `age` ago, by the clock of the database."""

    state: NodeState
    age: timedelta


class SpoolReport(msgspec.Struct, frozen=True, kw_only=True):
    """Events that wait on a machine, received since `oldest_at`, as reported `age` ago by the clock of the database."""

    node: str
    events: int
    oldest_at: datetime
    age: timedelta


class NodeStates:
    """Repository of the processes. Times passed in are microseconds since 1970, UTC: those of the clock of this
    process.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def clock_offset(self, *, now_us: int) -> int:
        """Return by how much the clock of this process is ahead of that of the database, in microseconds."""
        return now_us - await self._database.lease_time(now_us)

    async def report(self, state: NodeState, *, now_us: int) -> None:
        """Store what a process says of itself, and forget those that are gone."""
        now_us = await self._database.lease_time(now_us)
        async with self._database.transaction():
            await self._database.write("DELETE FROM node_states WHERE seen_at < ?", (now_us - ABSENCE_MICROSECONDS,))
            await self._database.write(
                "INSERT INTO node_states VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (node, process) DO UPDATE SET"
                " version = excluded.version, lease_owner = excluded.lease_owner, clock_offset = excluded.clock_offset,"
                " free_bytes = excluded.free_bytes, total_bytes = excluded.total_bytes, seen_at = excluded.seen_at",
                (*msgspec.structs.astuple(state), now_us),
            )

    async def all(self, *, now_us: int) -> list[NodeReport]:
        """Return the processes, by machine."""
        now_us = await self._database.lease_time(now_us)
        rows = await self._database.rows(
            "SELECT node, process, version, lease_owner, clock_offset, free_bytes, total_bytes, seen_at"
            " FROM node_states ORDER BY node, process"
        )
        return list(read_rows(rows, lambda row: _node_report(row, now_us)))

    async def report_spool(self, node: str, *, events: int, oldest_at: int, now_us: int) -> None:
        """Store how many events wait on a machine; none where there are none. What has not changed is stored too."""
        if not events:
            if await self._database.rows("SELECT 1 FROM spools WHERE node = ?", (node,)):
                await self._database.write("DELETE FROM spools WHERE node = ?", (node,))
            return
        now_us = await self._database.lease_time(now_us)
        await self._database.write(
            "INSERT INTO spools VALUES (?, ?, ?, ?) ON CONFLICT (node) DO UPDATE SET events = excluded.events,"
            " oldest_at = excluded.oldest_at, reported_at = excluded.reported_at",
            (node, events, oldest_at, now_us),
        )

    async def list_spools(self, *, now_us: int) -> list[SpoolReport]:
        """Return the reports, by machine."""
        now_us = await self._database.lease_time(now_us)
        rows = await self._database.rows("SELECT node, events, oldest_at, reported_at FROM spools ORDER BY node")
        return [
            SpoolReport(
                node=node,
                events=events,
                oldest_at=to_datetime(oldest_at),
                age=timedelta(microseconds=max(now_us - reported_at, 0)),
            )
            for node, events, oldest_at, reported_at in rows
        ]

    async def forget_spool(self, node: str) -> None:
        """Forget a machine whose disk is lost. Raises `NotFound`."""
        if not await self._database.write("DELETE FROM spools WHERE node = ?", (node,)):
            raise NotFound(
                _("no events wait on a machine {node}", node=node), hint=_("`onhook doctor --cluster` lists them")
            )


def _node_report(row: Row, now_us: int) -> NodeReport:
    *values, seen_at = row
    state = NodeState(**dict(zip(NodeState.__struct_fields__, values, strict=True)))
    return NodeReport(state=state, age=timedelta(microseconds=max(now_us - seen_at, 0)))
