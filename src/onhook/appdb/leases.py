"""Leases: one owner at a time for each destination, PBX and job, among all processes with this database.

Invariants: an owner that dies is followed by another one when its lease has run out, one that stops at once. Work ends
before its lease is released. An owner that cannot renew goes on, because a locked database loses no lease; one that is
overtaken learns it from its next renewal, and can commit nothing (fence.py).

A turn is a lease for a step of some seconds, which commands take beside a running hub. Its owner asks `has_turn` in the
transaction of what it stores.
"""

import asyncio
import logging
import math
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from itertools import chain
from typing import NamedTuple

from onhook.appdb.contract import Database, Row
from onhook.appdb.fence import FencedOff, Lease, fenced
from onhook.lib.clock import Clock
from onhook.lib.errors import OnhookError, Unavailable
from onhook.lib.leased_work import LeasedWork
from onhook.lib.messages import _
from onhook.lib.transition_log import TransitionLog

LEASE_SECONDS = 8
LEASE_MICROSECONDS = LEASE_SECONDS * 1_000_000
"""Time after which the lease of a process that died is free."""

LATEST_MICROSECONDS = LEASE_MICROSECONDS + 10_000_000
"""Time after which no lease ends while the clock only goes forward. Another process may have read it seconds later than
this one, whose query waited for a locked database.
"""

RENEW_SECONDS = 2.5
"""Three renewals may fail."""

ACQUIRE_SECONDS = 1.0
"""Time between two tries for a lease that another process has."""

OWNER_BYTES = 8

TURN_PREFIX = "turn:"
"""Of the names of turns: a command may have one while a hub starts."""

NODE_PREFIX = "node:"
"""Of the names of leases by which hubs have the names of their machines."""

TURN_POLL_SECONDS = 0.1
"""Between two looks at a turn that another process has. A look writes nothing."""

END_TURN_SECONDS_MAX = 1.0
"""A stop waits no longer for a locked database: the turn runs out by itself."""


class LeaseOwner(NamedTuple):
    """The name of a lease, and the process that has it; an empty one where it is free."""

    name: str
    owner: str


