"""Contract of the webhooks that an app manages itself."""

from typing import Final, Protocol

import msgspec

from onhook.appdb.api_clients import App

TIMEOUT_SECONDS_LIMITS: Final = (3, 10)
MAX_ATTEMPTS_LIMITS: Final = (1, 5)
"""Range of the setting of a PBX (yeastar-p-series.md 4)."""


class AppWebhook(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of `webhook_event_push_list`."""

    url: str
    secret: str
    request_method: str
    event_ids: list[int]

    def __repr__(self) -> str:
        return f"AppWebhook({self.request_method} {self.url})"


class AppWebhookSettings(msgspec.Struct, frozen=True, kw_only=True):
    """All webhooks of an app. A `max_attempts` of None is Onhook's own retry policy, which takes days."""

    is_enabled: bool = True
    webhooks: tuple[AppWebhook, ...] = ()
    timeout_seconds: int = 5
    max_attempts: int | None = None


class AppWebhookStore(Protocol):
    """Storage of webhooks and sending of tests."""

    async def get(self, app: App) -> AppWebhookSettings:
        """Return the webhooks of an app."""
        ...

    async def change(self, app: App, webhook_settings: AppWebhookSettings, *, after: int, now_us: int) -> None:
        """Replace the webhooks; new ones begin after a number of the ledger. Raises `UsageError`, also for an address
        that may not be connected to.
        """
        ...

    async def send_test(self, app: App, webhook: AppWebhook) -> bool:
        """Send a signed test with the given settings. Return whether it was accepted; the reason of a failure is
        logged. Raises `UsageError`.
        """
        ...
