"""Results of attempts since the last commit: when they are committed, and what the commit contains. Pure.

Invariants: a cursor and the results up to it are in one commit. A commit that failed is repeated unchanged before
another one is built.
"""

from collections.abc import Mapping, Sequence
from math import inf
from types import MappingProxyType

import msgspec

from onhook.appdb.deliveries import DUE_AFTER_PREDECESSOR
from onhook.appdb.delivery_rows import (
    DeliveryCommit,
    DeliveryState,
    DeliveryUpdate,
    NewAttempt,
    NewDelivery,
    NewLoggedAttempt,
)
from onhook.appdb.destinations import Destination
from onhook.cdr.identity import CallKey
from onhook.delivery.destinations.contract import DeliveryResult
from onhook.delivery.endpoint_health import EndpointHealth
from onhook.delivery.per_call_queue import PendingNotification

COMMIT_SECONDS = 0.2
COMMIT_RESULTS = 24
"""Results are committed this soon, or at this many: a commit waits for the disk."""

UNCOMMITTED_MAX = 48
"""Attempts in progress and results that are not committed: so many notifications may be sent again after a crash."""

IDLE_COMMIT_SECONDS = 5.0
"""A cursor that only passed calls that do not match may be committed later."""


class StreamProgress(msgspec.Struct, frozen=True):
    """The number up to which each stream is done, by stream, and the replays that are finished; with the notifications
    that are done after these numbers.
    """

    cursors: Mapping[int, int]
    finished_replays: Sequence[int]
    done_ahead: Mapping[int, Sequence[str]] = {}
    read_cursors: Mapping[int, int | None] = {}
    """The numbers as they were when the streams were read."""


class CommitBatch:
    """Results collected until the next commit; then a new batch begins. With `is_logged` each attempt is for the log
    too.
    """

    def __init__(self, destination: Destination, *, is_logged: bool = False) -> None:
        self._destination = destination
        self._is_logged = is_logged
        self._logged_attempts: list[NewLoggedAttempt] = []
        self._new_deliveries: list[NewDelivery] = []
        self._updates: list[DeliveryUpdate] = []
        self._attempts_succeeded = 0
        self._attempts_failed = 0
        self._retry_all_now = False
        self._external_ids: dict[CallKey, str] = {}

    def __len__(self) -> int:
        return (
            len(self._new_deliveries)
            + len(self._updates)
            + self._attempts_succeeded
            + self._attempts_failed
            + self._retry_all_now
        )

    def add_accepted(self, notification: PendingNotification, attempt: NewAttempt) -> None:
        """Add a notification that the endpoint accepted."""
        self._attempts_succeeded += 1
        if notification.delivery_id is not None:
            self._add_update(notification.delivery_id, notification, "delivered", attempt.attempted_at, attempt)

    def log_attempt(self, notification: PendingNotification, result: DeliveryResult, attempt: NewAttempt) -> None:
        """Add an attempt to the log of the destination, if one is kept; its result is added too."""
        if self._is_logged:
            self._logged_attempts.append(
                NewLoggedAttempt(
                    notification_id=notification.notification_id,
                    seq=notification.seq,
                    call=notification.call,
                    body=notification.body,
                    state=result.outcome,
                    attempt=attempt,
                    exchange=result.exchange,
                )
            )

    def add_external_id(self, call: CallKey, external_id: str) -> None:
        """Add the id that the endpoint gave to a call, with a result that is added too."""
        self._external_ids[call] = external_id

    def count_failed_attempt(self) -> None:
        """Count an attempt that does not count against its notification."""
        self._attempts_failed += 1

    def add_failed(
        self, notification: PendingNotification, state: DeliveryState, due_at: int, attempt: NewAttempt
    ) -> None:
        """Add a notification that failed: it is retried at `due_at`, or has failed for good."""
        self._attempts_failed += 1
        if notification.delivery_id is None:
            self._new_deliveries.append(_new_delivery(notification, state, due_at, attempt))
        else:
            self._add_update(notification.delivery_id, notification, state, due_at, attempt)

    def add_postponed(self, notification: PendingNotification, due_at: int, attempt: NewAttempt | None) -> None:
        """Add a stored delivery that the endpoint asked to send later, or that was not sent: without an attempt."""
        self._attempts_failed += attempt is not None
        assert notification.delivery_id is not None, "only a stored delivery is postponed"
        self._add_update(notification.delivery_id, notification, "retrying", due_at, attempt, is_counted=False)

    def add_held_back(self, notification: PendingNotification) -> None:
        """Add a notification that waits behind another one of its call."""
        self._new_deliveries.append(_new_delivery(notification, "retrying", DUE_AFTER_PREDECESSOR, None))

    def retry_all_now(self) -> None:
        """Make all retrying deliveries due now."""
        self._retry_all_now = True

    def has_retrying(self, call: CallKey) -> bool:
        """Return whether a notification of this call is about to be stored as retrying."""
        return any(
            new_delivery.call == call and new_delivery.state == "retrying" for new_delivery in self._new_deliveries
        )

    def build_commit(
        self,
        progress: StreamProgress,
        health: EndpointHealth,
        now_us: int,
        previous_cursors: Mapping[int, int | None] = MappingProxyType({}),
    ) -> DeliveryCommit:
        """Return all results with the cursors that they allow, and the health of the endpoint."""
        return DeliveryCommit(
            destination_id=self._destination.destination_id,
            revision=self._destination.revision,
            cursors=progress.cursors,
            finished_replays=progress.finished_replays,
            done_ahead=progress.done_ahead,
            previous_cursors=previous_cursors,
            new_deliveries=self._new_deliveries,
            updates=self._updates,
            attempts_succeeded=self._attempts_succeeded,
            attempts_failed=self._attempts_failed,
            failing_since=health.failing_since,
            retry_after=health.throttled_until,
            retry_all_now=self._retry_all_now,
            now_us=now_us,
            external_ids=self._external_ids,
            logged_attempts=self._logged_attempts,
        )

    def _add_update(
        self,
        delivery_id: int,
        notification: PendingNotification,
        state: DeliveryState,
        due_at: int,
        attempt: NewAttempt | None,
        *,
        is_counted: bool = True,
    ) -> None:
        self._updates.append(
            DeliveryUpdate(
                delivery_id=delivery_id,
                call=notification.call,
                state=state,
                due_at=due_at,
                attempts=notification.attempts + is_counted,
                attempts_before=notification.attempts,
                attempt=attempt,
                throttle_count=0 if is_counted else notification.throttle_count,
            )
        )