class Leases:
    """Repository of the leases. Times passed in are microseconds since 1970, UTC: those of the clock of this process. A
    database that machines share has its own, by which all of them measure.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def acquire(self, name: str, owner: str, *, now_us: int) -> Lease | None:
        """Acquire a lease that is free, has run out, or is the owner's already; None where another one has it. One that
        ends after `LATEST_MICROSECONDS` was acquired before the clock was set back, perhaps by days: it has run out
        too, and an owner that is alive is overtaken.
        """
        now_us = await self._database.lease_time(now_us)
        (rows,) = await self._write_returning(
            "INSERT INTO leases VALUES (?1, ?2, 1, ?3) ON CONFLICT (name) DO UPDATE"
            " SET owner = excluded.owner, fence = leases.fence + 1, until = excluded.until"
            " WHERE leases.until <= ?4 OR leases.until > ?5 OR leases.owner = excluded.owner RETURNING fence",
            [(name, owner, now_us + LEASE_MICROSECONDS, now_us, now_us + LATEST_MICROSECONDS)],
        )
        return Lease(name, owner, rows[0][0]) if rows else None

    async def renew(self, owner: str, fences: Mapping[str, int], *, now_us: int) -> dict[str, int]:
        """Renew the leases of an owner with these fences by name; return the fences of those that are the owner's."""
        now_us = await self._database.lease_time(now_us)
        pairs = ", ".join(["(?, ?)"] * len(fences))
        renewed_count = await self._database.write(
            f"UPDATE leases SET until = ? WHERE owner = ? AND (name, fence) IN (VALUES {pairs})",
            (now_us + LEASE_MICROSECONDS, owner, *chain.from_iterable(fences.items())),
            is_awaited=False,
        )
        if renewed_count == len(fences):
            return dict(fences)
        (rows,) = await self._write_returning(
            "UPDATE leases SET until = ? WHERE owner = ? RETURNING name, fence", [(now_us + LEASE_MICROSECONDS, owner)]
        )
        return dict(rows)

    async def release(self, lease: Lease) -> None:
        """Make a lease free, if it is still that owner's."""
        await self._release(lease)

    async def _release(self, lease: Lease, *, seconds: float | None = None) -> None:
        await self._database.write(
            "UPDATE leases SET owner = '', until = 0 WHERE name = ? AND fence = ? AND owner = ?",
            (lease.name, lease.fence, lease.owner),
            seconds=seconds,
        )

    async def release_all(self) -> None:
        """Make all leases but turns free: those of a process that died, where there is one process at a time."""
        await self._database.write(
            "UPDATE leases SET owner = '', until = 0 WHERE name NOT LIKE ?", (f"{TURN_PREFIX}%",)
        )

    async def is_held_by_another(self, name: str, owner: str, *, now_us: int) -> bool:
        """Return whether another owner has the lease of that name."""
        now_us = await self._database.lease_time(now_us)
        query = "SELECT 1 FROM leases WHERE name = ? AND owner <> ? AND until > ? AND until <= ?"
        return bool(await self._database.rows(query, (name, owner, now_us, now_us + LATEST_MICROSECONDS)))

    async def list_owners(self, *, now_us: int) -> list[LeaseOwner]:
        """Return all leases that have been acquired once, by name, and whose they are."""
        now_us = await self._database.lease_time(now_us)
        rows = await self._database.rows(
            "SELECT name, CASE WHEN until > ? AND until <= ? THEN owner ELSE '' END FROM leases ORDER BY name",
            (now_us, now_us + LATEST_MICROSECONDS),
        )
        return [LeaseOwner(name, owner) for name, owner in rows]

    @asynccontextmanager
    async def turn(self, name: str, clock: Clock) -> AsyncIterator[Lease]:
        """Wait as long as another task or process has the turn of that name, then hold it. Raises `Unavailable`."""
        lease = await self._wait_for_turn(f"{TURN_PREFIX}{name}", secrets.token_hex(OWNER_BYTES), clock)
        renewal = asyncio.create_task(self._renew_turn(lease, clock))
        try:
            yield lease
        finally:
            renewal.cancel()
            with suppress(OnhookError):  # it runs out by itself
                await self._release(lease, seconds=END_TURN_SECONDS_MAX)

    async def has_turn(self, turn: Lease) -> bool:
        """Return whether a turn is still that of its owner: another process follows one that stood still."""
        return bool(
            await self._database.rows(
                "SELECT 1 FROM leases WHERE name = ? AND fence = ? AND owner = ?", (turn.name, turn.fence, turn.owner)
            )
        )

    async def _wait_for_turn(self, name: str, owner: str, clock: Clock) -> Lease:
        while True:
            now_us = await self._database.lease_time(clock.microseconds())
            latest_us = now_us + LATEST_MICROSECONDS
            query = "SELECT 1 FROM leases WHERE name = ? AND until > ? AND until <= ?"
            if not await self._database.rows(query, (name, now_us, latest_us)):
                lease = await self.acquire(name, owner, now_us=now_us)
                if lease is not None:
                    return lease
            await asyncio.sleep(TURN_POLL_SECONDS)

    async def _renew_turn(self, turn: Lease, clock: Clock) -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            with suppress(OnhookError):  # the next renewal may succeed
                await self.renew(turn.owner, {turn.name: turn.fence}, now_us=clock.microseconds())

    async def _write_returning(self, sql: str, values_list: list[tuple[object, ...]]) -> list[list[Row]]:
        # A process that waits for a lease tries again by itself.
        async with self._database.transaction(is_awaited=False):
            return await self._database.rows_many(sql, values_list)


