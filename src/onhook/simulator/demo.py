"""The PBX of `onhook serve --demo`: declared like any other."""

from onhook.appdb.appdb import AppDb
from onhook.appdb.tokens import generate_token
from onhook.config import Address, is_loopback
from onhook.lib.clock import Clock
from onhook.lib.errors import NotFound

DEMO_NAME = "Demo office"
DEMO_SN = "3600DEM0ABCD"
DEMO_ZONE = "Europe/Berlin"
"""Where the simulator's office is unless it is told otherwise."""

WITH_HISTORY = "with-history"
"""Said to the demo's process when its PBX is new: it then begins with calls of the past."""

WILDCARD_HOSTS = ("0.0.0.0", "::")  # noqa: S104 - not bound here: compared with what a person chose


def register_demo_pbx(appdb: AppDb, clock: Clock) -> bool:
    """Make the demo PBX known, once; whether it is new. Its secret is random, for its port may be open to others."""
    if appdb.find_pbx_by_sn(DEMO_SN) is not None:
        return False
    appdb.add_pbx(name=DEMO_NAME, sn=DEMO_SN, secret=generate_token(), zone=DEMO_ZONE, now_us=clock.microseconds())
    return True


def get_demo_credentials(appdb: AppDb) -> tuple[str, str]:
    """Serial number and secret of the demo PBX. Raises `NotFound` where somebody removed it."""
    for credentials in appdb.webhook_credentials():
        if credentials.sn == DEMO_SN and credentials.secrets:
            return credentials.sn, credentials.secrets[0]
    raise NotFound("the demo PBX is not declared", hint="start `onhook serve --demo` again")


def intake_url(intake: Address) -> str:
    """Where the made-up PBX posts to: this machine, however widely the intake listens."""
    return f"http://{local_address(intake)}/"


def local_address(address: Address) -> Address:
    """An address at which this machine reaches what listens there."""
    if address.host not in WILDCARD_HOSTS or is_loopback(address.host):
        return address
    return Address("::1" if address.host == "::" else "127.0.0.1", address.port)
