"""The simulated PBX of `onhook serve --demo`, registered like any other."""

from onhook.appdb.appdb import AppDb
from onhook.appdb.tokens import generate_token
from onhook.config import Address, local_address
from onhook.lib.clock import Clock
from onhook.lib.errors import NotFound
from onhook.lib.messages import _

DEMO_NAME = "Demo office"
DEMO_SN = "3600DEM0ABCD"
DEMO_ZONE = "Europe/Berlin"
"""Default time zone of the simulated office."""

WITH_HISTORY = "with-history"
"""Argument of the demo's process when its PBX is new: the simulation then begins with past calls."""


async def register_demo_pbx(appdb: AppDb, clock: Clock) -> bool:
    """Register the demo PBX if it is missing; return whether it is new. Its secret is random, because its port may be
    open to others.
    """
    if await appdb.find_pbx_by_sn(DEMO_SN) is not None:
        return False
    await appdb.add_pbx(
        name=DEMO_NAME, sn=DEMO_SN, secret=generate_token(), zone=DEMO_ZONE, now_us=clock.microseconds()
    )
    return True


async def get_demo_credentials(appdb: AppDb) -> tuple[str, str]:
    """Return serial number and secret of the demo PBX. Raises `NotFound` when it was removed."""
    for credentials in await appdb.webhook_credentials():
        if credentials.sn == DEMO_SN and credentials.secrets:
            return credentials.sn, credentials.secrets[0]
    raise NotFound(_("the demo PBX is not registered"), hint=_("start `onhook serve --demo` again"))


def intake_url(intake: Address) -> str:
    """Return the URL to which the simulated PBX posts, on this machine."""
    return f"http://{local_address(intake)}/"