class CommittedState(msgspec.Struct, frozen=True):
    """What the last commit contained, and when it succeeded, in seconds of the event loop."""

    failing_since: int | None
    cursors: Mapping[int, int] = {}
    time: float = 0.0


class CommitPlanner:
    """Collects results in `batch`, and decides when they are committed."""

    def __init__(self, destination: Destination, health: EndpointHealth, *, is_logged: bool = False) -> None:
        self.batch = CommitBatch(destination, is_logged=is_logged)
        self._destination = destination
        self._is_logged = is_logged
        self._unconfirmed: DeliveryCommit | None = None
        self._unconfirmed_count = 0
        self._committed = CommittedState(health.failing_since)

    @property
    def uncommitted_count(self) -> int:
        """Return how many results are not committed, as far as is known."""
        return len(self.batch) + self._unconfirmed_count

    @property
    def has_unconfirmed(self) -> bool:
        """Return whether a commit was started, and has not succeeded."""
        return self._unconfirmed is not None

    def has_changes(self, progress: StreamProgress, health: EndpointHealth) -> bool:
        """Return whether there is anything to commit."""
        return (
            self._has_results(health)
            or bool(progress.finished_replays)
            or any(self._committed.cursors.get(stream) != cursor for stream, cursor in progress.cursors.items())
        )

    def seconds_until_due(self, progress: StreamProgress, health: EndpointHealth, now: float) -> float:
        """Return the wait before the next commit: 0 or less when it is due, infinite when there is nothing to commit.

        A commit is due when enough results are collected, or the first one has waited long enough.
        """
        if not self.has_changes(progress, health):
            return inf
        if len(self.batch) >= COMMIT_RESULTS:
            return 0.0
        interval_seconds = COMMIT_SECONDS if self._has_results(health) else IDLE_COMMIT_SECONDS
        return self._committed.time + interval_seconds - now

    def start_commit(self, progress: StreamProgress, health: EndpointHealth, now_us: int) -> DeliveryCommit:
        """Return the commit to make now: the last one again where it has not succeeded, else all results so far."""
        if self._unconfirmed is None:
            self._unconfirmed = self.batch.build_commit(
                progress, health, now_us, {**progress.read_cursors, **self._committed.cursors}
            )
            self._unconfirmed_count = len(self.batch)
            self.batch = CommitBatch(self._destination, is_logged=self._is_logged)
        return self._unconfirmed

    def confirm(self, commit: DeliveryCommit, now: float) -> None:
        """Store that this commit has succeeded."""
        self._unconfirmed, self._unconfirmed_count = None, 0
        self._committed = CommittedState(commit.failing_since, commit.cursors, now)

    def _has_results(self, health: EndpointHealth) -> bool:
        return len(self.batch) > 0 or health.failing_since != self._committed.failing_since


def _new_delivery(
    notification: PendingNotification, state: DeliveryState, due_at: int, attempt: NewAttempt | None
) -> NewDelivery:
    return NewDelivery(
        notification_id=notification.notification_id,
        seq=notification.seq,
        call=notification.call,
        body=notification.body,
        due_at=due_at,
        pending_since=notification.pending_since,
        state=state,
        attempt=attempt,
    )
