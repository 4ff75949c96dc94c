"""Failed logins, counted for all hubs: wrong tokens, wrong passwords, and wrong credentials of apps.

Invariants: the rows of each kind are bounded, and old ones are deleted. A counter writes some times a second at most,
whatever number of failures it counts. Where the database cannot be written, it goes on counting by itself, and adds its
counts later.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping

import msgspec

from onhook.appdb.contract import Database, transactional
from onhook.lib.errors import OnhookError

WRITE_PAUSE_SECONDS = 0.1
"""Between two writes of a counter: failures that arrive meanwhile are written together. A kill forgets them."""

WRITE_SECONDS_MAX = 0.5
"""Longest wait for a database that another process has locked."""

RETRY_SECONDS = 1.0
"""Until the next write after one that did not succeed."""

LoginKey = tuple[str, str]
"""Name (of a user or an app, or empty), and address or network."""


class FailurePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How failures of one kind are counted: for how long, in microseconds, since the first failure or, with
    `is_since_last`, since the last one; and for how many names and networks, of which the oldest is removed first.
    """

    kind: str
    window_us: int
    rows_max: int
    is_since_last: bool


class FailureCount(msgspec.Struct, frozen=True):
    """Number of failures. `counted_at` is the time of the first or the last one, see `FailurePolicy`."""

    failures: int
    counted_at: int


