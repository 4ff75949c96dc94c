"""`/api/v1/subscriptions`: who is told when a call ends, and how that goes."""

from typing import Annotated, Any
from zoneinfo import ZoneInfo

import msgspec
from litestar import delete, get, patch, post
from litestar.params import BodyKwarg, PathParameter

from onhook.appdb.destination_spec import (
    HEADERS_MAX,
    MAX_ATTEMPTS_LIMITS,
    TIMEOUT_SECONDS_LIMITS,
    URL_CHARACTERS_MAX,
    DestinationSpec,
    Method,
    NotifiesOf,
    PayloadFormat,
    Per,
    RetryPolicy,
)
from onhook.appdb.destinations import Destination
from onhook.appdb.pbxs import NAME_CHARACTERS_MAX
from onhook.cdr.record_filter import FILTER_NAMES, TEXT_CHARACTERS_MAX, RecordFilter, parse_filter
from onhook.console.api.pbxs import Label, SecretId, SecretList, SecretText
from onhook.console.parameters import ReaderZone
from onhook.console.problem_documents import PROBLEMS
from onhook.console.state import AppState, AppStateDep
from onhook.delivery.status import DestinationTestResult, DestinationView, mask_secrets, replay, view_destination
from onhook.lib.errors import UsageError

Name = Annotated[str, PathParameter(description="Name of the subscription", max_length=NAME_CHARACTERS_MAX)]
Url = Annotated[str, msgspec.Meta(min_length=1, max_length=URL_CHARACTERS_MAX)]
TimeoutSeconds = Annotated[float, msgspec.Meta(ge=TIMEOUT_SECONDS_LIMITS[0], le=TIMEOUT_SECONDS_LIMITS[1])]
MaxAttempts = Annotated[int, msgspec.Meta(ge=MAX_ATTEMPTS_LIMITS[0], le=MAX_ATTEMPTS_LIMITS[1])]
FilterTexts = Annotated[
    dict[str, Annotated[str, msgspec.Meta(max_length=TEXT_CHARACTERS_MAX)]],
    msgspec.Meta(description=f"The filters, as in queries: {', '.join(FILTER_NAMES)}"),
]
Headers = Annotated[dict[str, str], msgspec.Meta(max_length=HEADERS_MAX)]


