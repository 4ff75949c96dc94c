"""The pages `/sending`: subscriptions and how they fare, what is in trouble, and what a person may do about it.

Each button is a form of its own, so that everything works without a script.
"""

from typing import Annotated, Literal

import msgspec
from litestar import Response, get, post
from litestar.enums import RequestEncodingType
from litestar.params import BodyKwarg, PathParameter, QueryParameter
from litestar.response import Redirect

from onhook.appdb.deliveries import DELIVERED_ROWS_MAX, Delivery
from onhook.appdb.destination_spec import DestinationSpec
from onhook.appdb.destinations import Destination
from onhook.console.api.deliveries import DeliveryId, get_delivery_details
from onhook.console.api.destinations import describe_destination, parse_destination_filter
from onhook.console.api.records import SEQ_MAX
from onhook.console.pages.formatting import url
from onhook.console.pages.page import AnyRequest, common_values, html_page
from onhook.console.parameters import ReaderZone
from onhook.console.state import AppState, AppStateDep
from onhook.delivery.issues import count_phrase
from onhook.delivery.status import replay
from onhook.lib.errors import NotFound, OnhookError

ROWS_SHOWN_MAX = 100
"""Of deliveries in one state on a page; the API has all."""

DELIVERED_SHOWN_MAX = 10
"""Of those that went through in the end, before somebody asks for all: whoever looks here looks for trouble."""

MESSAGE_CHARACTERS_MAX = 500
"""Of what came of a button, handed to the page that follows in its address."""

DestinationId = Annotated[int, PathParameter(ge=1, le=SEQ_MAX)]
ShowAllQuery = Annotated[bool, QueryParameter(description="All that went through in the end")]
Message = Annotated[str, QueryParameter(max_length=MESSAGE_CHARACTERS_MAX)]
DestinationAction = Literal["pause", "resume", "test", "retry", "replay", "drop", "remove"]
DestinationActionInPath = Annotated[DestinationAction, PathParameter()]
DeliveryActionInPath = Annotated[Literal["retry", "drop"], PathParameter()]


class AddDestinationForm(msgspec.Struct, frozen=True):
    """What the form for a new subscription sends."""

    name: str = ""
    url: str = ""
    since: str = ""
    number: str = ""
    status: str = ""
    per: str = "leg"
    profile: str = "p-2026"
    allows_private: str = ""


class ActionForm(msgspec.Struct, frozen=True):
    """What a button sends; the stretch of time is for a replay."""

    since: str = ""
    until: str = ""


FORM_BODY = BodyKwarg(media_type=RequestEncodingType.URL_ENCODED)


@get("/sending", include_in_schema=False)
async def destinations_page(
    request: AnyRequest, rooms: AppStateDep, reader_zone: ReaderZone, told: Message = ""
) -> Response[str]:
    """All subscriptions, with what is owed to each."""
    return await _render_destinations(request, rooms, reader_zone, told=told)


@post("/sending", include_in_schema=False, status_code=200)
async def add_destination(
    request: AnyRequest, rooms: AppStateDep, reader_zone: ReaderZone, data: Annotated[AddDestinationForm, FORM_BODY]
) -> Response[str]:
    """A new subscription; its secret is shown this once."""
    try:
        destination_filter = parse_destination_filter(
            rooms, {"since": data.since, "number": data.number, "status": data.status}, reader_zone
        )
        after_seq = None if destination_filter.since is not None else await rooms.ledger.last()
        spec = _build_spec(data, where=destination_filter)
        destination, secret = rooms.settings.subscriptions.add(
            data.name, spec, None, after=after_seq, at=rooms.clock.microseconds()
        )
    except OnhookError as error:
        return await _render_destinations(request, rooms, reader_zone, wrong=str(error), asked=data)
    return await _render_destinations(request, rooms, reader_zone, added=destination, secret=secret)


@get("/sending/{number:int}", include_in_schema=False)
async def destination_page(  # noqa: PLR0917 - what the address may say
    request: AnyRequest,
    rooms: AppStateDep,
    number: DestinationId,
    reader_zone: ReaderZone,
    told: Message = "",
    wrong: Message = "",
    every: ShowAllQuery = False,
) -> Response[str]:
    """One subscription: how it fares, what waits, what is parked, what went through in the end."""
    destination = _get_destination(rooms, number)
    delivered = rooms.settings.deliveries.newest(destination.subscription_id, "delivered", DELIVERED_ROWS_MAX)
    return html_page(
        "sending_one.html",
        one=await describe_destination(rooms, destination),
        secrets=rooms.settings.subscriptions.secrets(destination.name),
        rows={state: _list_deliveries(rooms, destination, state) for state in ("parked", "waiting")},
        late=delivered if every else delivered[:DELIVERED_SHOWN_MAX],
        late_is_cut=not every and len(delivered) > DELIVERED_SHOWN_MAX,
        told=told,
        wrong=wrong,
        **common_values(rooms, request, reader_zone, rooms.clock.now()),
    )


