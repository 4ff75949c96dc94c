"""`/api/v1/destinations`: destinations, their secrets, tests and replays."""

from collections.abc import Collection
from typing import Annotated, Any

import msgspec
from litestar import delete, get, patch, post
from litestar.params import BodyKwarg, QueryParameter

from onhook.appdb.destination_spec import PayloadFormat, format_standard_webhooks_secret
from onhook.appdb.destinations import Destination
from onhook.console.api.pbxs import AddedSecret, NewSecret, SecretList
from onhook.console.parameters import DestinationName, ReaderZone, SecretId
from onhook.console.problem_documents import PROBLEMS
from onhook.console.queries.destinations import (
    AddedDestination,
    FilterTexts,
    NewDestination,
    create_destination,
    describe_destination,
    describe_destinations,
    parse_destination_filter,
)
from onhook.console.state import AppStateDep
from onhook.delivery.address_check import check_change
from onhook.delivery.preview import NotificationPreview
from onhook.delivery.status import DestinationTestResult, DestinationView, mask_secrets, replay
from onhook.lib.errors import UsageError
from onhook.lib.messages import _

PreviewCallId = Annotated[str, QueryParameter(max_length=200, description="Id of the call; without one the newest")]
PreviewFormat = Annotated[
    PayloadFormat | None, QueryParameter(description="Payload format; without one that of the destination")
]
SampleQuery = Annotated[bool, QueryParameter(description="Send a sample event instead of the test message")]


def _optional_members(name: str, struct: type[msgspec.Struct], excluded: Collection[str]) -> type[msgspec.Struct]:
    """Return a struct with the members of another one, each of which may be left out."""
    members = [
        (field.name, field.type | msgspec.UnsetType, msgspec.UNSET)
        for field in msgspec.structs.fields(struct)
        if field.name not in excluded
    ]
    return msgspec.defstruct(
        name, members, frozen=True, kw_only=True, forbid_unknown_fields=True, module=__name__,
        namespace={"__doc__": "Members to change; the others stay. `filter` replaces all of its filters."},
    )  # fmt: skip


DestinationPatch: Any = _optional_members("DestinationPatch", NewDestination, {"kind", "secret"})


class ChangedDestination(Destination, frozen=True, kw_only=True):
    """The destination after the change. `warnings` are about its address. `standard_webhooks_secrets` are its secrets
    in the form of Standard Webhooks, where the change added these; returned this once.
    """

    warnings: list[str]
    standard_webhooks_secrets: list[str]


class DestinationList(msgspec.Struct, frozen=True):
    """All destinations, by name."""

    data: list[DestinationView]
    next: None = None


class ReplayRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to send again: `since` at least, and other filters."""

    filter: FilterTexts


class ReplayResult(msgspec.Struct, frozen=True):
    """The number of records that are sent again."""

    records: int


class RetryAllResult(msgspec.Struct, frozen=True):
    """The number of retried deliveries."""

    notifications: int


@get("/destinations", summary="List destinations", tags=["destinations"], responses=PROBLEMS)
async def list_destinations(app_state: AppStateDep) -> DestinationList:
    """List destinations with their pending notifications, without their secrets."""
    return DestinationList(await describe_destinations(app_state))


@get("/destinations/{name:str}", summary="Read a destination", tags=["destinations"], responses=PROBLEMS)
async def read_destination(app_state: AppStateDep, name: DestinationName) -> DestinationView:
    """Read a destination by its name."""
    return await describe_destination(app_state, await app_state.appdb.destinations.get(name))


@post("/destinations", summary="Add a destination", tags=["destinations"], responses=PROBLEMS)
async def add_destination(
    app_state: AppStateDep, data: Annotated[NewDestination, BodyKwarg()], reader_zone: ReaderZone
) -> AddedDestination:
    """Add a destination, from now on, or from the first call of `since`."""
    return await create_destination(app_state, data, reader_zone)


@patch("/destinations/{name:str}", summary="Change a destination", tags=["destinations"], responses=PROBLEMS)
async def change_destination(
    app_state: AppStateDep,
    name: DestinationName,
    data: Annotated[DestinationPatch, BodyKwarg()],
    reader_zone: ReaderZone,
) -> ChangedDestination:
    """Change a destination; delivery continues where it is."""
    values = {field: getattr(data, field) for field in data.__struct_fields__}
    changes = {field: value for field, value in values.items() if value is not msgspec.UNSET}
    if "filter" in changes:
        changes["filter"] = parse_destination_filter(app_state, changes["filter"], reader_zone)
    if not changes:
        raise UsageError(_("there is nothing to change"), hint=_("give another URL, filter or name"))
    destinations = app_state.appdb.destinations
    old = await destinations.get(name)
    warnings = await check_change(app_state.config, old, changes)
    changed = mask_secrets(await destinations.change(name, changes))
    is_new = changed.with_standard_webhooks and not old.with_standard_webhooks
    texts = await destinations.secret_texts(old.destination_id) if is_new else ()
    secrets = map(format_standard_webhooks_secret, texts)
    return ChangedDestination(
        **msgspec.structs.asdict(changed), warnings=warnings, standard_webhooks_secrets=list(secrets)
    )


@delete("/destinations/{name:str}", summary="Delete a destination", tags=["destinations"], responses=PROBLEMS)
async def remove_destination(app_state: AppStateDep, name: DestinationName) -> None:
    """Delete a destination with its pending notifications."""
    await app_state.appdb.destinations.remove(name)


@post(
    "/destinations/{name:str}/pause", summary="Pause a destination", tags=["destinations"], responses=PROBLEMS,
    status_code=200,
)  # fmt: skip
async def pause_destination(app_state: AppStateDep, name: DestinationName) -> Destination:
    """Pause a destination. Pending notifications are sent when it is resumed."""
    return mask_secrets(await app_state.appdb.destinations.set_state(name, "paused"))


@post(
    "/destinations/{name:str}/resume",
    summary="Resume a destination",
    tags=["destinations"],
    responses=PROBLEMS,
    status_code=200,
)
async def resume_destination(app_state: AppStateDep, name: DestinationName) -> Destination:
    """Resume a destination after a pause, or after it was disabled."""
    return mask_secrets(await app_state.appdb.destinations.set_state(name, "active"))


@post(
    "/destinations/{name:str}/test", summary="Send a test", tags=["destinations"], responses=PROBLEMS, status_code=200
)
async def send_test_notification(
    app_state: AppStateDep, name: DestinationName, sample: SampleQuery = False
) -> DestinationTestResult:
    """Send the signed test message of the original now, or a sample event; the response has its result."""
    return await app_state.delivery_actions.send_test(name, is_sample=sample)


@get("/destinations/{name:str}/preview", summary="Preview a notification", tags=["destinations"], responses=PROBLEMS)
async def preview_destination(
    app_state: AppStateDep, name: DestinationName, call_id: PreviewCallId = "", payload_format: PreviewFormat = None
) -> NotificationPreview:
    """Return the notification of a call as it would be sent now, of the newest call that matches without `call_id`, in
    the payload format of the destination or another one. Secrets and values of headers are hidden, and nothing is sent.
    """
    return await app_state.delivery_actions.preview(name, call_id, payload_format)


@post(
    "/destinations/{name:str}/retry", summary="Retry all deliveries", tags=["destinations"],
    responses=PROBLEMS, status_code=200,
)  # fmt: skip
async def retry_deliveries(app_state: AppStateDep, name: DestinationName) -> RetryAllResult:
    """Retry all retrying and failed deliveries now, each with all attempts of the retry policy."""
    destination = await app_state.appdb.destinations.get(name)
    return RetryAllResult(
        await app_state.appdb.deliveries.retry_all(destination.destination_id, now_us=app_state.clock.microseconds())
    )


@post(
    "/destinations/{name:str}/replay",
    summary="Replay records",
    tags=["destinations"],
    responses=PROBLEMS,
    status_code=200,
)
async def replay_records(
    app_state: AppStateDep, name: DestinationName, data: Annotated[ReplayRequest, BodyKwarg()], reader_zone: ReaderZone
) -> ReplayResult:
    """Send records again that match these filters and those of the destination; live events continue."""
    replay_filter = parse_destination_filter(app_state, data.filter, reader_zone)
    return ReplayResult(await replay(app_state.appdb, app_state.store, name, replay_filter, app_state.clock))


@get("/destinations/{name:str}/secrets", summary="List signing secrets", tags=["destinations"], responses=PROBLEMS)
async def list_signing_secrets(app_state: AppStateDep, name: DestinationName) -> SecretList:
    """List the signing secrets, the oldest first, without their texts."""
    return SecretList(await app_state.appdb.destinations.secrets(name))


@post("/destinations/{name:str}/secrets", summary="Add a signing secret", tags=["destinations"], responses=PROBLEMS)
async def add_signing_secret(
    app_state: AppStateDep, name: DestinationName, data: Annotated[NewSecret, BodyKwarg()]
) -> AddedSecret:
    """Add a signing secret beside the others: so a secret is changed without a rejected notification."""
    stored_secret, text = await app_state.appdb.destinations.add_secret(
        name, data.secret, now_us=app_state.clock.microseconds(), label=data.label
    )
    return AddedSecret(stored_secret.secret_id, stored_secret.label, text)


@delete(
    "/destinations/{name:str}/secrets/{secret_id:int}", summary="Remove a signing secret", tags=["destinations"],
    responses=PROBLEMS,
)  # fmt: skip
async def remove_signing_secret(app_state: AppStateDep, name: DestinationName, secret_id: SecretId) -> None:
    """Remove a signing secret; the last one cannot be removed."""
    await app_state.appdb.destinations.remove_secret(name, secret_id)


ROUTES = (
    list_destinations,
    read_destination,
    add_destination,
    change_destination,
    remove_destination,
    pause_destination,
    resume_destination,
    send_test_notification,
    preview_destination,
    retry_deliveries,
    replay_records,
    list_signing_secrets,
    add_signing_secret,
    remove_signing_secret,
)
