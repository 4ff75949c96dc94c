"""State shared by the handlers."""

from collections.abc import Callable

import msgspec

from onhook.lib.clock import Clock
from onhook.lib.proxies import TrustedProxies
from onhook.pbx.yeastar.payload import Yeastar
from onhook.pbx_api.applications import AppRegistry
from onhook.pbx_api.calls import CallSource
from onhook.pbx_api.downloads import Downloads
from onhook.pbx_api.logins import LoginFailures
from onhook.pbx_api.pass_through import PassThrough, PbxGateway
from onhook.pbx_api.pushing import AppWebhookStore
from onhook.pbx_api.sockets import Sockets
from onhook.pbx_api.tokens import AppTokens, GrantStore


class ApiState(msgspec.Struct, frozen=True, kw_only=True):
    """Dependencies of the PBX API, and its state between requests."""

    calls: CallSource
    apps: AppRegistry
    clock: Clock
    tokens: AppTokens
    login_failures: LoginFailures
    sockets: Sockets
    downloads: Downloads
    webhooks: AppWebhookStore | None
    """None: apps cannot manage webhooks here."""
    pass_through: PassThrough
    trusted_proxies: TrustedProxies
    """Proxies whose headers name the client."""
    started_at: int
    """Microseconds: the time of the start, for `up_time`."""


def create_api_state(
    *,
    calls: CallSource,
    apps: AppRegistry,
    clock: Clock,
    grants: GrantStore,
    login_failures: LoginFailures,
    webhooks: AppWebhookStore | None = None,
    gateway: PbxGateway | None = None,
    trusted_proxies: TrustedProxies | None = None,
    on_flood: Callable[[], None] = lambda: None,
) -> ApiState:
    """Return the state of a PBX API that starts now. `on_flood` is called for each socket that is closed because of
    too many frames.
    """
    tokens = AppTokens(clock, grants)
    return ApiState(
        calls=calls,
        apps=apps,
        clock=clock,
        tokens=tokens,
        login_failures=login_failures,
        sockets=Sockets(calls, clock, tokens, Yeastar(), on_flood),
        downloads=Downloads(),
        webhooks=webhooks,
        pass_through=PassThrough(gateway),
        trusted_proxies=trusted_proxies or TrustedProxies(),
        started_at=clock.microseconds(),
    )
