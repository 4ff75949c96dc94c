"""`/api/v1/alerts`: by which ways users are notified of issues and alarms; users have their own ones."""

from collections.abc import Sequence
from typing import Annotated

import msgspec
from litestar import delete, get, post, put
from litestar.params import BodyKwarg, PathParameter, QueryParameter

from onhook.appdb.alert_channels import ALERT_KINDS, AlertChannel
from onhook.appdb.pbxs import NAME_CHARACTERS_MAX
from onhook.console.alert_changes import add_channel, find_channel, get_owner, list_channels, send_test
from onhook.console.auth.access import OWN_QUESTIONS, get_principal
from onhook.console.parameters import SEQ_MAX
from onhook.console.problem_documents import PROBLEMS
from onhook.console.state import AnyRequest, AppState, AppStateDep
from onhook.lib.quiet_hours import QuietHours

KIND_CHARACTERS_MAX = 40
ZONE_CHARACTERS_MAX = 64

ChannelNumber = Annotated[int, PathParameter(description="`channel_id` of a channel", ge=1, le=SEQ_MAX)]
UserQuery = Annotated[str, QueryParameter(description="User, for an administrator", max_length=NAME_CHARACTERS_MAX)]
OptionalName = Annotated[str, msgspec.Meta(max_length=NAME_CHARACTERS_MAX)]
Kinds = Annotated[
    list[Annotated[str, msgspec.Meta(max_length=KIND_CHARACTERS_MAX)]],
    msgspec.Meta(min_length=1, max_length=len(ALERT_KINDS)),
]
Hour = Annotated[int, msgspec.Meta(ge=0, le=23)]


class NewAlertChannel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A channel to add: `destination` is the name of one that users choose, empty for a mail to the own address.
    Without `kinds` it notifies of all. An administrator may name the `user` whose it is.
    """

    user: OptionalName = ""
    destination: OptionalName = ""
    kinds: Kinds | None = None


class AlertChannelKinds(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The kinds of issues of a channel; they replace those that it has."""

    kinds: Kinds


class AlertChannelInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A channel. `destination` is empty for a mail; `pending` is of how many beginnings and ends it is still to
    notify.
    """

    channel_id: int
    user: str
    destination: str
    kinds: Sequence[str]
    pending: int


class AlertChannelList(msgspec.Struct, frozen=True):
    """Channels, in the order in which they were added."""

    data: list[AlertChannelInfo]
    next: None = None


class UserQuietHours(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Hours in which a user is not notified, from `begin` to before `end` in a zone; equal ones are none. An
    administrator may name the `user`.
    """

    user: OptionalName = ""
    begin: Hour
    end: Hour
    zone: Annotated[str, msgspec.Meta(max_length=ZONE_CHARACTERS_MAX)] = ""


class QueuedTest(msgspec.Struct, frozen=True):
    """A test that is sent within seconds by a channel."""

    channel_id: int


@get("/alerts", summary="List alert channels", tags=["alerts"], responses=PROBLEMS)
async def list_alert_channels(request: AnyRequest, app_state: AppStateDep) -> AlertChannelList:
    """List the channels of the user; for an administrator those of all users."""
    channels = await list_channels(app_state, get_principal(request.scope))
    return AlertChannelList(await _describe(app_state, channels))


@post("/alerts", opt=OWN_QUESTIONS, summary="Add an alert channel", tags=["alerts"], responses=PROBLEMS)
async def add_alert_channel(
    request: AnyRequest, app_state: AppStateDep, data: Annotated[NewAlertChannel, BodyKwarg()]
) -> AlertChannelInfo:
    """Notify a user of issues: once when one begins, and once when it has ended."""
    owner = get_owner(get_principal(request.scope), data.user)
    channel = await add_channel(app_state.appdb, owner, data.destination, data.kinds or ALERT_KINDS)
    return (await _describe(app_state, [channel]))[0]


