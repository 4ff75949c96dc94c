"""Who gets a scheduled report now: the user, and other addresses where the user may mail them.

Invariants: an address that is not the user's own gets a mail only with a link that ends it. What keeps a recipient from
getting one is said in the result of the run.
"""

import msgspec

from onhook.appdb.appdb import AppDb
from onhook.appdb.report_schedules import ReportSchedule, select_recipients
from onhook.appdb.users import User
from onhook.console.invitation_mails import find_console_url
from onhook.lib.messages import _, _n

MAILS_PER_HOUR = 20
"""Scheduled reports to one address: as many as a user can have."""

_HOUR_MICROSECONDS = 3_600 * 1_000_000


class Recipients(msgspec.Struct, frozen=True, kw_only=True):
    """The user's `own` address or empty, the `other_addresses`, and what keeps some from getting a mail."""

    own: str
    other_addresses: list[str]
    problems: list[str]

    @property
    def count(self) -> int:
        return len(self.other_addresses) + bool(self.own)


def may_mail_others(user: User) -> bool:
    """Return whether a user may have reports sent to addresses that are not their own."""
    return user.role == "administrator" or "mail" in user.permissions


async def find_recipients(appdb: AppDb, schedule: ReportSchedule, user: User, *, now_us: int) -> Recipients:
    """Return who gets the report now. A test goes to the user's own address, where there is one."""
    spec, problems = schedule.spec, list[str]()
    optouts = await appdb.report_schedules.list_optouts(schedule.schedule_id)
    is_test_to_self = schedule.test_at is not None and bool(user.email)
    own = user.email if spec.to_user or is_test_to_self else ""
    if spec.to_user and not user.email:
        problems.append(_("{name} has no e-mail address", name=user.name))
    named = [address for address in spec.addresses if address.casefold() != own.casefold()]
    other_addresses = [] if is_test_to_self else select_recipients(named, optouts)
    if not is_test_to_self and (ended_count := len(named) - len(other_addresses)):
        problems.append(_n("1 recipient has unsubscribed", "{count} recipients have unsubscribed", ended_count))
    if other_addresses and not may_mail_others(user):
        problems.append(_("{name} may not mail other addresses", name=user.name))
        other_addresses = []
    if other_addresses and not await find_console_url(appdb):
        problems.append(_("the address of the console is not set, with which links for unsubscribing begin"))
        other_addresses = []
    allowed = [
        address for address in (own, *other_addresses) if address and await _is_within_limit(appdb, address, now_us)
    ]
    if limited_count := len(other_addresses) + bool(own) - len(allowed):
        problems.append(
            _n(
                "1 recipient had {maximum} reports within the hour",
                "{count} recipients had {maximum} reports within the hour",
                limited_count,
                maximum=MAILS_PER_HOUR,
            )
        )
    return Recipients(
        own=own if own in allowed else "",
        other_addresses=[address for address in other_addresses if address in allowed],
        problems=problems,
    )


async def _is_within_limit(appdb: AppDb, address: str, now_us: int) -> bool:
    count = await appdb.mails.count_added("report", address, since_us=now_us - _HOUR_MICROSECONDS)
    return count < MAILS_PER_HOUR
