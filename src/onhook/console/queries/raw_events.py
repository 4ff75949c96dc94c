"""Events as they were received; the command line uses them too."""

import base64
from datetime import datetime

import msgspec

from onhook.ledger.contract import CONTROL_DIALECT, Ledger, RawEvent
from onhook.lib.errors import NotFound
from onhook.lib.messages import _
from onhook.lib.timestamps import to_datetime


class RawEventDetails(msgspec.Struct, frozen=True, kw_only=True):
    """An event as it was received. `text` where the body is UTF-8; `body_base64` always has its bytes."""

    seq: int
    sn: str
    dialect: str
    via: str
    received_at: datetime
    peer: str
    is_signed: bool
    text: str | None
    body_base64: str


async def find_raw_event(ledger: Ledger, seq: int) -> RawEventDetails:
    """Return the event with this number. Raises `NotFound`."""
    raw_events = await ledger.get([seq])
    if not raw_events or raw_events[0].dialect == CONTROL_DIALECT:
        raise NotFound(_("the ledger has no event {seq}", seq=seq), hint=_("see `seq` of a record"))
    return describe_raw_event(raw_events[0])


def describe_raw_event(raw_event: RawEvent) -> RawEventDetails:
    """Return an event for display: whether it was signed, but not the signature."""
    return RawEventDetails(
        seq=raw_event.seq,
        sn=raw_event.sn,
        dialect=raw_event.dialect,
        via=raw_event.via,
        received_at=to_datetime(raw_event.received_at),
        peer=raw_event.peer,
        is_signed=bool(raw_event.signature),
        text=_decode_utf8(raw_event.body),
        body_base64=base64.b64encode(raw_event.body).decode(),
    )


def _decode_utf8(body: bytes) -> str | None:
    try:
        return body.decode()
    except UnicodeDecodeError:
        return None
