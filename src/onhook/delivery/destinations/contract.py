"""The contract of every kind of destination: how one kind of destination is told that a call ended.

`format_payload` is pure: what a record becomes on its way, the same bytes for every attempt. `send` makes one attempt,
never raises for what the other side does, and stays within the destination's time-out.
"""

from collections.abc import Callable, Mapping
from typing import Literal, Protocol

import msgspec

from onhook.cdr.record import Record

Outcome = Literal["accepted", "rejected", "unreachable", "throttled", "gone"]
"""`rejected` was answered, but not accepted: this event fails, and the application is there. `unreachable` found nobody
there. `throttled` asks us to come again later, which is no failure of this event; `gone` asks us never to come
again."""


class DestinationConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Where to, and all that a person said about how. `secrets` sign, the oldest first; never shown."""

    url: str
    method: str = "POST"
    payload_format: str = "p-2026"
    timeout_seconds: float = 5.0
    headers: Mapping[str, str] = {}
    secrets: tuple[str, ...] = ()
    with_standard_webhooks: bool = False
    allow_private: bool = False

    def __repr__(self) -> str:
        return f"DestinationConfig({self.method} {self.url}, {len(self.secrets)} secrets)"


class Notification(msgspec.Struct, frozen=True):
    """One event on its way. `notification_id` is the same in all attempts; `attempted_at` is now, in microseconds since
    1970."""

    notification_id: str
    body: bytes
    attempted_at: int


class DeliveryResult(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an attempt.

    `detail` tells a person in words. `status` is None where no answer came. `body` is how the answer begins, for a
    person to look at. `retry_after_seconds` is what the other side asked for, or None.
    """

    outcome: Outcome
    detail: str
    status: int | None = None
    body: bytes = b""
    retry_after_seconds: float | None = None


class DestinationClient(Protocol):
    """One destination, open."""

    def format_payload(self, record: Record) -> bytes:
        """The body that says this record."""
        ...

    def format_test_payload(self) -> bytes:
        """The body of a test, which says no call."""
        ...

    async def send(self, notification: Notification) -> DeliveryResult:
        """Make one attempt."""
        ...

    async def close(self) -> None:
        """Let go of its connections."""
        ...


OpenDestination = Callable[[DestinationConfig], DestinationClient]
"""Opens a destination of one kind. Raises `UsageError` for one that cannot be meant so."""

DestinationKinds = Mapping[str, OpenDestination]
"""By the name of their kind."""
