"""`/account/alerts`: of which issues and alarms a user is notified, by which ways, and in which hours by none.

Invariant: every route is for the user of the request. Only users without a limit see issues, so only they choose.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, ClassVar

import msgspec
from litestar import Response, get, post
from litestar.exceptions import PermissionDeniedException
from litestar.params import PathParameter
from litestar.response import Redirect

from onhook.appdb.alert_channels import ALERT_KINDS
from onhook.appdb.destinations import Destination
from onhook.appdb.issue_texts import describe_kind
from onhook.appdb.users import User
from onhook.console.alert_changes import MAIL, find_channel, is_choosable, send_test
from onhook.console.auth.access import OWN_QUESTIONS, get_principal, require_session
from onhook.console.invitation_mails import has_mail_server
from onhook.console.pages.formatting import hour_of_day, url
from onhook.console.pages.page import FORM_BODY, MESSAGE_CHARACTERS_MAX, Message, render_page
from onhook.console.pages.rendering import View
from onhook.console.parameters import SEQ_MAX, ReaderZone
from onhook.console.state import AnyRequest, AppState, AppStateDep
from onhook.lib.errors import NotFound, UsageError
from onhook.lib.messages import _, mark
from onhook.lib.quiet_hours import QuietHours

ChannelNumber = Annotated[int, PathParameter(ge=1, le=SEQ_MAX)]

FIELDS_MAX = 400
"""Of the form: each kind by each of the channels."""

DIGITS_MAX = 2

GROUP_TITLES: Mapping[str, str] = MappingProxyType(
    {
        "destination": mark("Destinations that fail, are disabled or full"),
        "rejected": mark("Rejected requests to the intake"),
        "check": mark("This installation: disk, files, backlog, settings"),
    }
)
"""Of kinds of issues that are chosen together; alarms have titles of their own."""


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """A column of the form: its name there, its title, and the kinds that are chosen for it; `channel_id` once it is
    stored.
    """

    name: str
    title: str
    kinds: Sequence[str]
    channel_id: int | None = None


class AlertsView(View, frozen=True, kw_only=True):
    """Values of the page: ways by kinds, and quiet hours, which are those entered after an error. A session of a token
    has no `user`.
    """

    template: ClassVar = "alerts.html"
    user: User | None
    ways: Sequence[Way]
    kind_titles: Mapping[str, str]
    hours: Sequence[tuple[int, str]]
    quiet_hours: QuietHours
    has_mail_server: bool
    message: str = ""
    error: str = ""


@get("/account/alerts", include_in_schema=False)
async def alerts_page(
    request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone, message: Message = "", error: Message = ""
) -> Response[str]:
    """Return the page with what is chosen."""
    user = await _find_user(request, app_state)
    if user is None:
        return await _render(request, app_state, reader_zone, None, {}, QuietHours(), message=message, error=error)
    hours = await app_state.appdb.alert_channels.all_quiet_hours()
    kinds_by_channel = {
        _channel_name(channel.destination_id): channel.kinds
        for channel in await app_state.appdb.alert_channels.of_user(user.name)
    }
    quiet_hours = hours.get(user.name, QuietHours(zone=reader_zone.key))
    return await _render(
        request, app_state, reader_zone, user, kinds_by_channel, quiet_hours, message=message, error=error
    )


@post("/account/alerts", opt=OWN_QUESTIONS, include_in_schema=False, status_code=200)
async def change_alerts(
    request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone, data: Annotated[dict[str, str], FORM_BODY]
) -> Response[str] | Redirect:
    """Set what is chosen: a field `CHANNEL:KIND` for each, where the channel is `mail` or a destination's number."""
    user = await _find_user(request, app_state)
    if user is None:
        raise PermissionDeniedException(_("a token has no alerts: sign in as a user"))
    kinds_by_channel: dict[str, list[str]] = {}
    for field in list(data)[:FIELDS_MAX]:
        channel, separator, kind = field.partition(":")
        if separator and kind in ALERT_KINDS:
            kinds_by_channel.setdefault(channel, []).append(kind)
    quiet_hours = QuietHours(zone=data.get("zone", "")[:64] or reader_zone.key)
    try:
        quiet_hours = msgspec.structs.replace(
            quiet_hours, begin=_parse_hour(data.get("quiet_begin", "0")), end=_parse_hour(data.get("quiet_end", "0"))
        )
        names = {str(destination.destination_id) for destination in await _list_destinations(app_state)}
        chosen = {
            None if channel == MAIL else int(channel): kinds
            for channel, kinds in kinds_by_channel.items()
            if channel == MAIL or channel in names
        }
        await app_state.appdb.alert_channels.put(user.name, quiet_hours, chosen)
    except UsageError as error:
        return await _render(request, app_state, reader_zone, user, kinds_by_channel, quiet_hours, error=str(error))
    return _redirect(_("Alerts saved."))