class FailedLogins:
    """Repository of failed logins. Times passed in are microseconds since 1970, UTC."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, policy: FailurePolicy, key: LoginKey, now_us: int) -> FailureCount:
        """Return the count of a name and network."""
        rows = await self._database.rows(
            "SELECT failures, counted_at FROM failed_logins WHERE kind = ? AND name = ? AND network = ?"
            " AND counted_at > ?",
            (policy.kind, *key, now_us - policy.window_us),
        )
        return FailureCount(*rows[0]) if rows else FailureCount(0, now_us)

    @transactional
    async def add(
        self, policy: FailurePolicy, failures: Mapping[LoginKey, int], now_us: int
    ) -> dict[LoginKey, FailureCount]:
        """Add failures, by name and network; return the counts."""
        await self._database.write(
            "DELETE FROM failed_logins WHERE kind = ? AND counted_at <= ?", (policy.kind, now_us - policy.window_us)
        )
        counted_at = "excluded.counted_at" if policy.is_since_last else "failed_logins.counted_at"
        rows = await self._database.rows_many(
            "INSERT INTO failed_logins VALUES (?, ?, ?, ?, ?) ON CONFLICT (kind, name, network) DO UPDATE"
            f" SET failures = failed_logins.failures + excluded.failures, counted_at = {counted_at}"
            " RETURNING failures, counted_at",
            [(policy.kind, *key, count, now_us) for key, count in failures.items()],
        )
        await self._delete_oldest(policy)
        return {key: FailureCount(*row) for key, (row,) in zip(failures, rows, strict=True)}

    @transactional
    async def claim(
        self, policy: FailurePolicy, key: LoginKey, now_us: int, delay_seconds: Callable[[int], float]
    ) -> float:
        """Count a try as a failure before it is checked, so that tries at several hubs, or of clients who go away,
        evade no wait. Return 0 for a try that may be checked now, else the seconds until then: `delay_seconds` of the
        failures after the last try.
        """
        count = await self.get(policy, key, now_us)
        wait_us = count.counted_at + round(delay_seconds(count.failures) * 1e6) - now_us if count.failures else 0
        if wait_us > 0:
            return wait_us / 1e6
        await self.add(policy, {key: 1}, now_us)
        return 0.0

    async def reset(self, policy: FailurePolicy, key: LoginKey) -> None:
        """Begin anew after a success; where nothing is counted, nothing is written."""
        values = (policy.kind, *key)
        where = "WHERE kind = ? AND name = ? AND network = ?"
        if await self._database.rows(f"SELECT 1 FROM failed_logins {where}", values):
            await self._database.write(f"DELETE FROM failed_logins {where}", values)

    async def _delete_oldest(self, policy: FailurePolicy) -> None:
        rows = await self._database.rows("SELECT count(*) FROM failed_logins WHERE kind = ?", (policy.kind,))
        if rows[0][0] > policy.rows_max:
            await self._database.write(
                "DELETE FROM failed_logins WHERE kind = ?1 AND (name, network) IN (SELECT name, network"
                " FROM failed_logins WHERE kind = ?1 ORDER BY counted_at LIMIT ?2)",
                (policy.kind, rows[0][0] - policy.rows_max),
            )


class FailureCounter:
    """Counts failures of one kind, whose order does not matter, in few writes. Created once per process.

    A failure counts here at once, and at other hubs after the next write. Its caller waits for a write only where none
    was begun for a while, so that many failures delay no other request.
    """

    def __init__(self, failed_logins: FailedLogins, policy: FailurePolicy) -> None:
        self._failed_logins = failed_logins
        self._policy = policy
        self._counts: OrderedDict[LoginKey, FailureCount] = OrderedDict()
        self._new: dict[LoginKey, int] = {}
        """Failures for the next write."""
        self._unsaved: dict[LoginKey, int] = {}
        """Failures of a write that has not succeeded."""
        self._write_lock = asyncio.Lock()
        self._written_at = float("-inf")
        self._next_write: asyncio.Task[None] | None = None
        self._retry: asyncio.Task[None] | None = None

    async def record_failure(self, key: LoginKey, now_us: int) -> FailureCount:
        """Count a failure; return the count as this process knows it."""
        self._set_count(key, self._add(key, now_us))
        self._new[key] = self._new.get(key, 0) + 1
        if not self._write_lock.locked() and self._pause_seconds() <= 0:
            await self._write(now_us)
        elif self._next_write is None or self._next_write.done():
            self._next_write = asyncio.create_task(self._write(now_us), name="failed logins")
        return self.count(key, now_us)

    def count(self, key: LoginKey, now_us: int) -> FailureCount:
        """Return the count as this process knows it."""
        count = self._counts.get(key)
        is_counted = count is not None and now_us - count.counted_at < self._policy.window_us
        return count if count is not None and is_counted else FailureCount(0, now_us)

    async def reset(self, key: LoginKey) -> None:
        """Begin anew after a success. Raises `Unavailable`."""
        for counts in (self._new, self._unsaved, self._counts):
            counts.pop(key, None)
        await self._failed_logins.reset(self._policy, key)

    async def _write(self, now_us: int) -> None:
        """Write the new failures, after the pause. What cannot be written is written a moment later."""
        loop = asyncio.get_running_loop()
        began_at = loop.time()
        async with self._write_lock:
            await asyncio.sleep(self._pause_seconds())
            batch, self._new = self._new, {}
            for key, failures in self._unsaved.items():
                if self.count(key, now_us).failures:
                    batch[key] = batch.get(key, 0) + failures
            self._unsaved = dict(list(batch.items())[-self._policy.rows_max :])
            if not batch:
                return
            try:
                async with asyncio.timeout(WRITE_SECONDS_MAX):
                    counts = await self._failed_logins.add(self._policy, batch, now_us)
            except (OnhookError, TimeoutError):
                if self._retry in (None, asyncio.current_task()) or self._retry.done():
                    self._retry = asyncio.create_task(self._write_again(now_us, began_at), name="failed logins, again")
                return
            finally:
                self._written_at = loop.time()
            self._unsaved = {}
            for key, count in counts.items():
                self._set_count(key, FailureCount(count.failures + self._new.get(key, 0), count.counted_at))

    async def _write_again(self, now_us: int, began_at: float) -> None:
        """Write what could not be written at a time, in microseconds, that was `began_at` on the loop's clock."""
        await asyncio.sleep(RETRY_SECONDS)
        await self._write(now_us + round((asyncio.get_running_loop().time() - began_at) * 1e6))

    def _pause_seconds(self) -> float:
        return self._written_at + WRITE_PAUSE_SECONDS - asyncio.get_running_loop().time()

    def _add(self, key: LoginKey, now_us: int) -> FailureCount:
        """Return the count with another failure, as the database counts it."""
        count = self.count(key, now_us)
        is_kept = count.failures and not self._policy.is_since_last
        return FailureCount(count.failures + 1, count.counted_at if is_kept else now_us)

    def _set_count(self, key: LoginKey, count: FailureCount) -> None:
        self._counts[key] = count
        while len(self._counts) > self._policy.rows_max:
            self._counts.popitem(last=False)
