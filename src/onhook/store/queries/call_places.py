"""The place of a call in an order, as an opaque text: where a page of calls goes on, or ends."""

import base64
import binascii

import msgspec

from onhook.lib.errors import UsageError
from onhook.lib.messages import _
from onhook.store.contract import CALL_ORDERS

CURSOR_CHARACTERS_MAX = 400
"""Those of Onhook have some 150: a call's id and the serial number of its PBX."""

SECONDS_MAX = 1 << 40
"""No call begins later, and no duration is longer."""


class CallPlace(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The place of a call in an order: the value of the sort key, its start in seconds, and what names it. A page goes
    on behind it, or ends before it.
    """

    order: str
    is_end: bool
    value: int | str | None
    started_at: int
    sn: str
    call_id: str


def parse_order(order: str) -> tuple[str, bool]:
    """Return the sort key of an order, and whether it is descending (`-` in front). Raises `UsageError`."""
    key = order.removeprefix("-")
    if key not in CALL_ORDERS:
        raise UsageError(
            _("invalid order {value!r}", value=order[:80]),
            location="order_by",
            hint=_("use one of {choices}", choices=", ".join(CALL_ORDERS)),
        )
    return key, order.startswith("-")


def encode_place(place: CallPlace) -> str:
    """Encode a place as text."""
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=")


def decode_place(text: str, order: str) -> CallPlace:
    """Decode a place. Raises `UsageError` for any other text, or for a place in another order."""
    try:
        if len(text) > CURSOR_CHARACTERS_MAX:
            raise ValueError("too long")
        body = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
        place = msgspec.json.decode(body, type=CallPlace)
    except (ValueError, binascii.Error, msgspec.MsgspecError):
        place = None
    if place is None or place.order != order or not _is_possible(place):
        raise UsageError(_("invalid cursor"), location="cursor", hint=_("leave it out to begin with the first page"))
    return place


def _is_possible(place: CallPlace) -> bool:
    """Return whether the values are of the types that the order has."""
    is_text = place.order.removeprefix("-") in ("status", "type")
    is_of_type = isinstance(place.value, str) if is_text else place.value is None or isinstance(place.value, int)
    numbers = [place.started_at, *([place.value] if isinstance(place.value, int) else [])]
    return is_of_type and all(abs(number) < SECONDS_MAX for number in numbers)
