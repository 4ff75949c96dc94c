"""One delivery with its attempts."""

import msgspec

from onhook.appdb.delivery_rows import Attempt, Delivery
from onhook.console.state import AppState


class DeliveryDetails(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery, its attempts in order of time, and the notification as it is sent."""

    delivery: Delivery
    attempts: list[Attempt]
    notification: str


def get_delivery_details(app_state: AppState, delivery_id: int) -> DeliveryDetails:
    """Return a delivery with its attempts. Raises `NotFound`."""
    deliveries = app_state.appdb.deliveries
    return DeliveryDetails(
        delivery=deliveries.get(delivery_id),
        attempts=deliveries.attempts(delivery_id),
        notification=deliveries.body(delivery_id).decode(errors="replace"),
    )
