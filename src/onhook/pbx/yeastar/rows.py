"""Convert rows of the PBX's call list into the call details of the event (yeastar-p-series.md 7.3 to 7.5).

Invariants: a row is stored as its own bytes, wrapped with the facts needed to parse it: the PBX's display format, and
the call id for rows without one. Whether day or month comes first is proven by the ids and seconds in the row, else
given by the PBX's setting, never guessed. Fields that the list lacks stay empty, so that they overwrite nothing.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from onhook.cdr.call_details import CallDetails
from onhook.cdr.csv_injection import unescape_cell
from onhook.cdr.utc_offset import OFFSET_SECONDS_MAX, call_epoch, offset_between, offset_from_uid, parse_wall_clock
from onhook.lib.errors import ParseError
from onhook.lib.messages import _
from onhook.pbx.client import SystemFacts
from onhook.pbx.json_fields import DURATION_FIELDS, PARTY_FIELDS, build_details, decode_json, parse_error
from onhook.pbx.yeastar.headings import list_name
from onhook.pbx.yeastar.spreadsheet import (
    ID_NAMES,
    add_seconds,
    has_changed_form,
    is_number,
    is_perhaps_rounded,
    lacks_seconds,
)

ROW_PREFIX = b'{"type":"row",'
"""Start of a wrapped row; no PBX sends such an event."""

ROW_LABEL = "row"
TIME_CHARACTERS_MAX = 40
CALL_SECONDS_MAX = 86_400
"""Limit of the time between the start of a call and the start of a leg."""

DATE_ORDERS = ("dmy", "mdy")
_NUMERIC_DATE = re.compile(r"([0-9]{1,2})[/.-]([0-9]{1,2})[/.-]([0-9]{4}) +([0-9:]{5,8}(?: ?[AaPp][Mm])?)")
_UID = re.compile(r"[0-9]{14}[0-9A-F]{5}")
_DATE_LETTERS = re.compile(r"[^dmy]+")
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - wall clocks are compared without a zone

# Name in the list to name in the event.
FIELD_NAMES: Mapping[str, str] = {
    "duration": "call_duration",
    "src_trunk": "src_trunk_name",
    "dst_trunk": "dst_trunk_name",
    "disposition": "status",
    "last_status": "status",
    "call_type": "type",
    "record_file": "recording",
    "did": "did_number",
    "handling_duration": "talk_duration",
}

REQUIRED_HEADINGS = (
    ("time", "timestamp", "time_start"),
    ("call_from", "call_from_number"),
    ("call_to", "call_to_number"),
    ("call_id", "uid", "id"),
)
"""The first line of a valid file has one name of each group."""

# Redundant: `time_start` contains the time, `call_from` and `call_to` the parties.
_COMBINED_MEMBERS = frozenset({
    "time", "timestamp", "call_from_number", "call_from_name", "call_to_number", "call_to_name",
})  # fmt: skip

OWN_COLUMNS = frozenset({
    "sn", "pbx", "record_id", "started_at", "answered_at", "ended_at", "utc_offset", "offset_from", "is_ambiguous",
    "is_shifted", "via",
    "received_at", "seq",
})  # fmt: skip
"""Columns of Onhook's own export that follow from the others (`docs/api.md`)."""


