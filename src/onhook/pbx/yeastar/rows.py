"""Rows of the PBX's own list of calls, into the call details that the event would have said (PROTOCOL.md 7.3 to 7.5).

Laws: a row is kept as its own bytes, wrapped with what it takes to read it: the PBX's display format, and for rows that
name no call, the id of the call. Whether day or month comes first is proven by the ids and seconds beside it, else told
by the PBX's setting, never guessed. What the list does not say is empty, so that it overwrites nothing.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from onhook.cdr.call_details import CallDetails
from onhook.cdr.utc_offset import OFFSET_SECONDS_MAX, call_epoch, offset_between, offset_from_uid, parse_wall_clock
from onhook.lib.errors import ParseError
from onhook.pbx.client import Facts
from onhook.pbx.json_fields import PARTIES, details_of, unreadable

ROW_START = b'{"type":"row",'
"""How a wrapped row begins; no PBX sends an event so."""

ROW_LABEL = "row"
TIME_CHARACTERS_MAX = 40
CALL_SECONDS_MAX = 86_400
"""No leg is taken to begin later than this after its call."""

ORDERS = ("dmy", "mdy")
_SLASHED = re.compile(r"([0-9]{1,2})[/.-]([0-9]{1,2})[/.-]([0-9]{4}) +([0-9:]{5,8}(?: ?[AaPp][Mm])?)")
_UID = re.compile(r"[0-9]{14}[0-9A-F]{5}")
_DATE_LETTERS = re.compile(r"[^dmy]+")
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - wall clocks are compared as they are

# The list's name: the event's.
NAMES: Mapping[str, str] = {
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

# As the PBX's web page heads the columns of its download, in small letters and without blanks: the list's name.
HEADINGS: Mapping[str, str] = {
    "callfrom": "call_from",
    "callto": "call_to",
    "callduration": "duration",
    "callduration(s)": "duration",
    "ringduration": "ring_duration",
    "ringduration(s)": "ring_duration",
    "talkduration": "talk_duration",
    "talkduration(s)": "talk_duration",
    "status": "disposition",
    "laststatus": "disposition",
    "sourcetrunk": "src_trunk",
    "destinationtrunk": "dst_trunk",
    "communicationtype": "call_type",
    "did": "did_number",
    "did/ddi": "did_number",
    "didname": "did_name",
    "pincode": "pin_code",
    "recordingfile": "record_file",
    "outboundcallerid": "dod_number",
    "calleripaddress": "src_addr",
    "callid": "call_id",
    "time": "time",
    "reason": "reason",
    "id": "id",
}

HEADINGS_NEEDED = (
    ("time", "timestamp"),
    ("call_from", "call_from_number"),
    ("call_to", "call_to_number"),
    ("call_id", "uid", "id"),
)
"""One of each in a file's first line, or it is not one of these."""

# Said by others: the moment by `time_start`, the parties by `call_from` and `call_to`.
_SAID_OTHERWISE = frozenset({
    "time", "timestamp", "call_from_number", "call_from_name", "call_to_number", "call_to_name",
})  # fmt: skip


class Wrapping(msgspec.Struct, frozen=True, kw_only=True):
    """What goes around a row. `date_format` is the PBX's, such as `DD/MM/YYYY`, or empty where it did not tell.

    `call_id` is for rows that name no call: the id under which the call is known here, or else its `uid`.
    """

    sn: str
    date_format: str = ""
    call_id: str = ""


def wrapped(row: bytes, wrapping: Wrapping, detail: bytes = b"") -> bytes:
    """A row as the ledger keeps it; `row` and `detail` are JSON objects, and stay as they came.

    >>> wrapped(b'{"uid": "1"}', Wrapping(sn="3631A2124ABC"))
    b'{"type":"row","sn":"3631A2124ABC","date_format":"","call_id":"","row":{"uid": "1"}}'
    """
    around = msgspec.json.encode(wrapping)[1:-1]
    return ROW_START + around + b',"row":' + row + (b',"detail":' + detail if detail else b"") + b"}"


