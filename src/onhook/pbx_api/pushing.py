"""What an application can set of its own webhooks, and where that is kept: the contract."""

from typing import Final, Protocol

import msgspec

from onhook.appdb.api_clients import App

TIMEOUT_SECONDS_LIMITS: Final = (3, 10)
MAX_ATTEMPTS_LIMITS: Final = (1, 5)
"""What a PBX can be set to, from and to (yeastar-p-series.md 4)."""


class AppWebhook(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of `webhook_event_push_list`."""

    url: str
    secret: str
    request_method: str
    event_ids: list[int]

    def __repr__(self) -> str:
        return f"AppWebhook({self.request_method} {self.url})"


class AppWebhookSettings(msgspec.Struct, frozen=True, kw_only=True):
    """All that an application has set. A `max_attempts` of None is the house's own plan, which goes on for days."""

    is_enabled: bool = True
    webhooks: tuple[AppWebhook, ...] = ()
    timeout_seconds: int = 5
    max_attempts: int | None = None


class AppWebhookStore(Protocol):
    """Where webhooks are kept and sent from."""

    def get(self, app: App) -> AppWebhookSettings:
        """What an application has set."""
        ...

    def change(self, app: App, webhook_settings: AppWebhookSettings, *, after: int, now_us: int) -> None:
        """Have that instead; new ones begin behind a number of the ledger. Raises `UsageError`."""
        ...

    async def send_test(self, app: App, webhook: AppWebhook) -> bool:
        """Send a signed test, as what the application has set there would be sent; whether it was taken. Why not is
        told in the log. Raises `UsageError`."""
        ...