class LeaseHolder:
    """The leases of this process. Created once per process, inside its event loop."""

    def __init__(self, leases: Leases, clock: Clock, owner: str = "") -> None:
        """Without an `owner`, which a process has in common with the one before it, there is a new one."""
        self._leases = leases
        self._clock = clock
        self._owner = owner or secrets.token_hex(OWNER_BYTES)
        self._lost: dict[str, asyncio.Event] = {}
        self._fences: dict[str, int] = {}
        self._failure_log = TransitionLog(
            logging.getLogger("leases"), begins="cannot use leases", ends="leases can be used again"
        )

    @property
    def owner(self) -> str:
        """The name by which this process has leases."""
        return self._owner

    async def run(self) -> None:
        """Renew all leases until cancelled."""
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            if self._fences:
                await self.renew()

    async def renew(self) -> None:
        """Renew all leases; end the work of those that another process has."""
        held = dict(self._fences)
        try:
            renewed = await self._leases.renew(self._owner, held, now_us=self._clock.microseconds())
        except OnhookError as error:
            self._failure_log.begin(error=str(error))
            return
        self._failure_log.end()
        for name, fence in held.items():
            if renewed.get(name) != fence and self._fences.get(name) == fence:
                self._lost[name].set()

    @asynccontextmanager
    async def holding(self, name: str) -> AsyncIterator[asyncio.Event]:
        """Hold a lease while the context is open; yield an event that is set once another process has it. Raises
        `Unavailable` where one has it already.
        """
        lease = await self._leases.acquire(name, self._owner, now_us=self._clock.microseconds())
        if lease is None:
            raise Unavailable(
                _("another hub uses this application database"),
                location=name,
                hint=_("stop it; after its death its lease ends within {seconds} seconds", seconds=LEASE_SECONDS),
            )
        async with self._registered(lease) as lost:
            yield lost

    async def run_leased(self, name: str, work: LeasedWork) -> None:
        """Wait for the lease of that name, and run the work while this process has it; return when the work does.

        Where another process has the lease by then, the work is cancelled and awaited, and begins anew with the next
        lease. Cancelling ends the work, and then releases the lease.
        """
        while not await self._run_once(name, work):
            logging.getLogger("leases").warning("another process has the lease", extra={"lease": name})

    async def run_unless_held(self, name: str, work: LeasedWork) -> None:
        """Run work that commits nothing in the database, and does less harm when it runs twice than when it does not:
        as `run_leased`, and also while the database does not answer, unless another process had the lease
        `LEASE_SECONDS` before, or later. Work that has begun goes on when the database answers again, unless another
        process has the lease then.
        """
        task: asyncio.Task[None] | None = None
        refused_at = -math.inf
        try:
            while task is None or not task.done():
                lease: Lease | None = None
                try:
                    lease = await self._leases.acquire(name, self._owner, now_us=self._clock.microseconds())
                    refused_at = time.monotonic() if lease is None else -math.inf
                except OnhookError as error:
                    self._failure_log.begin(error=str(error))
                if lease is None and time.monotonic() - refused_at < LEASE_SECONDS:
                    if task is not None:
                        await _end(task)
                        task = None
                    await asyncio.sleep(ACQUIRE_SECONDS)
                    continue
                task = task or asyncio.create_task(work(), name=name)
                if await self._follow_unfenced(task, lease):
                    refused_at = time.monotonic()
            task.result()
        finally:
            if task is not None:
                await _end(task)

    async def _follow_unfenced(self, task: asyncio.Task[None], lease: Lease | None) -> bool:
        """Wait for the end of the work or of the lease, without one for `ACQUIRE_SECONDS`; return whether another
        process has the lease. The work goes on, unless the wait is cancelled.
        """
        if lease is None:
            await asyncio.wait([task], timeout=ACQUIRE_SECONDS)
            return False
        async with self._registered(lease) as lost:
            waiting = asyncio.create_task(lost.wait())
            try:
                await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
            except asyncio.CancelledError:
                await _end(task)
                raise
            finally:
                waiting.cancel()
            return lost.is_set()

    @asynccontextmanager
    async def _registered(self, lease: Lease) -> AsyncIterator[asyncio.Event]:
        """Have a lease renewed while the context is open, then release it; yield what is set once another process has
        it.
        """
        lost = self._lost[lease.name] = asyncio.Event()
        self._fences[lease.name] = lease.fence
        try:
            yield lost
        finally:
            del self._fences[lease.name], self._lost[lease.name]
            await self._release(lease)

    async def _run_once(self, name: str, work: LeasedWork) -> bool:
        """Return whether the work has ended by itself."""
        lease = await self._acquire(name)
        async with self._registered(lease) as lost:
            with fenced(lease):
                task = asyncio.create_task(work(), name=name)
            return await self._follow(task, lost)

    async def _follow(self, task: asyncio.Task[None], lost: asyncio.Event) -> bool:
        """Wait for the end of the work or of the lease; then the work has ended, whatever happens."""
        waiting = asyncio.create_task(lost.wait())
        try:
            await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            is_ended_here = not task.done()
            await _end(task)
            if is_ended_here:
                _log_error(task)
        if lost.is_set() or (not task.cancelled() and isinstance(task.exception(), FencedOff)):
            return False
        task.result()
        return True

    async def _acquire(self, name: str) -> Lease:
        while True:
            try:
                lease = await self._leases.acquire(name, self._owner, now_us=self._clock.microseconds())
            except OnhookError as error:
                self._failure_log.begin(error=str(error))
                lease = None
            if lease is not None:
                return lease
            await asyncio.sleep(ACQUIRE_SECONDS)

    async def _release(self, lease: Lease) -> None:
        try:
            await self._leases.release(lease)
        except OnhookError as error:
            # It runs out by itself.
            self._failure_log.begin(error=str(error))


def _log_error(task: asyncio.Task[None]) -> None:
    """Log the error by which work ended that was cancelled: nothing else reads it. That it was fenced off is none."""
    error = None if task.cancelled() else task.exception()
    if error is not None and not isinstance(error, FencedOff):
        extra = {"lease": task.get_name(), "error": str(error) or type(error).__name__}
        logging.getLogger("leases").error("work ended with an error", extra=extra)


async def _end(task: asyncio.Task[None]) -> None:
    """Cancel a task that has not ended, and wait for its end; where the wait is cancelled, as in a hurry, cancel the
    task again.
    """
    if not task.done():
        task.cancel()
    cancellation: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancellation = error
            task.cancel()
    if cancellation is not None:
        raise cancellation
