"""Links by which a recipient ends the mails of a schedule, without signing in.

Invariants: a link names no address, and ends the mails to its own one only. It is computed from a key of this
installation, so that nothing is stored for it, and it stays valid as long as its schedule.
"""

import base64
import hashlib
import hmac

from onhook.appdb.appdb import AppDb
from onhook.appdb.report_schedules import ReportSchedule
from onhook.lib.errors import NotFound
from onhook.lib.messages import _

UNSUBSCRIBE_PATH = "/unsubscribe"

TOKEN_CHARACTERS_MAX = 80
"""A number, a dot and 22 characters."""

_DIGEST_BYTES = 16


async def make_token(appdb: AppDb, schedule_id: int, address: str) -> str:
    """Return the text of the link of a recipient. Raises `RowUnreadable`."""
    key = hmac.digest(await appdb.mask_key.get(), b"unsubscribe", hashlib.sha256)
    digest = hmac.digest(key, f"{schedule_id} {address.casefold()}".encode(), hashlib.sha256)[:_DIGEST_BYTES]
    return f"{schedule_id}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"


async def find_recipient(appdb: AppDb, token: str) -> tuple[ReportSchedule, str]:
    """Return schedule and address of a link. Raises `NotFound`."""
    number = token.partition(".")[0]
    if not (number.isascii() and number.isdigit() and len(token) <= TOKEN_CHARACTERS_MAX and len(number) < 19):
        raise _invalid_link_error()
    try:
        schedule = await appdb.report_schedules.get(int(number))
    except NotFound:
        raise _invalid_link_error() from None
    for address in schedule.spec.addresses:
        if hmac.compare_digest(token.encode(), (await make_token(appdb, schedule.schedule_id, address)).encode()):
            return schedule, address
    raise _invalid_link_error()


def _invalid_link_error() -> NotFound:
    return NotFound(
        _("this link is not valid any longer"), hint=_("the report was removed, or is not sent to this address")
    )
