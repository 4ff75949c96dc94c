"""Worker of one destination: reads matching records, makes the attempts, commits the results.

Invariants: a notification is done when the endpoint accepted it or when it is a stored delivery; only then may a
cursor pass it. Of one call one notification is in progress at a time. A worker never waits for another one. However it
ends, committed results stay, attempts in progress may end within a second, notifications without a result stay pending,
and the connections are closed.
"""

import asyncio
import contextlib
from collections.abc import Callable
from datetime import datetime
from random import Random

import msgspec

from onhook.appdb.appdb import AppDb
from onhook.appdb.deliveries import StaleCursor
from onhook.appdb.delivery_rows import DeliveryCommit, NewAttempt
from onhook.appdb.destination_spec import log_days_of
from onhook.appdb.destinations import Destination
from onhook.appdb.fence import FencedOff
from onhook.cdr.identity import CallKey
from onhook.delivery.attempt_pool import AttemptPool, AttemptSender
from onhook.delivery.commit_batch import COMMIT_RESULTS, CommitPlanner
from onhook.delivery.deletion_follower import (
    DeletionFollower,
    ReadControlEntries,
    find_replacer,
    read_no_control_entries,
)
from onhook.delivery.delivery_rules import DeliveryRules
from onhook.delivery.destination_streams import DestinationStreams, ReadLedgerEnd, read_no_ledger_end
from onhook.delivery.destinations.contract import DeliveryResult, DestinationClient
from onhook.delivery.endpoint_health import EndpointHealth, EndpointState, initial_health
from onhook.delivery.external_ids import ExternalIdCache
from onhook.delivery.metrics import AttemptMetrics
from onhook.delivery.notification_queues import NotificationQueues
from onhook.delivery.per_call_queue import PendingNotification, PerCallQueue
from onhook.delivery.rate_limit import RateLimit
from onhook.delivery.record_preparation import RecordPreparation
from onhook.delivery.record_reader import PositionSource, RecordReader
from onhook.delivery.retry_queue import RetryQueue
from onhook.lib.clock import Clock
from onhook.lib.errors import Unavailable
from onhook.lib.leased_work import RunLeased, run_without_lease
from onhook.lib.timestamps import to_microseconds

CLOSE_SECONDS_MAX = 1.0
"""Time for attempts in progress to end when the worker stops: what is aborted is sent again by the next one."""

RECHECK_SECONDS = 1.0
"""Interval of checks of calls that may continue."""

IDLE_SECONDS_MAX = 30.0
"""Interval of a check without a reason, so that nothing depends on a wake-up."""

_SECOND = 1_000_000


class DeliveryDeps(msgspec.Struct, frozen=True, kw_only=True):
    """Dependencies of each worker. `jitter` returns numbers from 0 to 1; `log_days` are those of the installation."""

    record_reader: RecordReader
    appdb: AppDb
    clock: Clock
    run_leased: RunLeased = run_without_lease
    read_ledger_end: ReadLedgerEnd = read_no_ledger_end
    read_control_entries: ReadControlEntries = read_no_control_entries
    jitter: Callable[[], float] = Random().random  # noqa: S311 - spreads waits, hides nothing
    log_days: int = 30


