"""Format calls as the P-Series web API does: v1.0 rows, one per leg, and v2.0 rows, one per call (yeastar-p-series.md
7).

Invariants: the members have the API's names, not the event's. Members without a value are left out, as observed from
PBXs; none is invented. Times are shown by the wall clock of the record's own PBX.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from onhook.cdr.identity import extract_name, extract_number
from onhook.cdr.number_plan import NumberPlan
from onhook.cdr.record import Call, Record
from onhook.pbx.yeastar.display import DisplayFormat

ApiRow = Mapping[str, Any]
"""Members in the order in which they are written."""

OFFSET_CACHE_MAX = 128
"""The limits in `cdr/utc_offset.py` allow 113 quarters of an hour."""

ROW_NUMBER_DIGITS = 13
"""Hexadecimal digits of a record's id in its number; programs in JavaScript read whole numbers up to 53 bits."""

CSV_COLUMNS = (
    *("id", "time", "call_from", "call_to", "duration", "ring_duration", "talk_duration", "disposition", "call_type"),
    *("src_trunk", "dst_trunk", "did_number", "did_name", "pin_code", "record_file", "uid", "call_id", "call_note_id"),
)
"""Header of `cdr/download` in v1.0: the member names of the rows; `id` is the row's `new_id`."""

CALL_CSV_COLUMNS = (
    *("id", "uid", "time", "call_from_number", "call_from_name", "call_to_number", "call_to_name", "call_type"),
    *("last_status", "call_duration", "routing_duration", "handling_duration", "queues"),
)
"""Header of `cdr/download` in v2.0: the member names of the rows; `queues` are the numbers, separated by commas."""

_DIALLED_NUMBER = re.compile(r"[+*#]?[0-9][0-9*#]*")


def format_leg_row(record: Record, display: DisplayFormat) -> ApiRow:
    """Format the row of `cdr/list` and `cdr/search` in v1.0, in the order of a captured row; DID and recording under
    both of the names that programs read (yeastar-p-series.md 7.3).
    """
    row: dict[str, Any] = {
        "uid": record.uid,
        "call_id": record.call_id,
        "src_trunk": record.src_trunk_name or None,
        "dst_trunk": record.dst_trunk_name,
        "disposition": record.status,
        "call_type": record.type,
        "did_number": record.did_number or None,
        "did": record.did_number or None,
        "did_name": record.did_name or None,
        "call_from": record.call_from,
        "call_from_number": extract_number(record.call_from),
        "call_from_name": extract_name(record.call_from),
        "pin_code": record.pin_code,
        "new_id": row_id(record),
        "time": display.format(local_time(record)),
        "timestamp": int(record.started_at.timestamp()),
        "call_to": record.call_to,
        "duration": record.call_duration or None,
        "talk_duration": record.talk_duration or None,
        "enb_call_note": record.enb_call_note,
        "call_note_id": record.call_note_id,
        **_format_callee(record.call_to),
        "ring_duration": record.ring_duration or None,
        "record_file": record.recording or None,
        "recording": record.recording or None,
    }
    # The event has no field for a note, so a note is never known: null, as the PBX writes it.
    return {name: value for name, value in row.items() if value is not None} | {"call_note": None}


def format_call_row(call: Call, display: DisplayFormat, number_plan: NumberPlan) -> ApiRow:
    """Format the row of `cdr/list` and `cdr/search` in v2.0."""
    first = call.legs[0]
    queues = [leg for leg in call.legs if number_plan.kind_of_leg(leg) == "queue"]
    row: dict[str, Any] = {
        "id": row_id(first),
        "uid": first.uid,
        "time": display.format(local_time(first)),
        "call_from_number": extract_number(call.call_from),
        "call_from_name": extract_name(call.call_from),
        "call_to_number": extract_number(call.call_to),
        "call_to_name": extract_name(call.call_to),
        "call_type": call.type,
        "last_status": call.status,
        "call_duration": call.call_duration,
        "routing_duration": call.wait_duration,
        "handling_duration": call.talk_duration,
        "queues": [_format_queue(party) for party in dict.fromkeys(leg.call_to for leg in queues)],
    }
    return {name: value for name, value in row.items() if value is not None}


