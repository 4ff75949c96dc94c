"""Invitations and links to choose another password, by mail.

Invariants: a link begins with the address of the console that an administrator has set, never with that of a request. A
request for another password is answered the same for every name; it changes nothing but that a link is sent to the
address of the user, and no more than a few an hour and a day.
"""

import secrets

from onhook.appdb.appdb import AppDb
from onhook.appdb.mails import MailContent, NewMail
from onhook.appdb.users import INVITATION_MICROSECONDS, User
from onhook.lib.clock import Clock
from onhook.lib.errors import OnhookError
from onhook.lib.languages import use_language
from onhook.lib.messages import _

RESET_MICROSECONDS = 3_600 * 1_000_000
"""How long a link to choose another password is valid."""

RESETS_PER_HOUR, RESETS_PER_DAY = 3, 6
"""Mails with links to one address; a person asks again where one seems to be lost."""

_HOUR_MICROSECONDS = 3_600 * 1_000_000

KEY_BYTES = 16


def invitation_path(invitation: str) -> str:
    """Return the path on the console where a password is chosen."""
    return f"/invitation?invitation={invitation}"


async def find_console_url(appdb: AppDb) -> str:
    """Return where links in mails begin; empty where no mails with links can be sent."""
    try:
        settings = await appdb.mail_settings.get()
    except OnhookError:  # the page of the settings says why
        return ""
    return "" if settings is None else settings.console_url


async def find_public_url(appdb: AppDb) -> str:
    """Return the address of the console as people know it, of the settings of the sign-in or else of the mails; empty
    where none is set.
    """
    settings = await appdb.sign_in_settings.get()
    return settings.console_url or await find_console_url(appdb)


async def has_mail_server(appdb: AppDb) -> bool:
    """Return whether a mail server is set that can be used."""
    try:
        return await appdb.mail_settings.get() is not None
    except OnhookError:  # the page of the settings says why
        return False


async def add_invitation_mail(appdb: AppDb, clock: Clock, user: User, invitation: str) -> str:
    """Add the mail with the link of an invitation; return the address, or an empty text where no mail is sent. It is in
    the language of the user, or else in that of who invites.
    """
    console_url = await find_console_url(appdb)
    if not user.email or not console_url:
        return ""
    with use_language((await appdb.reader_settings.get(user.name)).language):
        mail = _make_invitation_mail(user, console_url + invitation_path(invitation))
    await appdb.mails.add(mail, now_us=clock.microseconds())
    return user.email


async def request_reset(appdb: AppDb, clock: Clock, name_or_address: str) -> None:
    """Add the mail with a link to choose another password, where there is such a user with an address. One who has not
    chosen a password yet, or is disabled, gets none. Raises `Unavailable`.
    """
    console_url, now_us = await find_console_url(appdb), clock.microseconds()
    async with appdb.transaction():
        user = await appdb.users.find(name_or_address) or await appdb.users.find_by_email(name_or_address)
        if user is None or not user.email or not user.has_password or user.is_disabled or not console_url:
            return
        for hours, maximum in ((1, RESETS_PER_HOUR), (24, RESETS_PER_DAY)):
            since_us = now_us - hours * _HOUR_MICROSECONDS
            if await appdb.mails.count_added("invitation", user.email, since_us=since_us) >= maximum:
                return
        invitation = await appdb.users.invite(user.name, now_us=now_us, lifetime_us=RESET_MICROSECONDS)
        with use_language((await appdb.reader_settings.get(user.name)).language):
            mail = _make_reset_mail(user, console_url + invitation_path(invitation))
        await appdb.mails.add(mail, now_us=now_us)


def _make_invitation_mail(user: User, link: str) -> NewMail:
    text = _(
        "You are invited to Onhook as {name}. Choose a password here, once and within three days:\n\n{link}",
        name=user.name,
        link=link,
    )
    return _make_mail(user, _("Invitation to Onhook"), text, INVITATION_MICROSECONDS)


def _make_reset_mail(user: User, link: str) -> NewMail:
    text = _(
        "Somewhere another password was asked for, for {name}. Choose it here, once and within an hour:\n\n{link}"
        "\n\nIf it was not you, do nothing: your password is unchanged.",
        name=user.name,
        link=link,
    )
    return _make_mail(user, _("Another password for Onhook"), text, RESET_MICROSECONDS)


def _make_mail(user: User, subject: str, text: str, lifetime_us: int) -> NewMail:
    """Return a mail that is given up when its link is no longer valid. Its key, which stays, is none of the link."""
    return NewMail(
        mail_key=f"invitation {secrets.token_hex(KEY_BYTES)}",
        kind="invitation",
        recipient=user.email,
        subject=subject,
        content=MailContent(text=text),
        lifetime_us=lifetime_us,
    )