@post("/sending/{number:int}/{verb:str}", include_in_schema=False, status_code=200)
async def run_action(
    rooms: AppStateDep,
    number: DestinationId,
    verb: DestinationActionInPath,
    reader_zone: ReaderZone,
    data: Annotated[ActionForm, FORM_BODY],
) -> Redirect:
    """Do what a button says, and show what came of it."""
    destination = _get_destination(rooms, number)
    try:
        if verb == "replay":
            replay_filter = parse_destination_filter(rooms, {"since": data.since, "until": data.until}, reader_zone)
            count = await replay(rooms.settings, rooms.store, destination.name, replay_filter, rooms.clock)
            message = f"{count_phrase(count, 'record')} sent again."
        elif verb == "test":
            test_result = await rooms.sending.try_out(destination.name)
            message = (
                f"The test was {'taken' if test_result.is_taken else 'not taken'}: the application {test_result.said}."
            )
        else:
            message = _apply_action(rooms, destination, verb)
    except OnhookError as error:
        return _redirect(f"/sending/{number}", wrong=str(error))
    return _redirect("/sending" if verb == "remove" else f"/sending/{number}", told=message)


@get("/sending/deliveries/{delivery_id:int}", include_in_schema=False)
async def delivery_page(
    request: AnyRequest, rooms: AppStateDep, delivery_id: DeliveryId, reader_zone: ReaderZone
) -> Response[str]:
    """One delivery: its attempts, and the event."""
    details = get_delivery_details(rooms, delivery_id)
    return html_page(
        "sending_delivery.html",
        one=details,
        subscription=_get_destination(rooms, details.delivery.subscription_id),
        **common_values(rooms, request, reader_zone, rooms.clock.now()),
    )


@post("/sending/deliveries/{delivery_id:int}/{verb:str}", include_in_schema=False, status_code=200)
async def run_delivery_action(rooms: AppStateDep, delivery_id: DeliveryId, verb: DeliveryActionInPath) -> Redirect:
    """Try one again, or owe it no more."""
    destination_id = rooms.settings.deliveries.get(delivery_id).subscription_id
    if verb == "retry":
        rooms.settings.deliveries.retry(delivery_id, at=rooms.clock.microseconds())
        return _redirect(f"/sending/{destination_id}", told=f"Delivery {delivery_id} is tried again now.")
    rooms.settings.deliveries.drop(delivery_id, at=rooms.clock.microseconds())
    return _redirect(f"/sending/{destination_id}", told=f"Delivery {delivery_id} is owed no more.")


ROUTES = (destinations_page, add_destination, destination_page, run_action, delivery_page, run_delivery_action)


def _apply_action(rooms: AppState, one: Destination, verb: DestinationAction) -> str:
    """What needs nothing but the settings; what came of it."""
    destinations, deliveries = rooms.settings.subscriptions, rooms.settings.deliveries
    if verb == "pause":
        destinations.set_state(one.name, "paused")
        return "It is paused: what is owed is kept."
    if verb == "resume":
        destinations.set_state(one.name, "active")
        return "It goes on."
    if verb == "retry":
        count = deliveries.retry_all(one.subscription_id, at=rooms.clock.microseconds())
        return f"{count_phrase(count, 'event')} tried again now."
    if verb == "drop":
        return f"{count_phrase(deliveries.drop_parked(one.subscription_id), 'parked event')} owed no more."
    destinations.remove(one.name)
    return f"{one.name} is removed, with all that was owed to it."


async def _render_destinations(
    request: AnyRequest, rooms: AppState, reader_zone: ReaderZone, *, told: str = "", wrong: str = "", secret: str = "",
    asked: AddDestinationForm | None = None, added: Destination | None = None,
) -> Response[str]:  # fmt: skip
    return html_page(
        "sending.html",
        subscriptions=[
            await describe_destination(rooms, destination) for destination in rooms.settings.subscriptions.all()
        ],
        told=told,
        wrong=wrong,
        secret=secret,
        asked=asked or AddDestinationForm(),
        added=added,
        **common_values(rooms, request, reader_zone, rooms.clock.now()),
    )


def _build_spec(data: AddDestinationForm, **more: object) -> DestinationSpec:
    """Raises `UsageError` when it is kept, for what is none of the known words."""
    values: dict[str, object] = {"url": data.url.strip(), "per": data.per, "profile": data.profile}
    return DestinationSpec(**values, **more, allows_private=bool(data.allows_private))  # type: ignore[arg-type] # checked when kept


def _list_deliveries(rooms: AppState, one: Destination, state: Literal["parked", "waiting"]) -> list[Delivery]:
    return rooms.settings.deliveries.page(one.subscription_id, state, ROWS_SHOWN_MAX)


def _get_destination(rooms: AppState, number: int) -> Destination:
    destination = rooms.settings.subscriptions.with_id(number)
    if destination is None:
        raise NotFound("there is no such subscription", todo="see /sending: it may have been removed")
    return destination


def _redirect(path: str, **query: str) -> Redirect:
    return Redirect(url(path, **{name: text[:MESSAGE_CHARACTERS_MAX] for name, text in query.items()}), status_code=303)
