"""Actions and metrics of deliveries that the console receives from `runtime`."""

from collections.abc import Awaitable, Callable, Mapping

import msgspec

from onhook.delivery.metrics import AttemptMetrics
from onhook.delivery.status import DestinationTestResult


class DeliveryActions(msgspec.Struct, frozen=True, kw_only=True):
    """`send_test` sends a test to the destination with that name; `delivery_metrics` are by its number."""

    send_test: Callable[[str], Awaitable[DestinationTestResult]]
    delivery_metrics: Callable[[], Mapping[int, AttemptMetrics]]