@post("/account/alerts/{number:int}/test", opt=OWN_QUESTIONS, include_in_schema=False, status_code=200)
async def test_alerts(request: AnyRequest, app_state: AppStateDep, number: ChannelNumber) -> Redirect:
    """Have a test sent by a channel of the user."""
    user = await _find_user(request, app_state)
    if user is None:
        raise PermissionDeniedException(_("a token has no alerts: sign in as a user"))
    try:
        channel = await find_channel(app_state, get_principal(request.scope), number)
        await send_test(app_state.appdb, app_state.clock, channel)
    except (UsageError, NotFound) as error:
        return _redirect(error=str(error))
    return _redirect(_("A test is sent within seconds."))


ROUTES: tuple[Any, ...] = (alerts_page, change_alerts, test_alerts)


async def _find_user(request: AnyRequest, app_state: AppState) -> User | None:
    """Return the user who is signed in; None for a session of a token, which has no settings."""
    session = require_session(request.scope)
    return await app_state.appdb.users.find(session.user_name) if session.user_name else None


async def _list_destinations(app_state: AppState) -> list[Destination]:
    """Return the destinations that users may choose."""
    return [destination for destination in await app_state.appdb.destinations.all() if is_choosable(destination)]


def _redirect(message: str = "", *, error: str = "") -> Redirect:
    path = url("/account/alerts", message=message[:MESSAGE_CHARACTERS_MAX], error=error[:MESSAGE_CHARACTERS_MAX])
    return Redirect(path, status_code=303)


def _channel_name(destination_id: int | None) -> str:
    return MAIL if destination_id is None else str(destination_id)


def _parse_hour(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= DIGITS_MAX):
        raise UsageError(_("{text} is not an hour", text=repr(text[:20])), hint=_("choose one"))
    return int(text)


async def _render(  # noqa: PLR0917 - what the page is made of
    request: AnyRequest,
    app_state: AppState,
    zone: ReaderZone,
    user: User | None,
    kinds_by_channel: Mapping[str, Sequence[str]],
    quiet_hours: QuietHours,
    *,
    message: str = "",
    error: str = "",
) -> Response[str]:
    stored = await app_state.appdb.alert_channels.of_user(user.name) if user is not None else []
    channel_ids = {_channel_name(channel.destination_id): channel.channel_id for channel in stored}
    titles = {MAIL: _("Mail")}
    titles |= {str(destination.destination_id): destination.name for destination in await _list_destinations(app_state)}
    ways = [
        Way(name=name, title=title, kinds=kinds_by_channel.get(name, ()), channel_id=channel_ids.get(name))
        for name, title in titles.items()
    ]
    view = AlertsView(
        user=user,
        ways=ways,
        kind_titles={
            kind: _(GROUP_TITLES[kind]) if kind in GROUP_TITLES else describe_kind(kind).title for kind in ALERT_KINDS
        },
        hours=[(hour, hour_of_day(hour, zone)) for hour in range(24)],
        quiet_hours=quiet_hours,
        has_mail_server=await has_mail_server(app_state.appdb),
        message=message,
        error=error,
    )
    return await render_page(request, app_state, zone, view)
