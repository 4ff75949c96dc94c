"""The pages `/sending`: subscriptions and how they fare, what is in trouble, and what a person may do about it.

Each button is a form of its own, so that everything works without a script.
"""

from typing import Annotated, Literal

import msgspec
from litestar import Response, get, post
from litestar.enums import RequestEncodingType
from litestar.params import BodyKwarg, PathParameter, QueryParameter
from litestar.response import Redirect

from onhook.appdb.deliveries import DELIVERED_KEPT, Delivery
from onhook.appdb.destination_spec import Wishes
from onhook.appdb.destinations import Subscription
from onhook.console.api.deliveries import DeliveryId, shown_delivery
from onhook.console.api.destinations import read_where, shown_here
from onhook.console.api.records import SEQ_MAX
from onhook.console.pages.formatting import url
from onhook.console.pages.page import AnyRequest, page_of, zone_and_time
from onhook.console.parameters import ReaderZone
from onhook.console.state import Handed, Rooms
from onhook.delivery.issues import counted
from onhook.delivery.status import replay
from onhook.lib.errors import NotFound, OnhookError

ROWS_SHOWN_MAX = 100
"""Of deliveries in one state on a page; the API has all."""

LATE_SHOWN = 10
"""Of those that went through in the end, before somebody asks for all: whoever looks here looks for trouble."""

TOLD_CHARACTERS_MAX = 500
"""Of what came of a button, handed to the page that follows in its address."""

Number = Annotated[int, PathParameter(ge=1, le=SEQ_MAX)]
Every = Annotated[bool, QueryParameter(description="All that went through in the end")]
Told = Annotated[str, QueryParameter(max_length=TOLD_CHARACTERS_MAX)]
Verb = Literal["pause", "resume", "test", "retry", "replay", "drop", "remove"]
VerbInPath = Annotated[Verb, PathParameter()]
VerbOfDelivery = Annotated[Literal["retry", "drop"], PathParameter()]


class Adding(msgspec.Struct, frozen=True):
    """What the form for a new subscription sends."""

    name: str = ""
    url: str = ""
    since: str = ""
    number: str = ""
    status: str = ""
    per: str = "leg"
    profile: str = "p-2026"
    allows_private: str = ""


class Pressed(msgspec.Struct, frozen=True):
    """What a button sends; the stretch of time is for a replay."""

    since: str = ""
    until: str = ""


FormOf = BodyKwarg(media_type=RequestEncodingType.URL_ENCODED)


@get("/sending", include_in_schema=False)
async def sending_page(request: AnyRequest, rooms: Handed, reader_zone: ReaderZone, told: Told = "") -> Response[str]:
    """All subscriptions, with what is owed to each."""
    return await _all(request, rooms, reader_zone, told=told)


@post("/sending", include_in_schema=False, status_code=200)
async def add_by_form(
    request: AnyRequest, rooms: Handed, reader_zone: ReaderZone, data: Annotated[Adding, FormOf]
) -> Response[str]:
    """A new subscription; its secret is shown this once."""
    try:
        where = read_where(rooms, {"since": data.since, "number": data.number, "status": data.status}, reader_zone)
        after = None if where.since is not None else await rooms.ledger.last()
        wishes = _wishes(data, where=where)
        one, secret = rooms.settings.subscriptions.add(
            data.name, wishes, None, after=after, at=rooms.clock.microseconds()
        )
    except OnhookError as error:
        return await _all(request, rooms, reader_zone, wrong=str(error), asked=data)
    return await _all(request, rooms, reader_zone, added=one, secret=secret)


@get("/sending/{number:int}", include_in_schema=False)
async def subscription_page(  # noqa: PLR0917 - what the address may say
    request: AnyRequest,
    rooms: Handed,
    number: Number,
    reader_zone: ReaderZone,
    told: Told = "",
    wrong: Told = "",
    every: Every = False,
) -> Response[str]:
    """One subscription: how it fares, what waits, what is parked, what went through in the end."""
    one = _with(rooms, number)
    late = rooms.settings.deliveries.newest(one.subscription_id, "delivered", DELIVERED_KEPT)
    return page_of(
        "sending_one.html",
        one=await shown_here(rooms, one),
        secrets=rooms.settings.subscriptions.secrets(one.name),
        rows={state: _rows(rooms, one, state) for state in ("parked", "waiting")},
        late=late if every else late[:LATE_SHOWN],
        late_is_cut=not every and len(late) > LATE_SHOWN,
        told=told,
        wrong=wrong,
        **zone_and_time(rooms, request, reader_zone, rooms.clock.now()),
    )


