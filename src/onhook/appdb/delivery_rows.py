"""Values of deliveries: rows, attempts, and the results of a worker's attempts."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal

import msgspec

from onhook.cdr.identity import CallKey

DeliveryState = Literal["retrying", "failed", "delivered"]

AttemptState = Literal["accepted", "rejected", "unreachable", "throttled", "gone"]
"""The result of an attempt: see `delivery.destinations.contract.Outcome`."""

UNDELIVERED_MAX = 50_000
"""Retrying or failed rows of one destination. Measured: 56 MB where an endpoint answers little, 120 MB where it
answered a kibibyte once, 741 MB where it did so ten times. Beyond it no new notification is tried; new notifications
stay pending in the store.
"""


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One notification retrying for one destination. `due_at` is the time of the next attempt, None when a predecessor
    decides it.
    """

    delivery_id: int
    destination_id: int
    state: DeliveryState
    notification_id: str
    seq: int
    sn: str
    call_id: str
    attempts: int
    due_at: datetime | None
    pending_since: datetime


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt. `status` is None without a response; `detail` describes the result, `body` is the beginning of the
    response.
    """

    attempted_at: datetime
    duration_ms: int
    status: int | None
    detail: str
    body: str


class DueDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """A row that is due, with everything that sending needs; `pending_since` in microseconds since 1970."""

    delivery_id: int
    notification_id: str
    seq: int
    call: CallKey
    body: bytes
    attempts: int
    throttle_count: int
    pending_since: int


class NewAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one attempt; `attempted_at` in microseconds since 1970."""

    attempted_at: int
    duration_ms: int
    status: int | None
    detail: str
    body: bytes


class HttpExchange(msgspec.Struct, frozen=True, kw_only=True):
    """An HTTP request as it was sent, and the headers of its response, without secrets: values of custom headers, and
    those in the query of the URL, are hidden. `body` is None where it is the notification, and its beginning where it
    is too long for the log (`is_body_cut`).
    """

    method: str
    url: str
    request_headers: Mapping[str, str]
    response_headers: Mapping[str, str] = {}
    body: str | None = None
    is_body_cut: bool = False


class NewLoggedAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt for the destination's log: the notification, its `body`, and the result. A test belongs to no call."""

    notification_id: str
    seq: int
    call: CallKey
    body: bytes
    state: AttemptState
    attempt: NewAttempt
    exchange: HttpExchange | None = None
    is_test: bool = False


class NewDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """A new row: a notification that failed, with its `attempt`, or one that waits behind such a one, without."""

    notification_id: str
    seq: int
    call: CallKey
    body: bytes
    due_at: int
    pending_since: int
    state: DeliveryState = "retrying"
    attempt: NewAttempt | None = None


class DeliveryUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """The new state of a row that was tried again, or was to be: without an `attempt`.

    `attempts_before` is its number of attempts when it was loaded: a different number now means that a person has
    retried it meanwhile. `throttle_count` is how often in a row the endpoint requested a delay.
    """

    delivery_id: int
    call: CallKey
    state: DeliveryState
    due_at: int
    attempts: int
    attempts_before: int
    attempt: NewAttempt | None
    throttle_count: int = 0


class DeliveryCommit(msgspec.Struct, frozen=True, kw_only=True):
    """All results of some work for one destination in one `revision`. `finished_replays` are complete; `done_ahead` are
    notifications, by stream, that are done after its cursor; `retry_after` is the time until which the endpoint
    requested a delay, 0 without such a request. `external_ids` are those that the endpoint gave to calls.
    `logged_attempts` are for the destination's log.
    """

    destination_id: int
    revision: int
    cursors: Mapping[int, int]
    finished_replays: Sequence[int]
    done_ahead: Mapping[int, Sequence[str]] = {}
    previous_cursors: Mapping[int, int | None] = {}
    """The cursors as they were read or last committed: the commit is refused where one is another by now."""
    new_deliveries: Sequence[NewDelivery]
    updates: Sequence[DeliveryUpdate]
    attempts_succeeded: int
    attempts_failed: int
    failing_since: int | None
    retry_after: int
    retry_all_now: bool
    """Whether all retrying rows are due now, because the endpoint is reachable again."""
    now_us: int
    external_ids: Mapping[CallKey, str] = {}
    logged_attempts: Sequence[NewLoggedAttempt] = ()


class Backlog(msgspec.Struct, frozen=True, kw_only=True):
    """Pending or failed rows of one destination, and the time of the oldest pending one."""

    retrying: int = 0
    failed: int = 0
    oldest_pending_at: int | None = None

    @property
    def is_full(self) -> bool:
        """Return whether no new notification is tried because the limit is reached."""
        return self.retrying + self.failed >= UNDELIVERED_MAX
