"""`GET /api/v1/records`: records, the latest first; and the event of a record."""

import base64
from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec
from litestar import get
from litestar.params import PathParameter

from onhook.console.auth.access import SCOPED
from onhook.console.parameters import PAGE_DEFAULT, Cursor, Limit, RecordFilterDep
from onhook.console.problem_documents import PROBLEMS
from onhook.console.state import AppStateDep
from onhook.ledger.contract import RawEvent
from onhook.lib.errors import NotFound
from onhook.lib.messages import _
from onhook.store.contract import RecordPage

SEQ_MAX = 2**63 - 1
"""The highest number of a ledger."""

Seq = Annotated[int, PathParameter(description="Number in the ledger", ge=1, le=SEQ_MAX)]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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


@get("/records", opt=SCOPED, summary="List records, the latest first", tags=["calls"], responses=PROBLEMS)
async def list_records(
    app_state: AppStateDep, record_filter: RecordFilterDep, limit: Limit = PAGE_DEFAULT, cursor: Cursor = ""
) -> RecordPage:
    """List matching records. A record is one leg of a call: the 18 fields of event 30012, and derived ones."""
    return await app_state.store.records(record_filter, limit, cursor or None)


@get("/events/{seq:int}", summary="Read an event with its bytes", tags=["calls"], responses=PROBLEMS)
async def read_raw_event(app_state: AppStateDep, seq: Seq) -> RawEventDetails:
    """Read an event. Every record has the number of its event in `seq`."""
    raw_events = await app_state.ledger.get([seq])
    if not raw_events:
        raise NotFound(_("the ledger has no event {seq}", seq=seq), hint=_("see `seq` of a record"))
    return raw_event_details(raw_events[0])


def raw_event_details(raw_event: RawEvent) -> RawEventDetails:
    """Return an event for display: whether it was signed, but not the signature."""
    return RawEventDetails(
        seq=raw_event.seq,
        sn=raw_event.sn,
        dialect=raw_event.dialect,
        via=raw_event.via,
        received_at=_EPOCH + timedelta(microseconds=raw_event.received_at),
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
