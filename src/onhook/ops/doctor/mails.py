"""Health check of the mails: whether the mail server takes them."""

from datetime import datetime, timedelta

from onhook.appdb.appdb import AppDb
from onhook.lib.errors import OnhookError
from onhook.lib.messages import _, _n
from onhook.ops.doctor.check import Check

DELAY = timedelta(minutes=30)
"""A greylisting server takes a mail within minutes."""


async def check_mails(appdb: AppDb, now: datetime) -> Check:
    """Return whether mails are sent: of an installation without mails there is nothing to say."""
    try:
        settings, backlog = await appdb.mail_settings.get(), await appdb.mails.backlog()
    except OnhookError as error:
        return Check("ERROR", error.message, error.hint)
    if backlog.failing_since is None or now - backlog.failing_since < DELAY:
        return Check("OK", "" if settings is None else _("mails are sent by {host}", host=settings.host))
    detail = _n(
        "1 mail is pending: {reason}", "{count} mails are pending: {reason}", backlog.pending, reason=backlog.detail
    )
    return Check("WARNING", detail, _("`onhook mail test` shows what the mail server says"))
