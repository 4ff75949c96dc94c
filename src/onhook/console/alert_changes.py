"""Adding and testing alert channels of users, as page, API and command do it.

Invariants: a channel is that of one user, who sees all issues: enabled, and without a limit. Users see and change their
own ones, an administrator those of all.
"""

import shlex
from collections.abc import Sequence
from typing import Final

from litestar.exceptions import PermissionDeniedException

from onhook.appdb.alert_channels import AlertChannel
from onhook.appdb.appdb import AppDb
from onhook.appdb.destinations import Destination
from onhook.appdb.issues import StoredIssue, make_issue_delivery
from onhook.appdb.mails import MailContent, NewMail
from onhook.appdb.users import User
from onhook.console.auth.access import Principal, may_act_for
from onhook.console.state import AppState
from onhook.lib.clock import Clock
from onhook.lib.errors import NotFound, UsageError
from onhook.lib.messages import _

MAIL = "mail"
"""The channel that is no destination."""

TEST_KIND: Final = "alert_test"
"""Kind of the issue of a test, which is never open."""

TEST_WAIT_MICROSECONDS = 60_000_000
"""One test by mail in each such stretch of time: a person looks at the first one before."""


def is_choosable(destination: Destination) -> bool:
    """Return whether users may choose a destination as a channel."""
    return destination.chosen_by_users and destination.notifies_of == "issues"


async def add_channel(appdb: AppDb, user_name: str, destination_name: str, kinds: Sequence[str]) -> AlertChannel:
    """Add a channel of a user: the mail where `destination_name` is empty. Raises `UsageError`, `NotFound`."""
    user = await appdb.users.get(user_name)
    check_user(user)
    if not destination_name:
        return await appdb.alert_channels.add(user.name, None, kinds)
    destination = await appdb.destinations.get(destination_name)
    if not is_choosable(destination):
        raise UsageError(
            _("{name} is no destination that users choose", name=destination.name),
            location="destination",
            hint=_("add one with `onhook destination add NAME --notifies-of issues --chosen-by-users`"),
        )
    return await appdb.alert_channels.add(user.name, destination.destination_id, kinds)


def check_user(user: User) -> None:
    """Check that a user sees issues. Raises `UsageError`."""
    if user.scope is not None:
        raise UsageError(
            _("{name} is limited, and sees no issues", name=user.name),
            location="user",
            hint=_("alerts are for users without a limit"),
        )


def get_owner(principal: Principal | None, user_name: str) -> str:
    """Return whose alerts are meant: those of the user of the request, or of the user that an administrator names.
    Raises 403.
    """
    if principal is not None and principal.role == "administrator" and user_name:
        return user_name
    if principal is None or not principal.is_user:
        raise PermissionDeniedException(_("a token has no alerts: sign in, or name a user as an administrator"))
    if user_name not in ("", principal.name):
        raise PermissionDeniedException(_("only an administrator changes alerts of other users"))
    return principal.name


async def list_channels(app_state: AppState, principal: Principal | None) -> list[AlertChannel]:
    """Return the channels that a user sees: the own ones, an administrator those of all."""
    if principal is not None and principal.role == "administrator":
        return await app_state.appdb.alert_channels.all()
    if principal is None or not principal.is_user:
        return []
    return await app_state.appdb.alert_channels.of_user(principal.name)


async def find_channel(app_state: AppState, principal: Principal | None, channel_id: int) -> AlertChannel:
    """Return a channel that a user may see and change. Raises `NotFound`."""
    channel = await app_state.appdb.alert_channels.get(channel_id)
    if may_act_for(principal, channel.user_name):
        return channel
    raise NotFound(_("there is no alert channel {number}", number=channel_id), hint=_("`onhook alert list` lists them"))


def _describe_refusal(destination: Destination) -> str:
    """Return why no test can be sent to a destination."""
    if not is_choosable(destination):
        return _("{name} is no destination that users choose", name=destination.name)
    if destination.state == "paused":
        return _("{name} is paused", name=destination.name)
    return _("{name} is disabled", name=destination.name)


async def send_test(appdb: AppDb, clock: Clock, channel: AlertChannel) -> None:
    """Have a test sent within seconds, on the way of an alert: quiet hours do not hold it back. Raises `UsageError`
    where none can be sent now.
    """
    if channel.destination_id is None:
        await _add_test_mail(appdb, clock, channel)
        return
    destination = await appdb.destinations.find_by_id(channel.destination_id)
    if destination is None:  # removed meanwhile, with its channels
        raise NotFound(_("there is no such user or destination"))
    if destination.state != "active" or not is_choosable(destination):
        raise UsageError(
            _describe_refusal(destination),
            hint=_("`onhook destination show {name}` says why", name=shlex.quote(destination.name)),
        )
    if (await appdb.deliveries.backlog(destination.destination_id)).is_full:
        raise UsageError(
            _("too many notifications of {name} are pending", name=destination.name),
            hint=_("`onhook destination show {name}` says why", name=shlex.quote(destination.name)),
        )
    now_us = clock.microseconds()
    issue = StoredIssue(
        issue_id=0,
        kind=TEST_KIND,
        sn="",
        subject=_("Test"),
        detail=_("This is a test of the alerts of {name}.", name=channel.user_name),
        hint=_("Nothing is to be done."),
        began_at=clock.now(),
        ended_at=None,
        title=_("Test of alerts"),
    )
    delivery = make_issue_delivery(f"alert-test-{channel.channel_id}-{now_us}", issue, now_us=now_us)
    await appdb.deliveries.add(destination.destination_id, delivery)


async def _add_test_mail(appdb: AppDb, clock: Clock, channel: AlertChannel) -> None:
    user, now_us = await appdb.users.get(channel.user_name), clock.microseconds()
    if not user.email:
        raise UsageError(
            _("{name} has no e-mail address", name=user.name), hint=_("an administrator sets it on the page Users")
        )
    await appdb.mail_settings.require()
    mail = NewMail(
        mail_key=f"alert-test {channel.channel_id} {now_us // TEST_WAIT_MICROSECONDS}",
        kind="issues",
        recipient=user.email,
        subject=_("Test of alerts"),
        content=MailContent(text=_("This is a test of the alerts of {name}.", name=user.name)),
    )
    if not await appdb.mails.add(mail, now_us=now_us):
        raise UsageError(_("a test was sent a moment ago"), hint=_("wait a minute"))
