"""What the console is handed of the room that sends: how to test a subscription, and what was counted of attempts."""

from collections.abc import Awaitable, Callable, Mapping

import msgspec

from onhook.delivery.metrics import AttemptMetrics
from onhook.delivery.status import DestinationTestResult


class DeliveryActions(msgspec.Struct, frozen=True, kw_only=True):
    """`try_out` sends a test to the subscription of that name; `figures` are by the number of a subscription."""

    try_out: Callable[[str], Awaitable[DestinationTestResult]]
    figures: Callable[[], Mapping[int, AttemptMetrics]]