class FileContext(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a line by its whole file: whether a spreadsheet has rounded the ids, and the start of its leg if
    its time has no seconds, empty where that is unknown.
    """

    is_rounded: bool = False
    start: str = ""


class RowContext(msgspec.Struct, frozen=True, kw_only=True):
    """The context stored with a row. `date_format` is the PBX's, such as `DD/MM/YYYY`, or empty if the PBX did not
    report it.

    `call_id` is for rows without one, or without a certain one: the id under which the call is stored. `file` is there
    for lines of files.
    """

    sn: str
    date_format: str = ""
    call_id: str = ""
    file: FileContext | msgspec.UnsetType = msgspec.UNSET


def wrap_row(row: bytes, context: RowContext, detail: bytes = b"") -> bytes:
    """Wrap a row for the ledger; `row` and `detail` are JSON objects and stay byte for byte.

    >>> wrap_row(b'{"uid": "1"}', RowContext(sn="3631A2124ABC"))
    b'{"type":"row","sn":"3631A2124ABC","date_format":"","call_id":"","row":{"uid": "1"}}'
    """
    context_members = msgspec.json.encode(context)[1:-1]
    return ROW_PREFIX + context_members + b',"row":' + row + (b',"detail":' + detail if detail else b"") + b"}"


def key_members(envelope: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the members that are equal for exact repeats of a row, and its `call_id`; of the other context members
    only those that a spreadsheet made necessary count: the same line of another file may be readable.
    """
    row, file = envelope.get("row"), envelope.get("file")
    row_call_id = row.get("call_id") if isinstance(row, dict) else None
    members = {"call_id": row_call_id or envelope.get("call_id"), "row": row, "detail": envelope.get("detail")}
    return members | ({"file": file} if isinstance(file, dict) and any(file.values()) else {})


def parse_row(envelope: Mapping[str, Any]) -> list[CallDetails]:
    """Return the call details of a wrapped row, one for each leg. Raises `ParseError` with the reason."""
    row, detail = envelope.get("row"), envelope.get("detail")
    if not isinstance(row, dict):
        raise parse_error(_("the row is not a JSON object"))
    file = envelope.get("file") if isinstance(envelope.get("file"), dict) else None
    duration_names = _duration_names(row) if file else frozenset()
    row = normalize_names(row)
    if detail is None and _has_rounded_id(row, envelope.get("call_id"), file):
        raise parse_error(_("a spreadsheet rounded the ids: download the file again"))
    if file and file.get("is_rounded") and envelope.get("call_id"):
        row["call_id"] = envelope["call_id"]
    row.setdefault("call_id", envelope.get("call_id") or row.get("uid"))
    date_order = parse_date_order(str(envelope.get("date_format", "")))
    legs = list(_parse_stages(row, detail)) or [row]
    details = [build_details(_event_members(leg, date_order, file)) for leg in legs]
    _check_durations(details, duration_names)
    return details


def _has_rounded_id(row: Mapping[str, Any], stored_call_id: object, file: Mapping[str, Any] | None) -> bool:
    """Return whether a spreadsheet has changed the id of a row. In a file that it has rounded each id that is a number
    counts, unless the call is stored under the row's `uid`.
    """
    call_id = row.get("call_id")
    ids = [row[name] for name in ID_NAMES if name in row] if call_id is None else [call_id]
    if file is None or any(map(has_changed_form, ids)):
        return any(map(has_changed_form if call_id is not None else is_perhaps_rounded, ids))
    return bool(file.get("is_rounded")) and not stored_call_id and any(map(is_number, ids))


def _duration_names(row: Mapping[str, Any]) -> frozenset[str]:
    """Return the duration fields that a line fills by its own columns."""
    names = (FIELD_NAMES.get(name := _list_name(heading), name) for heading, value in row.items() if value)
    return DURATION_FIELDS.intersection(names)


def _check_durations(legs: Iterable[CallDetails], names: Iterable[str]) -> None:
    """Raise `ParseError` for a duration in a file that cannot be read: it would be missing from all reports."""
    for leg in legs:
        for name in names:
            if name in leg.extra:
                raise parse_error(_("unknown form of {name}: {value!r}", name=name, value=str(leg.extra[name])[:40]))


def infer_time_start(members: Mapping[str, Any]) -> Any:
    """Return an event's `time_start` with the day or the month first in the order that the ids in the event prove.

    Returns every other value unchanged, and one that nothing proves too.
    """
    time_text = members["time_start"]
    candidates = dict(_parse_candidates(time_text[:TIME_CHARACTERS_MAX].strip())) if isinstance(time_text, str) else {}
    if "ymd" in candidates:
        return time_text
    epoch = call_epoch(str(members.get("call_id", "")).strip())
    matching_times = {
        candidate
        for candidate in candidates.values()
        if _is_near_call_start(candidate, epoch) or _matches_evidence(candidate, members, 0)
    }
    return str(matching_times.pop()) if len(matching_times) == 1 else time_text


def parse_start_seconds(row: Mapping[str, Any], facts: SystemFacts) -> int | None:
    """Return the start of a listed call in Unix seconds by the PBX's clock; None if the row does not contain it."""
    seconds = _parse_seconds(row.get("timestamp"))
    if seconds:
        return seconds
    candidates = dict(_parse_candidates(str(row.get("time", ""))[:TIME_CHARACTERS_MAX].strip()))
    local = candidates.get("ymd") or candidates.get(parse_date_order(facts.date_format))
    return None if local is None else round((local - _EPOCH).total_seconds()) - (facts.offset_seconds or 0)


def parse_date_order(date_format: str) -> str:
    """Return the order of day, month and year in a display format; empty if the format does not define it.

    >>> [parse_date_order(text) for text in ("DD/MM/YYYY", "YYYY-MM-DD", "%m/%d/%Y", "")]
    ['dmy', 'ymd', 'mdy', '']
    """
    letters = "".join(dict.fromkeys(_DATE_LETTERS.sub("", date_format.lower())))
    return letters if letters in (*DATE_ORDERS, "ymd") else ""


def normalize_names(row: Mapping[str, Any]) -> dict[str, Any]:
    """Rename the columns of a file to the names of the list. Blanks and nulls are dropped, except that a blank party is
    a withheld number.
    """
    list_members = {_list_name(name): value for name, value in row.items()}
    if "time_start" in list_members and "seq" in list_members:
        list_members = _own_export_members(list_members)
    members = {name: value for name, value in list_members.items() if value is not None and value != ""}
    members.update((side, "") for side in PARTY_FIELDS & list_members.keys() - members.keys())
    if "uid" not in members and _UID.fullmatch(str(members.get("id", ""))):
        members["uid"] = members.pop("id")  # Column name in the download.
    return members


def _list_name(name: str) -> str:
    return name if name in FIELD_NAMES or "_" in name else list_name(name)


def _own_export_members(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of Onhook's own export with the event's members alone; `extra` has the others."""
    members = {name: _without_escape(value) for name, value in row.items() if name not in OWN_COLUMNS}
    for name in ("ring_duration", "extra"):
        members.pop(name, None)
    extra = decode_json(str(row.get("extra", "")).encode())
    return {**(extra if isinstance(extra, dict) else {}), **members}


def _without_escape(value: Any) -> Any:
    """Return the text of a cell, which may be escaped against spreadsheets and terminals."""
    return unescape_cell(value) if isinstance(value, str) else value


def _parse_stages(row: Mapping[str, Any], detail: object) -> Iterator[dict[str, Any]]:
    """Yield the legs of a v2.0 row, each with the members shared by the call (yeastar-p-series.md 7.5)."""
    if not isinstance(detail, dict) or not isinstance(detail.get("timeline"), list):
        return
    shared_members = {name: row[name] for name in ("call_id", "uid", "call_type") if name in row}
    for stage in detail["timeline"]:
        if isinstance(stage, dict):
            leg = {name: value for name, value in stage.items() if value is not None}
            leg["duration"] = leg.pop("call_duration", None)
            yield {**shared_members, **leg}


def _event_members(row: Mapping[str, Any], date_order: str, file: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the members of a row under the event's names."""
    members: dict[str, Any] = {"time_start": _parse_time_start(row, date_order, file)}
    for side in PARTY_FIELDS:
        if any(f"{side}{part}" in row for part in ("", "_number", "_name")):
            members[side] = format_party(row, side)
    for name, value in row.items():
        field_name = FIELD_NAMES.get(name, name)
        if name not in _COMBINED_MEMBERS and name not in members and value is not None:
            members.setdefault(field_name, value)
    return members


def format_party(row: Mapping[str, Any], side: str) -> str:
    """Join name and number into one text; write a number that equals its name once (yeastar-p-series.md 2.6)."""
    number, name = (str(row.get(f"{side}_{part}", "")).strip() for part in ("number", "name"))
    text = str(row.get(side, "")).strip() or (f"{name}<{number}>" if name and number else name or number)
    bare_number = number or text.rpartition("<")[2].rstrip(">")
    return bare_number if text == f"{bare_number}<{bare_number}>" else text


def time_text_of(row: Mapping[str, Any]) -> str:
    """Return the displayed time of a row, by the names of the PBX's list."""
    return str(row.get("time") or row.get("time_start", ""))[:TIME_CHARACTERS_MAX].strip()


def _parse_time_start(row: Mapping[str, Any], date_order: str, file: Mapping[str, Any] | None) -> str:
    """Return the start of a leg by the PBX's wall clock, in the event's format. Raises `ParseError`."""
    time_text = time_text_of(row)
    seconds = _parse_seconds(row.get("timestamp"))
    if lacks_seconds(time_text):
        return _parse_start_without_seconds(row, time_text, file)
    candidates = dict(_parse_candidates(time_text))
    matching_times = {local for local in candidates.values() if _matches_evidence(local, row, seconds)}
    if len(matching_times) == 1:
        return str(matching_times.pop())
    if seconds and not candidates:
        offset = offset_from_uid(str(row.get("uid", "")), call_epoch(str(row.get("call_id", ""))))
        if offset is not None:
            return str(_EPOCH + timedelta(seconds=seconds) + offset)
    if len(set(candidates.values())) == 1 and "ymd" in candidates:
        return str(candidates["ymd"])
    if date_order in candidates:
        return str(candidates[date_order])
    raise parse_error(_describe_time_error(time_text, date_order, is_parsable=bool(candidates)))


def _parse_start_without_seconds(row: Mapping[str, Any], time_text: str, file: Mapping[str, Any] | None) -> str:
    """Return the start that other columns, the file or the id prove, of a time that a spreadsheet has cut. Raises
    `ParseError`.
    """
    minutes = list_start_candidates(add_seconds(time_text))
    if seconds := _parse_seconds(row.get("timestamp")):
        starts = {local + timedelta(seconds=seconds % 60) for local in minutes}
        proven_starts = {local for local in starts if offset_between(local, seconds) is not None}
        if len(proven_starts) == 1:
            return str(proven_starts.pop())
    if file is not None:
        if file.get("start"):
            return str(file["start"])
        raise parse_error(_("the time {value!r} has no seconds, and its leg is not certain", value=time_text))
    uid_time = parse_uid_time(row)
    if uid_time is not None and uid_time.replace(second=0) in minutes:
        return str(uid_time)
    raise parse_error(_("the time {value!r} has no seconds, and the id does not give them", value=time_text))


def list_start_candidates(time_text: str) -> set[datetime]:
    """Return all possible meanings of a displayed time."""
    return {local for _order, local in _parse_candidates(time_text)}


def parse_uid_time(row: Mapping[str, Any]) -> datetime | None:
    """Return the wall clock in the `uid` of a row: that of the call's first leg. None without a valid one."""
    uid = str(row.get("uid", ""))
    if not _UID.fullmatch(uid):
        return None
    try:
        return datetime.fromisoformat(f"{uid[:8]}T{uid[8:14]}")
    except ValueError:
        return None


def _describe_time_error(time_text: str, date_order: str, *, is_parsable: bool) -> str:
    if not is_parsable:
        return _("unknown time format: {value!r}", value=time_text)
    if date_order:
        return _("the time {value!r} does not match the PBX's date format", value=time_text)
    return _(
        "the PBX's date format is unknown, so the order of day and month in {value!r} is ambiguous", value=time_text
    )


def _parse_candidates(time_text: str) -> Iterator[tuple[str, datetime]]:
    """Yield all possible meanings of a displayed time, with the order of day, month and year."""
    try:
        yield "ymd", parse_wall_clock(time_text)
        return
    except ParseError:
        match = _NUMERIC_DATE.fullmatch(time_text)
    if match is None:
        return
    first_number, second_number, year, clock = match.groups()
    for date_order, (day, month) in (("dmy", (first_number, second_number)), ("mdy", (second_number, first_number))):
        try:
            yield date_order, parse_wall_clock(f"{year}-{month}-{day} {clock}")
        except ParseError:
            continue


def _matches_evidence(local: datetime, row: Mapping[str, Any], seconds: int) -> bool:
    """Return whether the seconds in the row, or the timestamp in `uid`, prove this reading of the wall clock."""
    if seconds:
        return offset_between(local, seconds) is not None
    uid_time = parse_uid_time(row)
    if uid_time is None:
        return False
    # One hour before: the clock may have been set back.
    return timedelta(hours=-1) <= local - uid_time <= timedelta(seconds=CALL_SECONDS_MAX)


def _is_near_call_start(local: datetime, epoch: int) -> bool:
    """Return whether a leg of a call with this second in its id can begin then, in any zone. Dates that differ by a
    month cannot both match.
    """
    seconds_since_call = (local - _EPOCH).total_seconds() - epoch
    return epoch > 0 and -OFFSET_SECONDS_MAX <= seconds_since_call <= OFFSET_SECONDS_MAX + CALL_SECONDS_MAX


def _parse_seconds(value: object) -> int:
    """Return Unix seconds, or 0 if the value is none."""
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    return int(text) if text.isascii() and text.isdecimal() and len(text) == len("1782844637") else 0
