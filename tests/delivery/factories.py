"""Made-up values of this room, for tests of its rules."""

from datetime import UTC, datetime
from typing import Any

from onhook.appdb.deliveries import Try
from onhook.appdb.destinations import Subscription
from onhook.delivery.destinations.contract import Answer, Verdict
from onhook.delivery.per_call_queue import Owed

NOW = 1_777_000_000_000_000
SECOND = 1_000_000
ALICE_CALL, BOB_CALL = ("SN", "1.1"), ("SN", "1.2")


def subscription(**changes: Any) -> Subscription:
    """One that fares well."""
    values: dict[str, Any] = {
        "subscription_id": 1, "name": "CRM", "url": "https://crm.example.com/calls?key=hush", "state": "active",
        "reason": "", "failing_since": None, "not_before": None, "delivered": 0, "failed": 0, "app": "",
        "created_at": datetime.fromtimestamp(NOW / SECOND, UTC), "secrets": 1, "revision": 3,
    }  # fmt: skip
    return Subscription(**(values | changes))


def owed(seq: int, call: tuple[str, str] = ALICE_CALL, **changes: Any) -> Owed:
    """An event that is to be sent."""
    values: dict[str, Any] = {"event_id": f"e{seq}", "seq": seq, "call": call, "body": b"{}", "owed_at": NOW}
    return Owed(**(values | changes))


def answer(verdict: Verdict, retry_after_seconds: float | None = None) -> Answer:
    return Answer(verdict=verdict, said=f"was {verdict}", retry_after_seconds=retry_after_seconds)


def attempt(at: int = NOW) -> Try:
    return Try(at=at, milliseconds=7, status=500, said="answered 500", body=b"")