class DestinationWorker:
    """Serves one destination until cancelled, or until the destination is disabled."""

    def __init__(
        self, destination: Destination, client: DestinationClient, deps: DeliveryDeps, metrics: AttemptMetrics
    ) -> None:
        self._destination = destination
        self._client = client
        self._deps = deps
        self._wake = asyncio.Event()
        self._endpoint = EndpointState(_initial_health(destination))
        self._commits = CommitPlanner(
            destination, self._endpoint.health, is_logged=log_days_of(destination, deps.log_days) > 0
        )
        self._queues = NotificationQueues(
            PerCallQueue(()), RetryQueue(deps.appdb.deliveries, destination.destination_id)
        )
        self._rules = DeliveryRules(
            destination,
            endpoint=self._endpoint,
            queues=self._queues,
            commits=self._commits,
            clock=deps.clock,
            jitter=deps.jitter,
        )
        preparation = RecordPreparation(destination, deps.appdb)
        self._streams = DestinationStreams(
            destination,
            preparation=preparation,
            appdb=deps.appdb,
            record_reader=deps.record_reader,
            clock=deps.clock,
            format_payload=client.format_payload,
            rules=self._rules,
            read_ledger_end=deps.read_ledger_end,
            batch_count=client.limits.batch_count,
        )
        self._pool = AttemptPool(
            limits=client.limits,
            sender=AttemptSender(
                client=client,
                clock=deps.clock,
                metrics=metrics,
                external_ids=_external_ids(client, destination, deps.appdb),
            ),
            queues=self._queues,
            endpoint=self._endpoint,
            on_result=self._handle_result,
            wake=self._wake.set,
            uncommitted_count=lambda: self._commits.uncommitted_count,
            rate_limit=RateLimit(destination.rate_limit),
            is_all_read=lambda: self._streams.is_at_end,
        )
        self._deletions = _create_deletion_follower(destination, client, deps, preparation)
        self._commit_future: asyncio.Future[set[CallKey]] | None = None

    async def run(self, on_served: Callable[[], None] = lambda: None) -> None:
        """Serve, and call `on_served` after each successful pass. Raises `Unavailable` where the application database
        or the store cannot be used now: run another worker later.
        """
        wake_task = asyncio.create_task(wake_on_new_records(self._deps.record_reader.position_source, self._wake))
        try:
            await self._initialize()
            while not self._endpoint.disable_reason:
                await self._run_cycle()
                if self._pool.has_succeeded and not self._endpoint.disable_reason:
                    on_served()
                await self._wait_for_work()
        finally:
            wake_task.cancel()
            await self._close()
        # After the commit of all results: the dispatcher cancels the worker of a disabled destination.
        await self._deps.appdb.destinations.disable(self._destination, self._endpoint.disable_reason)

    def reload_streams(self) -> None:
        """Load the streams again: a replay was requested."""
        self._streams.needs_reload = True
        self._wake.set()

    async def _initialize(self) -> None:
        self._queues.calls.blocked_calls |= await self._deps.appdb.deliveries.retrying_calls(
            self._destination.destination_id
        )
        await self._queues.retries.refresh()
        await self._streams.initialize()
        # Without a commit nothing is sent: it would be sent again and again.
        await self._commit()

    async def _run_cycle(self) -> None:
        if self._streams.needs_reload:
            await self._streams.load()
        await self._follow_deletions()
        if not self._streams.is_on_hold:
            await self._queues.retries.load_due(self._deps.clock.microseconds())
        if await self._streams.read_ahead():
            self._wake.set()
        self._pool.start_attempts()
        if self._seconds_until_commit() <= 0:
            await self._commit()
            self._pool.start_attempts()  # as many as waited for the commit
        if self._is_caught_up:
            self._endpoint.health = self._endpoint.health.when_idle()

    async def _follow_deletions(self) -> None:
        if self._deletions is not None:
            is_drained = self._pool.is_idle and not self._queues.ready_count and self._streams.is_done
            await self._deletions.follow(is_drained=is_drained)
            self._streams.is_on_hold = self._deletions.is_waiting

    @property
    def _is_caught_up(self) -> bool:
        """Return whether no notification can be sent; failed ones need an operator."""
        has_pending = self._queues.ready_count or len(self._commits.batch) or self._queues.retries.backlog.retrying
        return self._pool.is_idle and not has_pending and self._streams.is_at_end

    def _handle_result(self, notification: PendingNotification, result: DeliveryResult, attempt: NewAttempt) -> None:
        is_first = len(self._commits.batch) == 0
        self._rules.handle_result(notification, result, attempt)
        if is_first or len(self._commits.batch) >= COMMIT_RESULTS:
            self._wake.set()

    # Commit

    async def _commit(self) -> None:
        """Commit all results. Raises `Unavailable`."""
        commit = self._commits.start_commit(
            self._streams.progress, self._endpoint.health, self._deps.clock.microseconds()
        )
        released_calls = await self._store(commit)
        self._streams.remove(commit.finished_replays)
        if commit.new_deliveries or commit.updates or commit.retry_all_now:
            batch = self._commits.batch
            self._queues.calls.blocked_calls -= {call for call in released_calls if not batch.has_retrying(call)}
            await self._queues.retries.refresh(commit.updates)

    async def _store(self, commit: DeliveryCommit) -> set[CallKey]:
        """Store a commit. It is confirmed also where the worker is cancelled meanwhile: a commit that has succeeded
        must not be repeated.
        """
        if self._commit_future is None:
            self._commit_future = asyncio.create_task(self._deps.appdb.deliveries.commit(commit))
        future = self._commit_future
        try:
            return await asyncio.shield(future)
        finally:
            if not future.done():
                # Where this wait is cancelled too, the next attempt waits for the same commit.
                await asyncio.wait([future])
            self._commit_future = None
            if future.exception() is None:
                self._commits.confirm(commit, _loop_time())

    async def _close(self) -> None:
        """End the attempts in progress and commit the results; what cannot be committed is sent again."""
        try:
            await self._pool.close(CLOSE_SECONDS_MAX)
            with contextlib.suppress(Unavailable, StaleCursor, FencedOff):
                if self._commits.has_unconfirmed:
                    await self._commit()
                if self._commits.has_changes(self._streams.progress, self._endpoint.health):
                    await self._commit()
        finally:
            await self._client.close()

    # Waiting

    async def _wait_for_work(self) -> None:
        """Wait until there is work. Raises the error of an attempt."""
        seconds = self._seconds_to_wait()
        if seconds > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._wake.wait()
        self._wake.clear()
        self._pool.raise_error()

    def _seconds_to_wait(self) -> float:
        now_us = self._deps.clock.microseconds()
        waits = [IDLE_SECONDS_MAX, self._seconds_until_commit()]
        if self._queues.retries.due_at is not None:
            waits.append((self._queues.retries.due_at - now_us) / _SECOND)
        if self._queues.ready_count:
            pool_wait_seconds = self._pool.seconds_until_allowed()
            if self._pool.is_idle:
                # Before the time that the endpoint asked for there is no attempt; it may have passed since the last
                # check.
                endpoint_wait_seconds = self._endpoint.health.wait_microseconds(now_us) / _SECOND
                waits.append(max(pool_wait_seconds, endpoint_wait_seconds))
            elif pool_wait_seconds:
                waits.append(pool_wait_seconds)
        if self._destination.notifies_of == "calls":
            waits.append(RECHECK_SECONDS)
        if self._deletions is not None:
            waits.append(self._deletions.seconds_until_check())
        return min(waits)

    def _seconds_until_commit(self) -> float:
        return self._commits.seconds_until_due(self._streams.progress, self._endpoint.health, _loop_time())


