"""`/api/v1/subscriptions`: who is told when a call ends, and how that goes."""

from typing import Annotated, Any
from zoneinfo import ZoneInfo

import msgspec
from litestar import delete, get, patch, post
from litestar.params import BodyKwarg, PathParameter

from onhook.appdb.destination_spec import (
    HEADERS_MAX,
    TIMEOUT_SECONDS_LIMITS,
    TRIES_LIMITS,
    URL_CHARACTERS_MAX,
    About,
    Method,
    Per,
    Plan,
    Profile,
    Wishes,
)
from onhook.appdb.destinations import Subscription
from onhook.appdb.pbxs import NAME_CHARACTERS_MAX
from onhook.cdr.record_filter import FILTER_NAMES, TEXT_CHARACTERS_MAX, Filter, parse_filter
from onhook.console.api.pbxs import Label, SecretId, Secrets, SecretText
from onhook.console.parameters import ReaderZone
from onhook.console.problem_documents import PROBLEMS
from onhook.console.state import Handed, Rooms
from onhook.delivery.status import ShownSubscription, Tried, masked, replay, shown
from onhook.lib.errors import UsageError

Name = Annotated[str, PathParameter(description="Name of the subscription", max_length=NAME_CHARACTERS_MAX)]
Url = Annotated[str, msgspec.Meta(min_length=1, max_length=URL_CHARACTERS_MAX)]
Seconds = Annotated[float, msgspec.Meta(ge=TIMEOUT_SECONDS_LIMITS[0], le=TIMEOUT_SECONDS_LIMITS[1])]
Tries = Annotated[int, msgspec.Meta(ge=TRIES_LIMITS[0], le=TRIES_LIMITS[1])]
Where = Annotated[
    dict[str, Annotated[str, msgspec.Meta(max_length=TEXT_CHARACTERS_MAX)]],
    msgspec.Meta(description=f"The filters, as in queries: {', '.join(FILTER_NAMES)}"),
]
Headers = Annotated[dict[str, str], msgspec.Meta(max_length=HEADERS_MAX)]


