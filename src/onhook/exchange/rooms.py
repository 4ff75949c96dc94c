"""All that an answer may touch."""

import msgspec

from onhook.clock import Clock
from onhook.exchange.applications import Applications
from onhook.exchange.calls import Calls
from onhook.exchange.downloads import Downloads
from onhook.exchange.logins import Failures
from onhook.exchange.sockets import Sockets
from onhook.exchange.tokens import Tokens
from onhook.exchange.trouble import Trouble


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
    began_at: int
    """Microseconds: when it was opened, for `up_time`."""
