"""Made-up values of this room, for tests of its rules."""

from datetime import UTC, datetime
from typing import Any

from onhook.appdb.deliveries import NewAttempt
from onhook.appdb.destinations import Destination
from onhook.delivery.destinations.contract import DeliveryResult, Outcome
from onhook.delivery.per_call_queue import PendingNotification

NOW = 1_777_000_000_000_000
SECOND = 1_000_000
ALICE_CALL, BOB_CALL = ("SN", "1.1"), ("SN", "1.2")


def subscription(**changes: Any) -> Destination:
    """One that fares well."""
    values: dict[str, Any] = {
        "subscription_id": 1, "name": "CRM", "url": "https://crm.example.com/calls?key=hush", "state": "active",
        "reason": "", "failing_since": None, "not_before": None, "delivered": 0, "failed": 0, "app": "",
        "created_at": datetime.fromtimestamp(NOW / SECOND, UTC), "secrets": 1, "revision": 3,
    }  # fmt: skip
    return Destination(**(values | changes))


def owed(seq: int, call: tuple[str, str] = ALICE_CALL, **changes: Any) -> PendingNotification:
    """An event that is to be sent."""
    values: dict[str, Any] = {"event_id": f"e{seq}", "seq": seq, "call": call, "body": b"{}", "owed_at": NOW}
    return PendingNotification(**(values | changes))


def answer(verdict: Outcome, retry_after_seconds: float | None = None) -> DeliveryResult:
    return DeliveryResult(verdict=verdict, said=f"was {verdict}", retry_after_seconds=retry_after_seconds)


def attempt(at: int = NOW) -> NewAttempt:
    return NewAttempt(at=at, milliseconds=7, status=500, said="answered 500", body=b"")