class NewSubscription(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A subscription to add. It begins now, or with the first call that `since` in `where` means. Without `secret` one
    is made."""

    name: Label
    url: Url
    secret: SecretText | None = None
    about: About = "calls"
    method: Method = "POST"
    where: Where = {}
    profile: Profile = "p-2026"
    per: Per = "leg"
    timeout_seconds: Seconds = 5.0
    plan: Plan = "days"
    tries: Tries = 3
    headers: Headers = {}
    with_standard_webhooks: bool = False
    allows_private: bool = False


class ChangedSubscription(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be different; all else stays. `where` replaces all of its filters."""

    name: Label | msgspec.UnsetType = msgspec.UNSET
    url: Url | msgspec.UnsetType = msgspec.UNSET
    method: Method | msgspec.UnsetType = msgspec.UNSET
    where: Where | msgspec.UnsetType = msgspec.UNSET
    profile: Profile | msgspec.UnsetType = msgspec.UNSET
    per: Per | msgspec.UnsetType = msgspec.UNSET
    timeout_seconds: Seconds | msgspec.UnsetType = msgspec.UNSET
    plan: Plan | msgspec.UnsetType = msgspec.UNSET
    tries: Tries | msgspec.UnsetType = msgspec.UNSET
    headers: Headers | msgspec.UnsetType = msgspec.UNSET
    with_standard_webhooks: bool | msgspec.UnsetType = msgspec.UNSET
    allows_private: bool | msgspec.UnsetType = msgspec.UNSET


class AddedSubscription(msgspec.Struct, frozen=True, kw_only=True):
    """The subscription, and the secret it is signed with, told this once."""

    subscription: Subscription
    secret: str


class SubscriptionList(msgspec.Struct, frozen=True):
    """All subscriptions, by name."""

    data: list[ShownSubscription]
    next: None = None


class Replay(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to send again: `since` at least, and other filters."""

    where: Where


class Replaying(msgspec.Struct, frozen=True):
    """How many records are sent again."""

    records: int


class NewSigningSecret(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Another secret to sign with. Without `secret` one is made."""

    label: Label = "webhook"
    secret: SecretText | None = None


class AddedSigningSecret(msgspec.Struct, frozen=True):
    """A secret with its text, told this once."""

    secret_id: int
    label: str
    secret: str


class Retrying(msgspec.Struct, frozen=True):
    """How many events are tried again."""

    events: int


@get("/subscriptions", summary="Who is told when a call ends", tags=["sending"], responses=PROBLEMS)
async def list_subscriptions(rooms: Handed) -> SubscriptionList:
    """With what is owed to each; without their secrets."""
    return SubscriptionList([await shown_here(rooms, one) for one in rooms.settings.subscriptions.all()])


@get("/subscriptions/{name:str}", summary="One subscription", tags=["sending"], responses=PROBLEMS)
async def read_subscription(rooms: Handed, name: Name) -> ShownSubscription:
    """By its name."""
    return await shown_here(rooms, rooms.settings.subscriptions.get(name))


@post("/subscriptions", summary="Tell an application", tags=["sending"], responses=PROBLEMS)
async def add_subscription(
    rooms: Handed, data: Annotated[NewSubscription, BodyKwarg()], reader_zone: ReaderZone
) -> AddedSubscription:
    """From now on, or from the first call that `since` means."""
    values: dict[str, Any] = {name: getattr(data, name) for name in data.__struct_fields__}
    name, secret = values.pop("name"), values.pop("secret")
    where = read_where(rooms, data.where, reader_zone)
    after = None if where.since is not None else await rooms.ledger.last()
    one, text = rooms.settings.subscriptions.add(
        name, Wishes(**(values | {"where": where})), secret, after=after, at=rooms.clock.microseconds()
    )
    return AddedSubscription(subscription=masked(one), secret=text)


@patch("/subscriptions/{name:str}", summary="Change a subscription", tags=["sending"], responses=PROBLEMS)
async def change_subscription(
    rooms: Handed, name: Name, data: Annotated[ChangedSubscription, BodyKwarg()], reader_zone: ReaderZone
) -> Subscription:
    """It goes on where it is."""
    given = {field: getattr(data, field) for field in data.__struct_fields__}
    changes = {field: value for field, value in given.items() if value is not msgspec.UNSET}
    if "where" in changes:
        changes["where"] = read_where(rooms, changes["where"], reader_zone)
    if not changes:
        raise UsageError("nothing is to be changed", todo="give another URL, filter or name")
    return masked(rooms.settings.subscriptions.change(name, changes))


@delete("/subscriptions/{name:str}", summary="Tell an application no more", tags=["sending"], responses=PROBLEMS)
async def remove_subscription(rooms: Handed, name: Name) -> None:
    """What is owed to it is forgotten."""
    rooms.settings.subscriptions.remove(name)


@post(
    "/subscriptions/{name:str}/pause", summary="Keep back what is owed", tags=["sending"], responses=PROBLEMS,
    status_code=200,
)  # fmt: skip
async def pause_subscription(rooms: Handed, name: Name) -> Subscription:
    """Nothing is lost: it is sent when the subscription goes on."""
    return masked(rooms.settings.subscriptions.set_state(name, "paused"))


@post("/subscriptions/{name:str}/resume", summary="Go on", tags=["sending"], responses=PROBLEMS, status_code=200)
async def resume_subscription(rooms: Handed, name: Name) -> Subscription:
    """After a pause, or after it was disabled."""
    return masked(rooms.settings.subscriptions.set_state(name, "active"))


@post("/subscriptions/{name:str}/test", summary="Send a test", tags=["sending"], responses=PROBLEMS, status_code=200)
async def try_subscription(rooms: Handed, name: Name) -> Tried:
    """The signed test message of the original, now; and what was answered."""
    return await rooms.sending.try_out(name)


@post(
    "/subscriptions/{name:str}/retry", summary="Try all that waits or is parked", tags=["sending"], responses=PROBLEMS,
    status_code=200,
)  # fmt: skip
async def retry_subscription(rooms: Handed, name: Name) -> Retrying:
    """Now, each with all attempts of the plan before it."""
    one = rooms.settings.subscriptions.get(name)
    return Retrying(rooms.settings.deliveries.retry_all(one.subscription_id, at=rooms.clock.microseconds()))


@post("/subscriptions/{name:str}/replay", summary="Send again", tags=["sending"], responses=PROBLEMS, status_code=200)
async def replay_subscription(
    rooms: Handed, name: Name, data: Annotated[Replay, BodyKwarg()], reader_zone: ReaderZone
) -> Replaying:
    """What matches the filters given here and those of the subscription; live events go on beside it."""
    where = read_where(rooms, data.where, reader_zone)
    return Replaying(await replay(rooms.settings, rooms.store, name, where, rooms.clock))


@get("/subscriptions/{name:str}/secrets", summary="What it is signed with", tags=["sending"], responses=PROBLEMS)
async def list_signing_secrets(rooms: Handed, name: Name) -> Secrets:
    """The oldest first, without their texts."""
    return Secrets(rooms.settings.subscriptions.secrets(name))


@post("/subscriptions/{name:str}/secrets", summary="Sign with another secret", tags=["sending"], responses=PROBLEMS)
async def add_signing_secret(
    rooms: Handed, name: Name, data: Annotated[NewSigningSecret, BodyKwarg()]
) -> AddedSigningSecret:
    """Beside those it has: so a secret is changed without an event refused."""
    added, text = rooms.settings.subscriptions.add_secret(
        name, data.secret, at=rooms.clock.microseconds(), label=data.label
    )
    return AddedSigningSecret(added.secret_id, added.label, text)


@delete(
    "/subscriptions/{name:str}/secrets/{secret_id:int}", summary="Sign with a secret no more", tags=["sending"],
    responses=PROBLEMS,
)  # fmt: skip
async def remove_signing_secret(rooms: Handed, name: Name, secret_id: SecretId) -> None:
    """The last one stays."""
    rooms.settings.subscriptions.remove_secret(name, secret_id)


ROUTES = (
    list_subscriptions,
    read_subscription,
    add_subscription,
    change_subscription,
    remove_subscription,
    pause_subscription,
    resume_subscription,
    try_subscription,
    retry_subscription,
    replay_subscription,
    list_signing_secrets,
    add_signing_secret,
    remove_signing_secret,
)


async def shown_here(rooms: Rooms, one: Subscription) -> ShownSubscription:
    """A subscription as everybody may see it, and how it stands."""
    return await shown(one, rooms.settings, rooms.store, rooms.clock.now())


def read_where(rooms: Rooms, given: dict[str, str], zone: ZoneInfo) -> Filter:
    """Filters as people write them; `7d` means seven days before now, and stays that moment. Raises `UsageError`."""
    return parse_filter(given, zone, rooms.clock.now())
