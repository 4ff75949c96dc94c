"""Values for tests of the delivery rules."""

from datetime import UTC, datetime
from typing import Any

from onhook.appdb.delivery_rows import NewAttempt
from onhook.appdb.destinations import Destination
from onhook.delivery.destinations.contract import DeliveryResult, Outcome
from onhook.delivery.per_call_queue import PendingNotification

NOW = 1_777_000_000_000_000
SECOND = 1_000_000
ALICE_CALL, BOB_CALL = ("SN", "1.1"), ("SN", "1.2")


def destination(**changes: Any) -> Destination:
    """Return a destination without issues."""
    values: dict[str, Any] = {
        "destination_id": 1, "name": "CRM", "url": "https://crm.example.com/calls?key=hush", "state": "active",
        "reason": "", "failing_since": None, "retry_after": None, "attempts_succeeded": 0, "attempts_failed": 0,
        "app": "", "created_at": datetime.fromtimestamp(NOW / SECOND, UTC), "secrets": 1, "revision": 3,
    }  # fmt: skip
    return Destination(**(values | changes))


def pending_notification(seq: int, call: tuple[str, str] = ALICE_CALL, **changes: Any) -> PendingNotification:
    """Return a notification to send."""
    values: dict[str, Any] = {
        "notification_id": f"e{seq}",
        "seq": seq,
        "call": call,
        "body": b"{}",
        "pending_since": NOW,
    }
    return PendingNotification(**(values | changes))


def delivery_result(outcome: Outcome, retry_after_seconds: float | None = None) -> DeliveryResult:
    return DeliveryResult(outcome=outcome, detail=f"was {outcome}", retry_after_seconds=retry_after_seconds)


def new_attempt(attempted_at: int = NOW) -> NewAttempt:
    return NewAttempt(attempted_at=attempted_at, duration_ms=7, status=500, detail="HTTP 500", body=b"")
