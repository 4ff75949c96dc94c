"""What each process of an installation on several machines says of itself: where it runs, and how its machine is."""

from datetime import timedelta
from typing import Literal

import msgspec

from onhook.appdb.contract import Database, Row
from onhook.appdb.stored_json import read_rows

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


def _node_report(row: Row, now_us: int) -> NodeReport:
    *values, seen_at = row
    state = NodeState(**dict(zip(NodeState.__struct_fields__, values, strict=True)))
    return NodeReport(state=state, age=timedelta(microseconds=max(now_us - seen_at, 0)))