class NewDestination(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A subscription to add. It begins now, or with the first call that `since` in `where` means. Without `secret` one
    is made."""

    name: Label
    url: Url
    secret: SecretText | None = None
    about: NotifiesOf = "calls"
    method: Method = "POST"
    where: FilterTexts = {}
    profile: PayloadFormat = "p-2026"
    per: Per = "leg"
    timeout_seconds: TimeoutSeconds = 5.0
    plan: RetryPolicy = "days"
    tries: MaxAttempts = 3
    headers: Headers = {}
    with_standard_webhooks: bool = False
    allows_private: bool = False


class DestinationPatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be different; all else stays. `where` replaces all of its filters."""

    name: Label | msgspec.UnsetType = msgspec.UNSET
    url: Url | msgspec.UnsetType = msgspec.UNSET
    method: Method | msgspec.UnsetType = msgspec.UNSET
    where: FilterTexts | msgspec.UnsetType = msgspec.UNSET
    profile: PayloadFormat | msgspec.UnsetType = msgspec.UNSET
    per: Per | msgspec.UnsetType = msgspec.UNSET
    timeout_seconds: TimeoutSeconds | msgspec.UnsetType = msgspec.UNSET
    plan: RetryPolicy | msgspec.UnsetType = msgspec.UNSET
    tries: MaxAttempts | msgspec.UnsetType = msgspec.UNSET
    headers: Headers | msgspec.UnsetType = msgspec.UNSET
    with_standard_webhooks: bool | msgspec.UnsetType = msgspec.UNSET
    allows_private: bool | msgspec.UnsetType = msgspec.UNSET


class AddedDestination(msgspec.Struct, frozen=True, kw_only=True):
    """The subscription, and the secret it is signed with, told this once."""

    subscription: Destination
    secret: str


class DestinationList(msgspec.Struct, frozen=True):
    """All subscriptions, by name."""

    data: list[DestinationView]
    next: None = None


class ReplayRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to send again: `since` at least, and other filters."""

    where: FilterTexts


class ReplayResult(msgspec.Struct, frozen=True):
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


class RetryAllResult(msgspec.Struct, frozen=True):
    """How many events are tried again."""

    events: int


@get("/subscriptions", summary="Who is told when a call ends", tags=["sending"], responses=PROBLEMS)
async def list_destinations(rooms: AppStateDep) -> DestinationList:
    """With what is owed to each; without their secrets."""
    return DestinationList(
        [await describe_destination(rooms, destination) for destination in rooms.settings.subscriptions.all()]
    )


@get("/subscriptions/{name:str}", summary="One subscription", tags=["sending"], responses=PROBLEMS)
async def read_destination(rooms: AppStateDep, name: Name) -> DestinationView:
    """By its name."""
    return await describe_destination(rooms, rooms.settings.subscriptions.get(name))


@post("/subscriptions", summary="Tell an application", tags=["sending"], responses=PROBLEMS)
async def add_destination(
    rooms: AppStateDep, data: Annotated[NewDestination, BodyKwarg()], reader_zone: ReaderZone
) -> AddedDestination:
    """From now on, or from the first call that `since` means."""
    values: dict[str, Any] = {name: getattr(data, name) for name in data.__struct_fields__}
    name, secret = values.pop("name"), values.pop("secret")
    destination_filter = parse_destination_filter(rooms, data.where, reader_zone)
    after_seq = None if destination_filter.since is not None else await rooms.ledger.last()
    destination, secret_text = rooms.settings.subscriptions.add(
        name,
        DestinationSpec(**(values | {"where": destination_filter})),
        secret,
        after=after_seq,
        at=rooms.clock.microseconds(),
    )
    return AddedDestination(subscription=mask_secrets(destination), secret=secret_text)


@patch("/subscriptions/{name:str}", summary="Change a subscription", tags=["sending"], responses=PROBLEMS)
async def change_destination(
    rooms: AppStateDep, name: Name, data: Annotated[DestinationPatch, BodyKwarg()], reader_zone: ReaderZone
) -> Destination:
    """It goes on where it is."""
    values = {field: getattr(data, field) for field in data.__struct_fields__}
    changes = {field: value for field, value in values.items() if value is not msgspec.UNSET}
    if "where" in changes:
        changes["where"] = parse_destination_filter(rooms, changes["where"], reader_zone)
    if not changes:
        raise UsageError("nothing is to be changed", todo="give another URL, filter or name")
    return mask_secrets(rooms.settings.subscriptions.change(name, changes))


@delete("/subscriptions/{name:str}", summary="Tell an application no more", tags=["sending"], responses=PROBLEMS)
async def remove_destination(rooms: AppStateDep, name: Name) -> None:
    """What is owed to it is forgotten."""
    rooms.settings.subscriptions.remove(name)


@post(
    "/subscriptions/{name:str}/pause", summary="Keep back what is owed", tags=["sending"], responses=PROBLEMS,
    status_code=200,
)  # fmt: skip
async def pause_destination(rooms: AppStateDep, name: Name) -> Destination:
    """Nothing is lost: it is sent when the subscription goes on."""
    return mask_secrets(rooms.settings.subscriptions.set_state(name, "paused"))


@post("/subscriptions/{name:str}/resume", summary="Go on", tags=["sending"], responses=PROBLEMS, status_code=200)
async def resume_destination(rooms: AppStateDep, name: Name) -> Destination:
    """After a pause, or after it was disabled."""
    return mask_secrets(rooms.settings.subscriptions.set_state(name, "active"))


@post("/subscriptions/{name:str}/test", summary="Send a test", tags=["sending"], responses=PROBLEMS, status_code=200)
async def send_test_notification(rooms: AppStateDep, name: Name) -> DestinationTestResult:
    """The signed test message of the original, now; and what was answered."""
    return await rooms.sending.try_out(name)


@post(
    "/subscriptions/{name:str}/retry", summary="Try all that waits or is parked", tags=["sending"], responses=PROBLEMS,
    status_code=200,
)  # fmt: skip
async def retry_deliveries(rooms: AppStateDep, name: Name) -> RetryAllResult:
    """Now, each with all attempts of the plan before it."""
    destination = rooms.settings.subscriptions.get(name)
    return RetryAllResult(
        rooms.settings.deliveries.retry_all(destination.subscription_id, at=rooms.clock.microseconds())
    )


@post("/subscriptions/{name:str}/replay", summary="Send again", tags=["sending"], responses=PROBLEMS, status_code=200)
async def replay_records(
    rooms: AppStateDep, name: Name, data: Annotated[ReplayRequest, BodyKwarg()], reader_zone: ReaderZone
) -> ReplayResult:
    """What matches the filters given here and those of the subscription; live events go on beside it."""
    replay_filter = parse_destination_filter(rooms, data.where, reader_zone)
    return ReplayResult(await replay(rooms.settings, rooms.store, name, replay_filter, rooms.clock))


@get("/subscriptions/{name:str}/secrets", summary="What it is signed with", tags=["sending"], responses=PROBLEMS)
async def list_signing_secrets(rooms: AppStateDep, name: Name) -> SecretList:
    """The oldest first, without their texts."""
    return SecretList(rooms.settings.subscriptions.secrets(name))


@post("/subscriptions/{name:str}/secrets", summary="Sign with another secret", tags=["sending"], responses=PROBLEMS)
async def add_signing_secret(
    rooms: AppStateDep, name: Name, data: Annotated[NewSigningSecret, BodyKwarg()]
) -> AddedSigningSecret:
    """Beside those it has: so a secret is changed without an event refused."""
    stored_secret, text = rooms.settings.subscriptions.add_secret(
        name, data.secret, at=rooms.clock.microseconds(), label=data.label
    )
    return AddedSigningSecret(stored_secret.secret_id, stored_secret.label, text)


@delete(
    "/subscriptions/{name:str}/secrets/{secret_id:int}", summary="Sign with a secret no more", tags=["sending"],
    responses=PROBLEMS,
)  # fmt: skip
async def remove_signing_secret(rooms: AppStateDep, name: Name, secret_id: SecretId) -> None:
    """The last one stays."""
    rooms.settings.subscriptions.remove_secret(name, secret_id)


ROUTES = (
    list_destinations,
    read_destination,
    add_destination,
    change_destination,
    remove_destination,
    pause_destination,
    resume_destination,
    send_test_notification,
    retry_deliveries,
    replay_records,
    list_signing_secrets,
    add_signing_secret,
    remove_signing_secret,
)


async def describe_destination(rooms: AppState, one: Destination) -> DestinationView:
    """A subscription as everybody may see it, and how it stands."""
    return await view_destination(one, rooms.settings, rooms.store, rooms.clock.now())


def parse_destination_filter(rooms: AppState, given: dict[str, str], zone: ZoneInfo) -> RecordFilter:
    """Filters as people write them; `7d` means seven days before now, and stays that moment. Raises `UsageError`."""
    return parse_filter(given, zone, rooms.clock.now())
