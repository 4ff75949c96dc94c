"""`webhook/query`, `webhook/update` and `webhook/test`: an application manages its own webhooks (PROTOCOL.md 4.1).

Laws: an application sees and changes its own and nobody else's. It never may have them sent into a private network:
that a person alone can allow. Secrets are told to the application that gave them, as the original does; to nobody else.
"""

from typing import Final

import msgspec

from onhook.pbx_api.codes import FAILURE, INTERFACE_NOT_EXISTED, Answer, Refused, answer_of, succeeded, wrong_parameter
from onhook.pbx_api.pushing import TIMEOUT_SECONDS, TRIES, Push, Webhook, Webhooks
from onhook.pbx_api.request import Asked
from onhook.pbx_api.sockets import CALL_END
from onhook.pbx_api.state import Rooms

WEBHOOKS_MAX: Final = 5
"""As many as a PBX has (PROTOCOL.md 4)."""

ALL_EVENTS: Final = 0
"""Among `event_ids`: every event there is."""

EVENT_IDS_MAX: Final = 100


class _Update(msgspec.Struct, frozen=True):
    enb_webhook_event_push: int = 1
    webhook_event_push_list: list[Webhook] = []
    webhook_event_push_timeout: int = 5
    webhook_event_push_retry_count: int | None = None


async def query_webhooks(rooms: Rooms, asked: Asked) -> Answer:
    """What the application has set."""
    push = _kept(rooms).of(asked.owner)
    return succeeded(
        data={
            "enb_webhook_event_push": int(push.is_on),
            "webhook_event_push_list": push.webhooks,
            "webhook_event_push_timeout": push.timeout_seconds,
            "webhook_event_push_retry_count": push.tries or TRIES[1],
            "webhook_event_ids": [CALL_END],
        }
    )


async def update_webhooks(rooms: Rooms, asked: Asked) -> Answer:
    """Have these instead of those before; one that stays goes on where it is. Raises `Refused`."""
    webhooks = _kept(rooms)
    try:
        update = msgspec.convert(asked.members(), _Update)
    except msgspec.ValidationError as error:
        raise wrong_parameter("webhook_event_push_list", str(error)) from None
    push = Push(
        is_on=bool(update.enb_webhook_event_push),
        webhooks=tuple(_checked(webhook) for webhook in update.webhook_event_push_list),
        timeout_seconds=_within("webhook_event_push_timeout", update.webhook_event_push_timeout, TIMEOUT_SECONDS),
        tries=None
        if update.webhook_event_push_retry_count is None
        else _within("webhook_event_push_retry_count", update.webhook_event_push_retry_count, TRIES),
    )
    if len(push.webhooks) > WEBHOOKS_MAX:
        raise wrong_parameter("webhook_event_push_list", f"at most {WEBHOOKS_MAX}")
    webhooks.change(asked.owner, push, after=await rooms.calls.newest(), at=rooms.clock.microseconds())
    return answer_of(0)


async def test_webhook(rooms: Rooms, asked: Asked) -> Answer:
    """Send a test there; `FAILURE` where it is not taken."""
    given = {name: asked.parameters.get(name, "") for name in ("url", "secret", "request_method")}
    for name, text in given.items():
        if not text:
            raise wrong_parameter(name, "is required")
    webhook = _checked(Webhook(**given, event_ids=[CALL_END]))
    return answer_of(0 if await _kept(rooms).try_out(asked.owner, webhook) else FAILURE)


def _kept(rooms: Rooms) -> Webhooks:
    """A made-up PBX has none, as firmware of before 37.20 (PROTOCOL.md 4.1). Raises `Refused` with 10001."""
    if rooms.webhooks is None:
        raise Refused(INTERFACE_NOT_EXISTED)
    return rooms.webhooks


def _checked(webhook: Webhook) -> Webhook:
    """The same, its method in capitals. Raises `Refused`."""
    method = webhook.request_method.upper()
    if method not in ("POST", "GET"):
        raise wrong_parameter("request_method", "POST or GET")
    if len(webhook.event_ids) > EVENT_IDS_MAX or not {ALL_EVENTS, CALL_END} & set(webhook.event_ids):
        raise wrong_parameter("event_ids", f"{CALL_END} is the one event that happens here; {ALL_EVENTS} is all")
    return Webhook(url=webhook.url, secret=webhook.secret, request_method=method, event_ids=[CALL_END])


def _within(name: str, value: int, limits: tuple[int, int]) -> int:
    least, most = limits
    if not least <= value <= most:
        raise wrong_parameter(name, f"a whole number from {least} to {most}")
    return value