def format_call_detail(call: Call, display: DisplayFormat, number_plan: NumberPlan) -> ApiRow:
    """Format the `cdr/detail` of one call: its row, and its legs in order."""
    return {
        "basic": format_call_row(call, display, number_plan),
        "call_notes": [],
        "timeline": [_format_stage(number, leg, display) for number, leg in enumerate(call.legs, 1)],
    }


def format_recording_row(record: Record, display: DisplayFormat) -> ApiRow:
    """Format the row of `recording/list` and `recording/search`; the size is left out, because the audio is not stored
    here.
    """
    return {
        "id": row_number(record),
        "time": display.format(local_time(record)),
        "uid": record.uid,
        "call_from": record.call_from,
        "call_to": record.call_to,
        "duration": record.talk_duration or 0,
        "call_type": record.type,
        "file": record.recording,
        "call_from_number": extract_number(record.call_from),
        "call_from_name": extract_name(record.call_from),
        "call_to_number": extract_number(record.call_to),
        "call_to_name": extract_name(record.call_to),
    }


def format_csv_row(record: Record, display: DisplayFormat) -> list[str]:
    """Return the cells of a leg in the order of `CSV_COLUMNS`."""
    return _cells({**format_leg_row(record, display), "id": row_id(record)}, CSV_COLUMNS)


def format_call_csv_row(call: Call, display: DisplayFormat, number_plan: NumberPlan) -> list[str]:
    """Return the cells of a call in the order of `CALL_CSV_COLUMNS`."""
    row = format_call_row(call, display, number_plan)
    return _cells({**row, "queues": ",".join(queue["number"] for queue in row["queues"])}, CALL_CSV_COLUMNS)


def _cells(row: ApiRow, columns: Sequence[str]) -> list[str]:
    return ["" if row.get(name) is None else str(row[name]) for name in columns]


def row_id(record: Record) -> str:
    """Return the id of a row: twice eight hexadecimal digits, the same for every query (yeastar-p-series.md 2.4)."""
    return f"{record.record_id[:8]}-{record.record_id[8:16]}".upper()


def row_number(record: Record) -> int:
    """Return the id of a recording: a whole number of 52 bits, the same for every query and after a rebuild, because it
    follows from the record's id.
    """
    return int(record.record_id[:ROW_NUMBER_DIGITS], 16)


def local_time(record: Record) -> datetime:
    """Return the start of a leg by the wall clock of its PBX."""
    return record.started_at.astimezone(UTC).replace(tzinfo=None) + parse_utc_offset(record.utc_offset)


@lru_cache(maxsize=OFFSET_CACHE_MAX)
def parse_utc_offset(text: str) -> timedelta:
    """Parse a UTC offset as stored in records.

    >>> parse_utc_offset("-03:30")
    datetime.timedelta(days=-1, seconds=73800)
    """
    offset = timedelta(hours=int(text[1:3]), minutes=int(text[4:6]))
    return -offset if text.startswith("-") else offset


def _format_callee(party: str) -> ApiRow:
    """Format name and number of the callee; return neither for a feature such as a survey."""
    number = extract_number(party)
    if not _DIALLED_NUMBER.fullmatch(number):
        return {}
    return {"call_to_name": extract_name(party), "call_to_number": number}


def _format_queue(party: str) -> ApiRow:
    return {"number": extract_number(party), "name": extract_name(party)}


def _format_stage(number: int, leg: Record, display: DisplayFormat) -> ApiRow:
    stage: dict[str, Any] = {
        "leg": number,
        "time": display.format(local_time(leg)),
        "status": leg.status,
        "call_from": leg.call_from,
        "call_to": leg.call_to,
        "call_duration": leg.call_duration,
        "ring_duration": leg.ring_duration,
        "talk_duration": leg.talk_duration,
    }
    # No PBX reports how long a call was held; unknown members are left out.
    return {name: value for name, value in stage.items() if value is not None}
