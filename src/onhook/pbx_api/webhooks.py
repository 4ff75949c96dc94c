"""`webhook/query`, `webhook/update` and `webhook/test`: an app manages its own webhooks (yeastar-p-series.md 4.1).

Invariants: an app reads and changes its own webhooks only. They never go to a private network unless an operator allows
it. Secrets are returned to the app that set them, as the original does, and to no other.
"""

from typing import Final

import msgspec

from onhook.pbx_api.codes import (
    FAILURE,
    INTERFACE_NOT_EXISTED,
    ApiRequestError,
    ApiResponse,
    parameter_error,
    response_with_code,
    success_response,
)
from onhook.pbx_api.pushing import (
    MAX_ATTEMPTS_LIMITS,
    TIMEOUT_SECONDS_LIMITS,
    AppWebhook,
    AppWebhookSettings,
    AppWebhookStore,
)
from onhook.pbx_api.request import ApiRequest
from onhook.pbx_api.sockets import CALL_END
from onhook.pbx_api.state import ApiState

WEBHOOKS_MAX: Final = 5
"""The maximum of a PBX (yeastar-p-series.md 4)."""

ALL_EVENTS: Final = 0
"""In `event_ids`: all events."""

EVENT_IDS_MAX: Final = 100


class _Update(msgspec.Struct, frozen=True):
    enb_webhook_event_push: int = 1
    webhook_event_push_list: list[AppWebhook] = []
    webhook_event_push_timeout: int = 5
    webhook_event_push_retry_count: int | None = None


async def query_webhooks(state: ApiState, request: ApiRequest) -> ApiResponse:
    """Return the app's webhooks."""
    webhook_settings = await _get_webhook_store(state).get(request.owner)
    return success_response(
        data={
            "enb_webhook_event_push": int(webhook_settings.is_enabled),
            "webhook_event_push_list": webhook_settings.webhooks,
            "webhook_event_push_timeout": webhook_settings.timeout_seconds,
            "webhook_event_push_retry_count": webhook_settings.max_attempts or MAX_ATTEMPTS_LIMITS[1],
            "webhook_event_ids": [CALL_END],
        }
    )


async def update_webhooks(state: ApiState, request: ApiRequest) -> ApiResponse:
    """Replace the app's webhooks; an unchanged one continues at its position. Raises `ApiRequestError`."""
    webhook_store = _get_webhook_store(state)
    try:
        update = msgspec.convert(request.json_body(), _Update)
    except msgspec.ValidationError as error:
        raise parameter_error("webhook_event_push_list", str(error)) from None
    webhook_settings = AppWebhookSettings(
        is_enabled=bool(update.enb_webhook_event_push),
        webhooks=tuple(_validate_webhook(webhook) for webhook in update.webhook_event_push_list),
        timeout_seconds=_validate_range(
            "webhook_event_push_timeout", update.webhook_event_push_timeout, TIMEOUT_SECONDS_LIMITS
        ),
        max_attempts=None
        if update.webhook_event_push_retry_count is None
        else _validate_range(
            "webhook_event_push_retry_count", update.webhook_event_push_retry_count, MAX_ATTEMPTS_LIMITS
        ),
    )
    if len(webhook_settings.webhooks) > WEBHOOKS_MAX:
        raise parameter_error("webhook_event_push_list", f"at most {WEBHOOKS_MAX}")
    await webhook_store.change(
        request.owner, webhook_settings, after=await state.calls.latest_sequence(), now_us=state.clock.microseconds()
    )
    return response_with_code(0)


async def test_webhook(state: ApiState, request: ApiRequest) -> ApiResponse:
    """Send a test; return `FAILURE` when it is not accepted."""
    values = {name: request.parameters.get(name, "") for name in ("url", "secret", "request_method")}
    for name, text in values.items():
        if not text:
            raise parameter_error(name, "is required")
    webhook = _validate_webhook(AppWebhook(**values, event_ids=[CALL_END]))
    return response_with_code(0 if await _get_webhook_store(state).send_test(request.owner, webhook) else FAILURE)


def _get_webhook_store(state: ApiState) -> AppWebhookStore:
    """Return the storage of webhooks. A simulated PBX has none, like firmware before 37.20 (yeastar-p-series.md 4.1).
    Raises `ApiRequestError` with 10001.
    """
    if state.webhooks is None:
        raise ApiRequestError(INTERFACE_NOT_EXISTED)
    return state.webhooks


def _validate_webhook(webhook: AppWebhook) -> AppWebhook:
    """Return the webhook, its method in capitals. Raises `ApiRequestError`."""
    method = webhook.request_method.upper()
    if method not in ("POST", "GET"):
        raise parameter_error("request_method", "POST or GET")
    if len(webhook.event_ids) > EVENT_IDS_MAX or not {ALL_EVENTS, CALL_END} & set(webhook.event_ids):
        raise parameter_error("event_ids", f"{CALL_END} is the only event; {ALL_EVENTS} is all")
    return AppWebhook(url=webhook.url, secret=webhook.secret, request_method=method, event_ids=[CALL_END])


def _validate_range(name: str, value: int, limits: tuple[int, int]) -> int:
    minimum, maximum = limits
    if not minimum <= value <= maximum:
        raise parameter_error(name, f"a whole number from {minimum} to {maximum}")
    return value
