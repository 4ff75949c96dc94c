"""One CDR: call details, their origin, and derived values."""

from datetime import datetime
from typing import Literal

import msgspec

from onhook.cdr.call_details import CallDetails

OffsetFrom = Literal["ids", "configured", "assumed"]


class Record(CallDetails, frozen=True, kw_only=True, gc=False):
    """One leg of a call, complete. Times are aware datetimes in UTC, durations whole seconds.

    `utc_offset` is the PBX's wall clock against UTC, as `+08:00`; `offset_from` names its source. In a configured zone
    a wall clock of the hour that occurs twice `is_ambiguous`: the first one is assumed; one of the hour that does not
    exist `is_shifted`, by an hour. `seq` is the number in the ledger of the raw event with these details.
    """

    sn: str
    pbx: str
    record_id: str
    started_at: datetime
    answered_at: datetime | None
    ended_at: datetime | None
    ring_duration: int | None
    utc_offset: str
    offset_from: OffsetFrom
    is_ambiguous: bool = False
    is_shifted: bool = False
    via: str
    received_at: datetime
    seq: int


class NamedRecord(Record, frozen=True, kw_only=True, gc=False):
    """A record and the names that are shown for its parties: those of the PBX, else those of the directory; empty where
    neither has one.
    """

    call_from_name: str
    call_to_name: str


NAME_COLUMNS = ("call_from_name", "call_to_name")
"""What a `NamedRecord` has besides a record."""


class Call(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One call: all records that share (`sn`, `call_id`), counted once.

    `status` is how the call ended for the caller; `answered_by` the number of the person who answered, or empty. A
    duration of None is unknown.
    """

    sn: str
    pbx: str
    call_id: str
    started_at: datetime
    ended_at: datetime | None
    type: str
    status: str
    call_from: str
    call_to: str
    answered_by: str
    wait_duration: int | None
    ring_duration: int | None
    talk_duration: int | None
    call_duration: int | None
    did_number: str
    src_trunk_name: str
    dst_trunk_name: str
    recordings: tuple[str, ...]
    legs: tuple[Record, ...]
