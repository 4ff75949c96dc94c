"""All that an answer may touch."""

import msgspec

from onhook.lib.clock import Clock
from onhook.pbx_api.applications import AppRegistry
from onhook.pbx_api.calls import CallSource
from onhook.pbx_api.downloads import Downloads
from onhook.pbx_api.fault_injection import FaultPolicy
from onhook.pbx_api.logins import LoginFailures
from onhook.pbx_api.pushing import AppWebhookStore
from onhook.pbx_api.sockets import Sockets
from onhook.pbx_api.tokens import AppTokens


class ApiState(msgspec.Struct, frozen=True, kw_only=True):
    """What the exchange was handed, and what it remembers between two requests."""

    calls: CallSource
    apps: AppRegistry
    clock: Clock
    faults: FaultPolicy
    tokens: AppTokens
    login_failures: LoginFailures
    sockets: Sockets
    downloads: Downloads
    webhooks: AppWebhookStore | None
    """None: no application can set any here."""
    started_at: int
    """Microseconds: when it was opened, for `up_time`."""
