"""Destinations with their status and their filters; deliveries with their attempts."""

from typing import Annotated
from zoneinfo import ZoneInfo

import msgspec

from onhook.appdb.delivery_rows import Attempt, Delivery
from onhook.appdb.destination_spec import DestinationSettings, DestinationSpec
from onhook.appdb.destinations import Destination
from onhook.cdr.record_filter import FILTER_NAMES, TEXT_CHARACTERS_MAX, RecordFilter, parse_filter
from onhook.cdr.utc_offset import get_zone
from onhook.console.parameters import Label, SecretText
from onhook.console.state import AppState
from onhook.delivery.address_check import check_destination
from onhook.delivery.status import DestinationView, mask_secrets, view_destination, view_destinations
from onhook.lib.errors import NotFound
from onhook.lib.messages import _

FilterTexts = Annotated[
    dict[str, Annotated[str, msgspec.Meta(max_length=TEXT_CHARACTERS_MAX)]],
    msgspec.Meta(description=f"The filters, as in queries: {', '.join(FILTER_NAMES)}"),
]


class NewDestination(DestinationSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A destination to add. It begins now, or with the first call of `since` in `filter`. Without `secret` one is
    generated.
    """

    name: Label
    secret: SecretText | None = None
    filter: FilterTexts = msgspec.field(default_factory=dict)


class DeliveryDetails(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery, its attempts in order of time, and the notification as it is sent."""

    delivery: Delivery
    attempts: list[Attempt]
    notification: str


async def describe_destination(app_state: AppState, destination: Destination) -> DestinationView:
    """Return a destination with its status, secrets masked."""
    return await view_destination(
        destination, app_state.appdb, app_state.store, app_state.clock.now(), get_zone(app_state.config.zone)
    )


async def describe_destinations(app_state: AppState) -> list[DestinationView]:
    """Return all destinations with their status, secrets masked."""
    destinations = await app_state.appdb.destinations.all()
    return await view_destinations(
        destinations, app_state.appdb, app_state.store, app_state.clock.now(), get_zone(app_state.config.zone)
    )


async def get_destination_by_id(app_state: AppState, destination_id: int) -> Destination:
    """Return the destination with this number. Raises `NotFound`."""
    destination = await app_state.appdb.destinations.find_by_id(destination_id)
    if destination is None:
        raise NotFound(_("there is no such destination"), hint=_("see /destinations: it may have been deleted"))
    return destination


def parse_destination_filter(app_state: AppState, texts: dict[str, str], zone: ZoneInfo) -> RecordFilter:
    """Return the filter described by texts; `7d` means seven days before now, and stays that time. Raises
    `UsageError`.
    """
    return parse_filter(texts, zone, app_state.clock.now())


class AddedDestination(msgspec.Struct, frozen=True, kw_only=True):
    """The destination, and its signing secret, which is returned this once; empty for a kind that signs nothing.
    `warnings` are about its address.
    """

    destination: Destination
    secret: str
    warnings: list[str]


async def create_destination(app_state: AppState, new_destination: NewDestination, zone: ZoneInfo) -> AddedDestination:
    """Add a destination, from now on, or from the first call of `since`; return it, secrets masked but for its own.
    Raises `UsageError`.
    """
    values = {name: getattr(new_destination, name) for name in DestinationSettings.__struct_fields__}
    record_filter = parse_destination_filter(app_state, new_destination.filter, zone)
    spec = DestinationSpec(**values, filter=record_filter)
    warnings = await check_destination(app_state.config, spec)
    after_seq = None if record_filter.since is not None else await app_state.ledger.last_seq()
    destination, secret = await app_state.appdb.destinations.add(
        new_destination.name, spec, new_destination.secret, after=after_seq, now_us=app_state.clock.microseconds()
    )
    shown_secret = secret if destination.kind == "webhook" else ""
    return AddedDestination(destination=mask_secrets(destination), secret=shown_secret, warnings=warnings)


async def get_delivery_details(app_state: AppState, delivery_id: int) -> DeliveryDetails:
    """Return a delivery with its attempts. Raises `NotFound`."""
    deliveries = app_state.appdb.deliveries
    return DeliveryDetails(
        delivery=await deliveries.get(delivery_id),
        attempts=await deliveries.attempts(delivery_id),
        notification=(await deliveries.body(delivery_id)).decode(errors="replace"),
    )
