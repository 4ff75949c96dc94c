"""`/api/v1/deliveries`: notifications that were not delivered at once, with their attempts."""

from typing import Annotated

import msgspec
from litestar import delete, get, post
from litestar.params import QueryParameter

from onhook.appdb.delivery_rows import Delivery, DeliveryState
from onhook.appdb.pbxs import NAME_CHARACTERS_MAX
from onhook.console.parameters import PAGE_DEFAULT, AfterSeq, DeliveryId, Limit
from onhook.console.problem_documents import PROBLEMS
from onhook.console.queries.destinations import DeliveryDetails, get_delivery_details
from onhook.console.state import AppStateDep

DestinationName = Annotated[str, QueryParameter(description="Name of a destination", max_length=NAME_CHARACTERS_MAX)]
DeliveryStateQuery = Annotated[
    DeliveryState | None, QueryParameter(name="state", description="Only deliveries in this state")
]


class DeliveryPage(msgspec.Struct, frozen=True):
    """Deliveries of a destination, in order of number."""

    data: list[Delivery]
    next: str | None


@get("/deliveries", summary="List deliveries", tags=["destinations"], responses=PROBLEMS)
async def list_deliveries(
    app_state: AppStateDep,
    destination: DestinationName,
    delivery_state: DeliveryStateQuery = None,
    limit: Limit = PAGE_DEFAULT,
    cursor: AfterSeq = "",
) -> DeliveryPage:
    """List deliveries of one destination: retrying, failed, and delivered after several attempts."""
    destination_id = (await app_state.appdb.destinations.get(destination)).destination_id
    deliveries = await app_state.appdb.deliveries.page(destination_id, delivery_state, limit, int(cursor or 0))
    return DeliveryPage(deliveries, str(deliveries[-1].delivery_id) if len(deliveries) == limit else None)


@get(
    "/deliveries/{delivery_id:int}",
    summary="Read a delivery with its attempts",
    tags=["destinations"],
    responses=PROBLEMS,
)
async def read_delivery(app_state: AppStateDep, delivery_id: DeliveryId) -> DeliveryDetails:
    """Read a delivery: the time of each attempt, its duration, and the beginning of the response."""
    return await get_delivery_details(app_state, delivery_id)


@post(
    "/deliveries/{delivery_id:int}/retry", summary="Retry a delivery", tags=["destinations"], responses=PROBLEMS,
    status_code=200,
)  # fmt: skip
async def retry_delivery(app_state: AppStateDep, delivery_id: DeliveryId) -> Delivery:
    """Retry a delivery now, with all attempts of the retry policy."""
    await app_state.appdb.deliveries.retry(delivery_id, now_us=app_state.clock.microseconds())
    return await app_state.appdb.deliveries.get(delivery_id)


@delete("/deliveries/{delivery_id:int}", summary="Discard a delivery", tags=["destinations"], responses=PROBLEMS)
async def discard_delivery(app_state: AppStateDep, delivery_id: DeliveryId) -> None:
    """Discard a delivery. The call stays; only this notification is not sent."""
    await app_state.appdb.deliveries.discard(delivery_id, now_us=app_state.clock.microseconds())


ROUTES = (list_deliveries, read_delivery, retry_delivery, discard_delivery)