def members_to_compare(envelope: Mapping[str, Any]) -> Mapping[str, Any]:
    """What is equal for exact repeats of a row, and its `call_id`: how it was wrapped does not count."""
    row = envelope.get("row")
    own_id = row.get("call_id") if isinstance(row, dict) else None
    return {"call_id": own_id or envelope.get("call_id"), "row": row, "detail": envelope.get("detail")}


def read_row(envelope: Mapping[str, Any]) -> list[CallDetails]:
    """The call details that a wrapped row says: one for each leg. Raises `Unreadable` with the reason."""
    row, detail = envelope.get("row"), envelope.get("detail")
    if not isinstance(row, dict):
        raise unreadable("its row is no JSON object")
    row = named(row)
    row.setdefault("call_id", envelope.get("call_id") or row.get("uid"))
    order = order_of(str(envelope.get("date_format", "")))
    legs = list(_stages(row, detail)) or [row]
    return [details_of(_members(leg, order)) for leg in legs]


def start_as_proven(members: Mapping[str, Any]) -> Any:
    """An event's `time_start` that has the day or the month first, as what the ids beside it prove it to mean.

    Anything else, and what nothing proves, as it is.
    """
    shown = members["time_start"]
    could_be = dict(_readings(shown[:TIME_CHARACTERS_MAX].strip())) if isinstance(shown, str) else {}
    if "ymd" in could_be:
        return shown
    epoch = call_epoch(str(members.get("call_id", "")).strip())
    proven = {one for one in could_be.values() if _is_near(one, epoch) or _is_proven(one, members, 0)}
    return str(proven.pop()) if len(proven) == 1 else shown


def begun_at(row: Mapping[str, Any], facts: Facts) -> int | None:
    """When the call of a row of the list began, in Unix seconds by the PBX's clock; None where it does not tell."""
    seconds = _seconds(row.get("timestamp"))
    if seconds:
        return seconds
    could_be = dict(_readings(str(row.get("time", ""))[:TIME_CHARACTERS_MAX].strip()))
    local = could_be.get("ymd") or could_be.get(order_of(facts.date_format))
    return None if local is None else round((local - _EPOCH).total_seconds()) - (facts.offset_seconds or 0)


def order_of(date_format: str) -> str:
    """In which order a display format has day, month and year; empty where it does not say.

    >>> order_of("DD/MM/YYYY"), order_of("YYYY-MM-DD"), order_of("%m/%d/%Y"), order_of("")
    ('dmy', 'ymd', 'mdy', '')
    """
    letters = "".join(dict.fromkeys(_DATE_LETTERS.sub("", date_format.lower())))
    return letters if letters in (*ORDERS, "ymd") else ""


def named(row: Mapping[str, Any]) -> dict[str, Any]:
    """Columns of a file under the names of the list; those of the list stay. Blanks and nulls say nothing, but that a
    party withheld its number."""
    listed = {_listed(name): value for name, value in row.items()}
    members = {name: value for name, value in listed.items() if value is not None and value != ""}
    members.update((side, "") for side in PARTIES & listed.keys() - members.keys())
    if "uid" not in members and _UID.fullmatch(str(members.get("id", ""))):
        members["uid"] = members.pop("id")  # the page calls it so
    return members


def _listed(name: str) -> str:
    return name if name in NAMES or "_" in name else HEADINGS.get(re.sub(r"\s", "", name).lower(), name)


def _stages(row: Mapping[str, Any], detail: object) -> Iterator[dict[str, Any]]:
    """The legs of a row of v2.0, each with what its call says of all (PROTOCOL.md 7.5)."""
    if not isinstance(detail, dict) or not isinstance(detail.get("timeline"), list):
        return
    shared = {name: row[name] for name in ("call_id", "uid", "call_type") if name in row}
    for stage in detail["timeline"]:
        if isinstance(stage, dict):
            leg = {name: value for name, value in stage.items() if value is not None}
            leg["duration"] = leg.pop("call_duration", None)
            yield {**shared, **leg}