@put("/alerts/{number:int}", opt=OWN_QUESTIONS, summary="Change an alert channel", tags=["alerts"], responses=PROBLEMS)
async def change_alert_channel(
    request: AnyRequest, app_state: AppStateDep, number: ChannelNumber, data: Annotated[AlertChannelKinds, BodyKwarg()]
) -> AlertChannelInfo:
    """Set the kinds of issues of a channel."""
    await find_channel(app_state, get_principal(request.scope), number)
    channel = await app_state.appdb.alert_channels.change(number, data.kinds)
    return (await _describe(app_state, [channel]))[0]


@post(
    "/alerts/{number:int}/test",
    opt=OWN_QUESTIONS,
    summary="Send a test by an alert channel",
    tags=["alerts"],
    responses=PROBLEMS,
    status_code=202,
)
async def test_alert_channel(request: AnyRequest, app_state: AppStateDep, number: ChannelNumber) -> QueuedTest:
    """Have a test sent within seconds, also in quiet hours."""
    channel = await find_channel(app_state, get_principal(request.scope), number)
    await send_test(app_state.appdb, app_state.clock, channel)
    return QueuedTest(channel.channel_id)


@delete(
    "/alerts/{number:int}", opt=OWN_QUESTIONS, summary="Remove an alert channel", tags=["alerts"], responses=PROBLEMS
)
async def remove_alert_channel(request: AnyRequest, app_state: AppStateDep, number: ChannelNumber) -> None:
    """Notify a user by a channel no longer; what it was still to notify of is dropped."""
    await find_channel(app_state, get_principal(request.scope), number)
    await app_state.appdb.alert_channels.remove(number)


@get("/alerts/quiet-hours", summary="Read quiet hours", tags=["alerts"], responses=PROBLEMS)
async def read_quiet_hours(request: AnyRequest, app_state: AppStateDep, user: UserQuery = "") -> UserQuietHours:
    """Read the quiet hours of the user, or of the one that an administrator names."""
    owner = (await app_state.appdb.users.get(get_owner(get_principal(request.scope), user))).name
    hours = (await app_state.appdb.alert_channels.all_quiet_hours()).get(owner, QuietHours(zone=app_state.config.zone))
    return _describe_hours(owner, hours)


@put("/alerts/quiet-hours", opt=OWN_QUESTIONS, summary="Set quiet hours", tags=["alerts"], responses=PROBLEMS)
async def put_quiet_hours(
    request: AnyRequest, app_state: AppStateDep, data: Annotated[UserQuietHours, BodyKwarg()]
) -> UserQuietHours:
    """Set the hours; what falls into them is sent once afterwards. An empty zone is that of the installation."""
    owner = (await app_state.appdb.users.get(get_owner(get_principal(request.scope), data.user))).name
    hours = QuietHours(begin=data.begin, end=data.end, zone=data.zone or app_state.config.zone)
    return _describe_hours(owner, await app_state.appdb.alert_channels.put_hours(owner, hours))


ROUTES = (
    list_alert_channels,
    add_alert_channel,
    change_alert_channel,
    test_alert_channel,
    remove_alert_channel,
    read_quiet_hours,
    put_quiet_hours,
)


async def _describe(app_state: AppState, channels: Sequence[AlertChannel]) -> list[AlertChannelInfo]:
    names = await app_state.appdb.destinations.names()
    pending_counts = await app_state.appdb.alert_channels.count_pending()
    return [
        AlertChannelInfo(
            channel_id=channel.channel_id,
            user=channel.user_name,
            destination="" if channel.destination_id is None else names.get(channel.destination_id, ""),
            kinds=channel.kinds,
            pending=pending_counts.get(channel.channel_id, 0),
        )
        for channel in channels
    ]


def _describe_hours(user: str, hours: QuietHours) -> UserQuietHours:
    return UserQuietHours(user=user, begin=hours.begin, end=hours.end, zone=hours.zone)
