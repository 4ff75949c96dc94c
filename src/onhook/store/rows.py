"""Conversion between records and calls, and rows of the store."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import msgspec

from onhook.cdr import call_details
from onhook.cdr.identity import extract_number
from onhook.cdr.queue_visits import AgentRing, QueueVisit
from onhook.cdr.record import Call, Record
from onhook.lib.timestamps import to_datetime
from onhook.store import schema
from onhook.store.contract import QuarantineEntry
from onhook.store.schema import RECORD_COLUMNS, call_key

Row = tuple[Any, ...]

FOLD_CACHE_SIZE = 1_024
"""Nearly all calls share the same few `status` and `type`; folding each again would cost more than storing it."""

OFFSET_CACHE_SIZE = 256
"""More than there are."""

SUFFIX_CACHE_SIZE = 4_096
"""Most numbers of a batch are internal."""

fold_word = lru_cache(maxsize=FOLD_CACHE_SIZE)(call_details.fold_word)
number_suffix = lru_cache(maxsize=SUFFIX_CACHE_SIZE)(schema.number_suffix)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LOCAL_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - wall clocks are compared as they are
_COLUMN_INDEX = {name: index for index, name in enumerate(RECORD_COLUMNS)}
_TIME_INDEXES = tuple(_COLUMN_INDEX[name] for name in ("started_at", "answered_at", "ended_at"))


def leg_rows(call: Call) -> list[Row]:
    """Return the rows of `legs` of a call, in the order of `schema.LEGS`, BIGINT values as floats: see `writer`."""
    key, call_started_at = float(call_key(call.call_id)), float(epoch_seconds(call.started_at))
    return [_leg_row(key, leg_index, call_started_at, leg) for leg_index, leg in enumerate(call.legs)]


def leg_row(leg_index: int, leg: Record) -> Row:
    """Return the row of `legs` of one leg without its call, as `leg_rows`; its call began when the leg did."""
    return _leg_row(float(call_key(leg.call_id)), leg_index, float(epoch_seconds(leg.started_at)), leg)


def call_row(call: Call) -> Row:
    """Return the row of `calls` of a call, in the order of `schema.CALLS`."""
    return (
        call_key(call.call_id),
        call.sn,
        call.call_id,
        call.pbx,
        epoch_seconds(call.started_at),
        None if call.ended_at is None else epoch_seconds(call.ended_at),
        call.type,
        fold_word(call.type),
        call.status,
        fold_word(call.status),
        from_number := extract_number(call.call_from),
        to_number := extract_number(call.call_to),
        number_suffix(from_number),
        number_suffix(to_number),
        call.answered_by,
        call.wait_duration,
        call.ring_duration,
        call.talk_duration,
        call.call_duration,
        call.did_number,
        call.src_trunk_name,
        call.dst_trunk_name,
    )


def queue_visit_row(visit: QueueVisit) -> Row:
    """Return the row of `queue_visits` of a visit, in the order of `schema.QUEUE_VISITS`."""
    return (
        call_key(visit.call_id),
        visit.sn,
        visit.call_id,
        epoch_seconds(visit.call_started_at),
        visit.queue,
        visit.kind,
        visit.outcome,
        visit.wait_duration,
        visit.talk_duration,
    )


def agent_ring_row(ring: AgentRing) -> Row:
    """Return the row of `agent_rings` of a ring, in the order of `schema.AGENT_RINGS`."""
    return (
        call_key(ring.call_id),
        ring.sn,
        ring.call_id,
        epoch_seconds(ring.call_started_at),
        ring.queue,
        ring.kind,
        ring.agent,
        ring.is_outside,
        ring.is_answered,
        epoch_seconds(ring.started_at),
        None if ring.ended_at is None else epoch_seconds(ring.ended_at),
        ring.talk_duration,
    )


def record_from_row(row: Sequence[Any]) -> Record:
    """Return the record of a row of `schema.record_selection`."""
    values = list(row)
    for index in _TIME_INDEXES:
        if values[index] is not None:
            values[index] = datetime.fromtimestamp(values[index], UTC)
    values[_COLUMN_INDEX["received_at"]] = to_datetime(values[_COLUMN_INDEX["received_at"]])
    extra = values[_COLUMN_INDEX["extra"]]
    values[_COLUMN_INDEX["extra"]] = {} if extra == "{}" else msgspec.json.decode(extra)
    return Record(**dict(zip(RECORD_COLUMNS, values, strict=True)))


def call_from_row(row: dict[str, Any], legs: Sequence[Record]) -> Call:
    """Return a call from its row of `calls`, by name, and its legs in order."""
    ended_at = row["ended_at"]
    return Call(
        **{name: row[name] for name in _STORED_CALL_FIELDS},
        started_at=datetime.fromtimestamp(row["started_at"], UTC),
        ended_at=None if ended_at is None else datetime.fromtimestamp(ended_at, UTC),
        call_from=legs[0].call_from,
        call_to=legs[0].call_to,
        recordings=tuple(dict.fromkeys(leg.recording for leg in legs if leg.recording)),
        legs=tuple(legs),
    )


_STORED_CALL_FIELDS = (
    *("sn", "pbx", "call_id", "type", "status", "answered_by", "did_number", "src_trunk_name", "dst_trunk_name"),
    *("wait_duration", "ring_duration", "talk_duration", "call_duration"),
)


def quarantine_rows(entries: Iterable[QuarantineEntry]) -> list[Row]:
    """Return the rows of `quarantine`."""
    return [(entry.seq, entry.sn, entry.via, epoch_microseconds(entry.received_at), entry.reason) for entry in entries]


def quarantine_entry_from_row(row: Sequence[Any]) -> QuarantineEntry:
    """Return the entry of a row of `quarantine`."""
    seq, sn, via, received_at, reason = row
    return QuarantineEntry(seq=seq, sn=sn, via=via, received_at=to_datetime(received_at), reason=reason)


def epoch_seconds(time: datetime) -> int:
    """Return the whole seconds since 1970."""
    elapsed = time - _EPOCH
    return elapsed.days * 86_400 + elapsed.seconds


def epoch_microseconds(time: datetime) -> int:
    """Return the microseconds since 1970."""
    elapsed = time - _EPOCH
    return (elapsed.days * 86_400 + elapsed.seconds) * 1_000_000 + elapsed.microseconds


def _leg_row(key: float, leg_index: int, call_started_at: float, leg: Record) -> Row:
    started_at, offset_minutes = epoch_seconds(leg.started_at), _offset_minutes(leg.utc_offset)
    from_number, to_number = extract_number(leg.call_from), extract_number(leg.call_to)
    return (
        key,
        leg.sn,
        leg.call_id,
        leg_index,
        call_started_at,
        float(started_at),
        offset_minutes,
        None if _is_derived(leg.time_start, started_at + offset_minutes * 60) else leg.time_start,
        from_number,
        None if leg.call_from == from_number else leg.call_from,
        to_number,
        None if leg.call_to == to_number else leg.call_to,
        number_suffix(from_number),
        number_suffix(to_number),
        leg.call_duration,
        leg.talk_duration,
        leg.src_trunk_name,
        leg.dst_trunk_name,
        leg.pin_code,
        leg.status,
        fold_word(leg.status),
        leg.type,
        fold_word(leg.type),
        leg.recording,
        leg.did_number,
        leg.did_name,
        leg.agent_ring_time,
        leg.uid,
        leg.call_note_id,
        leg.enb_call_note,
        msgspec.json.encode(leg.extra).decode() if leg.extra else None,
        leg.pbx,
        _stored_offset_from(leg),
        leg.via,
        float(epoch_microseconds(leg.received_at)),
        float(leg.seq),
    )


def _stored_offset_from(leg: Record) -> str:
    if leg.is_ambiguous or leg.is_shifted:
        return schema.OFFSET_DOUBTS["is_ambiguous" if leg.is_ambiguous else "is_shifted"]
    return leg.offset_from


@lru_cache(maxsize=OFFSET_CACHE_SIZE)
def _offset_minutes(utc_offset: str) -> int:
    """Return an offset such as `+08:00` in minutes."""
    minutes = int(utc_offset[1:3]) * 60 + int(utc_offset[4:6])
    return -minutes if utc_offset[0] == "-" else minutes


def _is_derived(time_start: str, local: int) -> bool:
    """Return whether a text equals what the store derives from these seconds: `2026-04-27 19:04:36`."""
    if len(time_start) != 19 or time_start[4] != "-" or time_start[10] != " ":
        return False
    try:
        elapsed = datetime.fromisoformat(time_start) - _LOCAL_EPOCH
    except ValueError:
        return False
    return elapsed.days * 86_400 + elapsed.seconds == local
