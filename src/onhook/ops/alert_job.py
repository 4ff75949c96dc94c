"""The job that notifies users of issues and alarms by their own channels, outside of their quiet hours.

Invariants: each beginning and each end of an issue is sent once by each channel. What falls into quiet hours is sent
once afterwards: each issue as it is then, in one mail. It is added in the transaction that deletes it from what is
pending.
"""

import logging
from collections.abc import Mapping, Sequence
from zoneinfo import ZoneInfo

from onhook.appdb.alert_channels import AlertChannel
from onhook.appdb.appdb import AppDb
from onhook.appdb.destinations import Destination
from onhook.appdb.issue_recipients import IssueNotice
from onhook.appdb.issues import StoredIssue, make_issue_delivery
from onhook.appdb.users import User
from onhook.lib.clock import Clock
from onhook.lib.languages import use_language
from onhook.lib.messages import _
from onhook.lib.periodic_job import run_periodically
from onhook.lib.quiet_hours import QuietHours
from onhook.lib.transition_log import TransitionLog
from onhook.ops.issue_mailer import count_mails, group_notices, load_console_url, make_issue_mail

ROUND_SECONDS = 15.0
"""As often as issues are looked for."""

MAILS_PER_HOUR = 6
"""To one user; the last one of them is a summary of all that is pending then."""

_NO_HOURS = QuietHours()


class AlertJob:
    """Created once per process; `run` is called with the lease of the job."""

    def __init__(self, appdb: AppDb, clock: Clock, zone: ZoneInfo) -> None:
        self._appdb = appdb
        self._clock = clock
        self._zone = zone

    async def run(self) -> None:
        """Notify users until cancelled."""
        failure_log = TransitionLog(
            logging.getLogger("alerts"), begins="cannot notify users of issues", ends="users are notified again"
        )
        await run_periodically(self.run_round, ROUND_SECONDS, failure_log)

    async def run_round(self) -> None:
        """Notify of what is pending. Raises `OnhookError`."""
        channels = await self._appdb.alert_channels.with_pending()
        if not channels:
            return
        hours = await self._appdb.alert_channels.all_quiet_hours()
        destinations = {destination.destination_id: destination for destination in await self._appdb.destinations.all()}
        for channel in channels:
            quiet_hours = hours.get(channel.user_name, _NO_HOURS)
            if not quiet_hours.contains(self._clock.now()):
                async with self._appdb.transaction():
                    await self._notify(channel, quiet_hours, destinations)

    async def _notify(
        self, channel: AlertChannel, quiet_hours: QuietHours, destinations: Mapping[int, Destination]
    ) -> None:
        """Notify by one channel. What its user may not see any longer is dropped."""
        notices = await self._appdb.alert_channels.pending(channel.channel_id)
        user = await self._appdb.users.find(channel.user_name)
        if user is None or user.is_disabled or user.scope is not None:
            await self._appdb.alert_channels.delete_pending(channel.channel_id, notices)
            return
        held, fresh = split_held(notices, quiet_hours)
        if channel.destination_id is None:
            await self._add_mails(channel, user, quiet_hours, notices, held, fresh)
        elif (destination := destinations.get(channel.destination_id)) is not None:
            await self._add_deliveries(channel, destination, notices, [*held, *fresh])

    async def _add_mails(  # noqa: PLR0917 - what a mail is made of
        self,
        channel: AlertChannel,
        user: User,
        quiet_hours: QuietHours,
        notices: Sequence[IssueNotice],
        held: Sequence[IssueNotice],
        fresh: Sequence[IssueNotice],
    ) -> None:
        """Add a mail about all that was held, and one for each other notice as far as the mails of the hour go."""
        appdb, now_us = self._appdb, self._clock.microseconds()
        if not user.email:
            await appdb.alert_channels.delete_pending(channel.channel_id, notices)
            return
        key = f"alert {channel.channel_id}"
        allowed_count = MAILS_PER_HOUR - await count_mails(appdb, key, user.email, now_us=now_us)
        if allowed_count <= 0:
            return
        zone = self._zone if quiet_hours == _NO_HOURS else ZoneInfo(quiet_hours.zone)
        language = (await appdb.reader_settings.get(user.name)).language
        console_url = await load_console_url(appdb)
        groups = group_notices(fresh, allowed_count - bool(held))
        with use_language(language):
            mails = [make_issue_mail(key, user.email, group, console_url, zone) for group in groups]
            if held:
                note = _("In your quiet hours:")
                mails.insert(0, make_issue_mail(key, user.email, held, console_url, zone, note))
        for mail in mails:
            await appdb.mails.add(mail, now_us=now_us)
        waiting = {(notice.issue_id, notice.state) for notice in fresh} if not groups else set()
        sent = [notice for notice in notices if (notice.issue_id, notice.state) not in waiting]
        await appdb.alert_channels.delete_pending(channel.channel_id, sent)

    async def _add_deliveries(
        self,
        channel: AlertChannel,
        destination: Destination,
        notices: Sequence[IssueNotice],
        sent_notices: Sequence[IssueNotice],
    ) -> None:
        """Add a notification for each notice, unless the destination has too many: then they wait."""
        appdb, now_us = self._appdb, self._clock.microseconds()
        if not (destination.chosen_by_users and destination.notifies_of == "issues"):
            await appdb.alert_channels.delete_pending(channel.channel_id, notices)
            return
        if (await appdb.deliveries.backlog(destination.destination_id)).is_full:
            return
        for notice in sent_notices:
            if destination.filter.sn in (None, notice.sn):
                notification_id = f"alert-{channel.channel_id}-{notice.issue_id}-{notice.state}"
                delivery = make_issue_delivery(notification_id, _to_issue(notice), now_us=now_us)
                await appdb.deliveries.add(destination.destination_id, delivery)
        await appdb.alert_channels.delete_pending(channel.channel_id, notices)


def split_held(notices: Sequence[IssueNotice], quiet_hours: QuietHours) -> tuple[list[IssueNotice], list[IssueNotice]]:
    """Return what fell into quiet hours, each issue once as it is now, and all else. An issue whose end came after the
    quiet hours is among the held ones with it.
    """
    held_ids = {notice.issue_id for notice in notices if quiet_hours.contains(notice.noted_at)}
    # The notices of an issue are in order: the last one is as it is now.
    held = {notice.issue_id: notice for notice in notices if notice.issue_id in held_ids}
    return list(held.values()), [notice for notice in notices if notice.issue_id not in held_ids]


def _to_issue(notice: IssueNotice) -> StoredIssue:
    """Return the issue as a notification has it: open where it is about the beginning."""
    return StoredIssue(
        issue_id=notice.issue_id,
        kind=notice.kind,
        sn=notice.sn,
        subject=notice.subject,
        detail=notice.detail,
        hint=notice.hint,
        began_at=notice.began_at,
        ended_at=notice.ended_at if notice.state == "ended" else None,
    )
