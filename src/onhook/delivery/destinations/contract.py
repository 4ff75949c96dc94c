"""Contract of every kind of destination.

`format_payload` is pure: the same record gives the same bytes in every attempt. `send` makes one attempt, never raises
for what the other side does, and stays within the destination's time-out.
"""

import struct
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol, runtime_checkable

import msgspec

from onhook.appdb.delivery_rows import AttemptState, HttpExchange
from onhook.appdb.destination_spec import DestinationSpec
from onhook.cdr.record import Record

Outcome = AttemptState
"""`rejected`: answered, but not accepted; the notification fails, and the endpoint is reachable. `unreachable`: no
answer. `throttled`: the endpoint requests a delay, which does not count against the notification. `gone`: the endpoint
no longer accepts notifications.
"""

CONCURRENT_ATTEMPTS_MAX = 8
"""Concurrent attempts: an endpoint that takes 100 ms for each still receives 80 a second."""

DETAIL_CHARACTERS_MAX = 300
"""Of what is shown to an operator of a result."""

LIBRARY_ERRORS: tuple[type[Exception], ...] = (
    OSError,
    EOFError,
    ValueError,
    LookupError,
    RuntimeError,
    struct.error,
)
"""What client libraries raise beside their own errors, for lost connections and for responses that make no sense."""

BATCH_BYTES_MAX = 1_048_576
"""Bodies of one batch: some thousand records, which every server takes in one statement."""


class SendLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How much is sent at a time: so many attempts, each with a batch of so many notifications and bytes.

    A batch ends with the notification that reaches `batch_bytes`. It is what is ready when an attempt may begin. With a
    `batch_age_seconds`, for kinds for which small batches are expensive, it begins once it is full, or once its oldest
    notification has waited so long; never while more could be read, while the endpoint is down, or for what is retried.
    With `has_external_ids` a notification is sent with the id that the other side gave its call, and so has batches of
    one.
    """

    attempts_max: int = CONCURRENT_ATTEMPTS_MAX
    batch_count: int = 1
    batch_bytes: int = BATCH_BYTES_MAX
    has_external_ids: bool = False
    batch_age_seconds: float = 0.0


class Notification(msgspec.Struct, frozen=True):
    """One notification to send. `notification_id` is the same in all attempts; `attempted_at` is now, in
    microseconds since 1970. `external_id` is what the other side calls its call, or empty.
    """

    notification_id: str
    body: bytes
    attempted_at: int
    is_test: bool = False
    external_id: str = ""


class DeliveryResult(msgspec.Struct, frozen=True, kw_only=True):
    """Result of an attempt.

    `detail` describes it in words. `status` is None without a response. `body` is the beginning of the response, for
    display. `retry_after_seconds` is the wait that the other side asked for, or None. `redirect_host` is the host that
    the response redirects to, or empty. A result that `is_shared` is that of a whole batch: it says nothing about one
    notification, and counts against none. One that `is_left_out` is no result of an attempt: the notification was not
    sent, which is neither logged nor counted. `external_id` is what the other side calls the call, as far as it says.
    `exchange` is what the log shows of an HTTP request.
    """

    outcome: Outcome
    detail: str
    status: int | None = None
    body: bytes = b""
    retry_after_seconds: float | None = None
    redirect_host: str = ""
    is_shared: bool = False
    is_left_out: bool = False
    external_id: str = ""
    exchange: HttpExchange | None = None


def not_attempted(detail: str) -> DeliveryResult:
    """Return the result of a notification that the batch left out: it is sent soon, and counts against nothing."""
    return DeliveryResult(outcome="throttled", detail=detail, is_left_out=True)


class DestinationClient(Protocol):
    """One open destination."""

    @property
    def limits(self) -> SendLimits:
        """Return how much is sent at a time."""
        ...

    def format_payload(self, record: Record) -> bytes:
        """Return the body for this record."""
        ...

    def format_test_payload(self) -> bytes:
        """Return the body of a test, which is not a call."""
        ...

    def format_sample_payload(self, now: datetime) -> bytes:
        """Return the body of a test that looks like what the destination notifies of: a call, an alarm, an issue."""
        ...

    async def send(self, notifications: Sequence[Notification]) -> Sequence[DeliveryResult]:
        """Make one attempt with a batch, which has at most one notification of each call; return a result for each
        notification, in order. A notification that is not accepted prevents no other one of its batch.
        """
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


class CallReplacement(msgspec.Struct, frozen=True):
    """What the rows of a call are now: none where the call was deleted, or does not match the destination any more."""

    sn: str
    call_id: str
    bodies: Sequence[bytes]


@runtime_checkable
class CallReplacer(Protocol):
    """What a client has too where the other side keeps calls, which then follow retention and erasure."""

    async def deletion_position(self) -> int | None:
        """Return the number of the last control entry that was applied to the calls of the other side; None where it
        has none yet. Raises `Unavailable`.
        """
        ...

    async def replace_calls(self, replacements: Sequence[CallReplacement], position: int | None) -> None:
        """Replace the rows of those calls that the other side has, and note the number of the control entry that is
        applied with them. Raises `Unavailable`, and may be repeated then.
        """
        ...


@runtime_checkable
class CallRewriter(Protocol):
    """What a client has too where the other side keeps calls, and has no place for the number of a control entry: that
    is in the application database.
    """

    async def rewrite_calls(self, replacements: Sequence[CallReplacement]) -> None:
        """Replace what the other side has of those calls. Raises `Unavailable`, and may be repeated then."""
        ...


OpenDestination = Callable[[DestinationSpec, Sequence[str]], DestinationClient]
"""Opens a destination with the secrets that sign, the oldest first. Raises `UsageError` for an invalid one."""