def _create_deletion_follower(
    destination: Destination, client: DestinationClient, deps: DeliveryDeps, preparation: RecordPreparation
) -> DeletionFollower | None:
    """Return what has the destination follow retention and erasure; None where the other side keeps no calls."""
    replacer = find_replacer(client, destination, deps.appdb)
    if replacer is None:
        return None
    return DeletionFollower(
        destination,
        replacer=replacer,
        preparation=preparation,
        format_payload=client.format_payload,
        appdb=deps.appdb,
        record_reader=deps.record_reader,
        read_control_entries=deps.read_control_entries,
        read_ledger_end=deps.read_ledger_end,
    )


async def wake_on_new_records(position_source: PositionSource, wake: asyncio.Event) -> None:
    """Wake up for new records until no further ones are announced: then the process stops."""
    while not position_source.is_closed:
        if await position_source.wait(position_source.position, IDLE_SECONDS_MAX):
            wake.set()


def _loop_time() -> float:
    return asyncio.get_running_loop().time()


def _external_ids(client: DestinationClient, destination: Destination, appdb: AppDb) -> ExternalIdCache | None:
    if not client.limits.has_external_ids:
        return None
    return ExternalIdCache(appdb.external_ids, destination.destination_id)


def _initial_health(destination: Destination) -> EndpointHealth:
    return initial_health(
        _optional_microseconds(destination.failing_since), _optional_microseconds(destination.retry_after) or 0
    )


def _optional_microseconds(time: datetime | None) -> int | None:
    return None if time is None else to_microseconds(time)
