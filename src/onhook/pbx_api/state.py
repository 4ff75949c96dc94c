"""All that an answer may touch."""

import msgspec

from onhook.lib.clock import Clock
from onhook.pbx_api.applications import Applications
from onhook.pbx_api.calls import Calls
from onhook.pbx_api.downloads import Downloads
from onhook.pbx_api.fault_injection import Trouble
from onhook.pbx_api.logins import Failures
from onhook.pbx_api.pushing import Webhooks
from onhook.pbx_api.sockets import Sockets
from onhook.pbx_api.tokens import Tokens


class Rooms(msgspec.Struct, frozen=True, kw_only=True):
    """What the exchange was handed, and what it remembers between two requests."""

    calls: Calls
    applications: Applications
    clock: Clock
    trouble: Trouble
    tokens: Tokens
    failures: Failures
    sockets: Sockets
    downloads: Downloads
    webhooks: Webhooks | None
    """None: no application can set any here."""
    began_at: int
    """Microseconds: when it was opened, for `up_time`."""