def _members(row: Mapping[str, Any], order: str) -> dict[str, Any]:
    """A row's members under the event's names."""
    members: dict[str, Any] = {"time_start": _time_start(row, order)}
    for side in PARTIES:
        if any(f"{side}{part}" in row for part in ("", "_number", "_name")):
            members[side] = _party(row, side)
    for name, value in row.items():
        ours = NAMES.get(name, name)
        if name not in _SAID_OTHERWISE and name not in members and value is not None:
            members.setdefault(ours, value)
    return members


def _party(row: Mapping[str, Any], side: str) -> str:
    """Name and number as one text; a number that is its own name once (PROTOCOL.md 2.6)."""
    number, name = (str(row.get(f"{side}_{part}", "")).strip() for part in ("number", "name"))
    text = str(row.get(side, "")).strip() or (f"{name}<{number}>" if name and number else name or number)
    bare = number or text.rpartition("<")[2].rstrip(">")
    return bare if text == f"{bare}<{bare}>" else text


def _time_start(row: Mapping[str, Any], order: str) -> str:
    """When a leg began, by the PBX's wall clock, as the event says it. Raises `Unreadable`."""
    shown = str(row.get("time", ""))[:TIME_CHARACTERS_MAX].strip()
    seconds = _seconds(row.get("timestamp"))
    could_be = dict(_readings(shown))
    proven = {local for local in could_be.values() if _is_proven(local, row, seconds)}
    if len(proven) == 1:
        return str(proven.pop())
    if seconds and not could_be:
        offset = offset_from_uid(str(row.get("uid", "")), call_epoch(str(row.get("call_id", ""))))
        if offset is not None:
            return str(_EPOCH + timedelta(seconds=seconds) + offset)
    if len(set(could_be.values())) == 1 and "ymd" in could_be:
        return str(could_be["ymd"])
    if order in could_be:
        return str(could_be[order])
    raise unreadable(_why_not(shown, order, is_readable=bool(could_be)))


def _why_not(shown: str, order: str, *, is_readable: bool) -> str:
    if not is_readable:
        return f"its time {shown!r} is none that we know"
    if order:
        return f"its time {shown!r} does not fit the display format that the PBX told"
    return f"nobody said whether the day or the month comes first in its time {shown!r}"


def _readings(shown: str) -> Iterator[tuple[str, datetime]]:
    """All that a displayed moment could mean, by the order of day, month and year."""
    try:
        yield "ymd", parse_wall_clock(shown)
        return
    except ParseError:
        found = _SLASHED.fullmatch(shown)
    if found is None:
        return
    one, other, year, clock = found.groups()
    for order, (day, month) in (("dmy", (one, other)), ("mdy", (other, one))):
        try:
            yield order, parse_wall_clock(f"{year}-{month}-{day} {clock}")
        except ParseError:
            continue


def _is_proven(local: datetime, row: Mapping[str, Any], seconds: int) -> bool:
    """Whether the seconds in the row, or the stamp in `uid`, show that a wall clock is meant so."""
    if seconds:
        return offset_between(local, seconds) is not None
    stamp = str(row.get("uid", ""))
    if not _UID.fullmatch(stamp):
        return False
    try:
        begun = datetime.fromisoformat(f"{stamp[:8]}T{stamp[8:14]}")
    except ValueError:
        return False
    # An hour before: the clock may have been put back.
    return timedelta(hours=-1) <= local - begun <= timedelta(seconds=CALL_SECONDS_MAX)


def _is_near(local: datetime, epoch: int) -> bool:
    """Whether a leg of the call with this second in its id can begin then, in any zone: days that differ by a month
    can not both."""
    passed = (local - _EPOCH).total_seconds() - epoch
    return epoch > 0 and -OFFSET_SECONDS_MAX <= passed <= OFFSET_SECONDS_MAX + CALL_SECONDS_MAX


def _seconds(value: object) -> int:
    """Unix seconds, or 0 where there are none."""
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    return int(text) if text.isascii() and text.isdecimal() and len(text) == len("1782844637") else 0