@post("/sending/{number:int}/{verb:str}", include_in_schema=False, status_code=200)
async def press(
    rooms: Handed, number: Number, verb: VerbInPath, reader_zone: ReaderZone, data: Annotated[Pressed, FormOf]
) -> Redirect:
    """Do what a button says, and show what came of it."""
    one = _with(rooms, number)
    try:
        if verb == "replay":
            where = read_where(rooms, {"since": data.since, "until": data.until}, reader_zone)
            count = await replay(rooms.settings, rooms.store, one.name, where, rooms.clock)
            told = f"{counted(count, 'record')} sent again."
        elif verb == "test":
            tried = await rooms.sending.try_out(one.name)
            told = f"The test was {'taken' if tried.is_taken else 'not taken'}: the application {tried.said}."
        else:
            told = _do(rooms, one, verb)
    except OnhookError as error:
        return _to(f"/sending/{number}", wrong=str(error))
    return _to("/sending" if verb == "remove" else f"/sending/{number}", told=told)


@get("/sending/deliveries/{delivery_id:int}", include_in_schema=False)
async def delivery_page(
    request: AnyRequest, rooms: Handed, delivery_id: DeliveryId, reader_zone: ReaderZone
) -> Response[str]:
    """One delivery: its attempts, and the event."""
    one = shown_delivery(rooms, delivery_id)
    return page_of(
        "sending_delivery.html",
        one=one,
        subscription=_with(rooms, one.delivery.subscription_id),
        **zone_and_time(rooms, request, reader_zone, rooms.clock.now()),
    )


@post("/sending/deliveries/{delivery_id:int}/{verb:str}", include_in_schema=False, status_code=200)
async def press_of_delivery(rooms: Handed, delivery_id: DeliveryId, verb: VerbOfDelivery) -> Redirect:
    """Try one again, or owe it no more."""
    number = rooms.settings.deliveries.get(delivery_id).subscription_id
    if verb == "retry":
        rooms.settings.deliveries.retry(delivery_id, at=rooms.clock.microseconds())
        return _to(f"/sending/{number}", told=f"Delivery {delivery_id} is tried again now.")
    rooms.settings.deliveries.drop(delivery_id, at=rooms.clock.microseconds())
    return _to(f"/sending/{number}", told=f"Delivery {delivery_id} is owed no more.")


ROUTES = (sending_page, add_by_form, subscription_page, press, delivery_page, press_of_delivery)


def _do(rooms: Rooms, one: Subscription, verb: Verb) -> str:
    """What needs nothing but the settings; what came of it."""
    subscriptions, deliveries = rooms.settings.subscriptions, rooms.settings.deliveries
    if verb == "pause":
        subscriptions.set_state(one.name, "paused")
        return "It is paused: what is owed is kept."
    if verb == "resume":
        subscriptions.set_state(one.name, "active")
        return "It goes on."
    if verb == "retry":
        count = deliveries.retry_all(one.subscription_id, at=rooms.clock.microseconds())
        return f"{counted(count, 'event')} tried again now."
    if verb == "drop":
        return f"{counted(deliveries.drop_parked(one.subscription_id), 'parked event')} owed no more."
    subscriptions.remove(one.name)
    return f"{one.name} is removed, with all that was owed to it."


async def _all(
    request: AnyRequest, rooms: Rooms, reader_zone: ReaderZone, *, told: str = "", wrong: str = "", secret: str = "",
    asked: Adding | None = None, added: Subscription | None = None,
) -> Response[str]:  # fmt: skip
    return page_of(
        "sending.html",
        subscriptions=[await shown_here(rooms, one) for one in rooms.settings.subscriptions.all()],
        told=told,
        wrong=wrong,
        secret=secret,
        asked=asked or Adding(),
        added=added,
        **zone_and_time(rooms, request, reader_zone, rooms.clock.now()),
    )


def _wishes(data: Adding, **more: object) -> Wishes:
    """Raises `UsageError` when it is kept, for what is none of the known words."""
    values: dict[str, object] = {"url": data.url.strip(), "per": data.per, "profile": data.profile}
    return Wishes(**values, **more, allows_private=bool(data.allows_private))  # type: ignore[arg-type] # checked when kept


def _rows(rooms: Rooms, one: Subscription, state: Literal["parked", "waiting"]) -> list[Delivery]:
    return rooms.settings.deliveries.page(one.subscription_id, state, ROWS_SHOWN_MAX)


def _with(rooms: Rooms, number: int) -> Subscription:
    one = rooms.settings.subscriptions.with_id(number)
    if one is None:
        raise NotFound("there is no such subscription", todo="see /sending: it may have been removed")
    return one


def _to(path: str, **query: str) -> Redirect:
    return Redirect(url(path, **{name: text[:TOLD_CHARACTERS_MAX] for name, text in query.items()}), status_code=303)
