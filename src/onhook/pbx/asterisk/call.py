"""One call as Asterisk reported it: the body stored in the ledger, and its typed parts.

    Asterisk: 1                     version of this format
    Trunks: trunk-a                 endpoints of this call that were trunks when it was stored
    Inbound: from-trunk             contexts into which trunks call
    CEL: whole                      whether the channel events below are complete
    Offset: 3600                    the PBX's clock minus UTC at the end of the call, in seconds, if observed
    (empty line)
    Event: Cdr ...                  Asterisk's own lines, message by message

Invariants: the lines of an event are stored unchanged, except that lines without a value are dropped; the header
contains everything needed to parse them again. A CDR from a file is written as the equivalent event.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from onhook.cdr.call_details import DURATION_SECONDS_MAX
from onhook.cdr.utc_offset import parse_wall_clock
from onhook.lib.errors import ParseError
from onhook.lib.messages import _
from onhook.pbx.asterisk.channels import NO_CHANNEL, Channel, parse_channel
from onhook.pbx.asterisk.messages import AmiMessage, parse_messages
from onhook.pbx.json_fields import parse_error
from onhook.pbx.text_encoding import unescape_bytes

FIRST_LINE = b"Asterisk: 1\r\n"

CDRS_MAX = 1_000
"""Per body: a call with more is stored as several raw events."""

CLOCK_CHANGE_SECONDS_MIN = 900
"""A CDR whose end differs by more from start and duration was written by a clock that was changed during the call."""

CUSTOM_COLUMNS_MAX = 20
CUSTOM_COLUMN_CHARACTERS_MAX = 256

CUT_SPAN = timedelta(seconds=1)
"""Events and CDRs have whole seconds: what happened at the end of a row may seem to be one second later."""

_HALF_HOUR = timedelta(minutes=30)
_ANSWER_TOLERANCE = timedelta(seconds=2)
"""Each of the times of a CDR is cut to the second."""

Origination = Literal["", "call", "attempt"]
"""A call that the PBX began by itself (click-to-call, a dialer): one that its first party answered, or only an attempt
to reach that party. Empty for a call that a telephone or trunk began.
"""

EVENTS_MAX = 1_000
"""Channel and queue events per body: beyond this they are dropped, and only the CDRs are used."""

CDR_EVENT = "Cdr"
CEL_EVENT = "CEL"

# Usual names of the CDR field with the name of the recording.
_RECORDING_FIELD_NAMES = ("recordingfile", "recording")
_DID_FIELD_NAMES = ("did", "did_number", "didnumber")
_KNOWN_FIELDS = frozenset(
    {"event", "privilege", "linkedid", "uniqueid", "starttime", "answertime", "endtime", "duration", "billableseconds"}
    | {"source", "callerid", "destination", "destinationcontext", "channel", "destinationchannel", "lastapplication"}
    | {"lastdata", "disposition", "accountcode", "amaflags", "userfield", "cnum", "cnam", "sequence", "systemname"}
    | {"file", "line", "func", "sequencenumber", "timestamp", "peeraccount"}
    | {*_RECORDING_FIELD_NAMES, *_DID_FIELD_NAMES}
)
_UUID_ID = re.compile(r".{0,12}[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}[^0-9a-zA-Z]*")
"""A UUID, perhaps with a short prefix or in brackets: what a table leaves of it has 16 hexadecimal digits at least."""

_UUID_BEGIN = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){2}")
_TABLE_ID_CHARACTERS = 32
"""Of `uniqueid` and `linkedid` in a FreePBX's table."""

_CUT_EPOCH = re.compile(r".*-[12](?:[0-9]{0,8}|[0-9]{9}\.?)")
_OFFSET = re.compile(r"-?[0-9]{1,5}")


class CallHeader(msgspec.Struct, frozen=True, kw_only=True):
    """The context needed to parse the events below it. `has_all_events` says whether the channel events of the call are
    complete.
    """

    trunks: tuple[str, ...] = ()
    inbound_contexts: tuple[str, ...] = ()
    has_all_events: bool = False
    has_pins: bool = False
    offset_seconds: int | None = None

    @property
    def text(self) -> str:
        """The header as written in a body, including first line and end."""
        lines = [
            FIRST_LINE.decode(),
            f"Trunks: {','.join(self.trunks)}\r\n",
            f"Inbound: {','.join(self.inbound_contexts)}\r\n",
            f"CEL: {'whole' if self.has_all_events else 'none'}\r\n",
        ]
        if self.has_pins:
            lines.append("Pins: account-code\r\n")
        if self.offset_seconds is not None:
            lines.append(f"Offset: {self.offset_seconds}\r\n")
        return "".join([*lines, "\r\n"])


class Cdr(msgspec.Struct, frozen=True, kw_only=True):
    """One CDR. Times are the PBX's wall clock as it was at the start, also if the clock changed later; `dst_channel` is
    the empty channel if there was none.

    `dialplan_number` and `dialplan_name` are the caller's own as a FreePBX records them, `columns` the values of custom
    columns. Of parties joined through a Local channel, `inner_destination` and `inner_data` are those behind it,
    `outer_destination` is what the caller dialled before it, and `local_channel` is the half that the caller's side
    called. Of a machine behind a Local channel that is a member, `group_application`, `group_data` and
    `group_destination` are those by which the queue or group called it. `member_number` is the number at which a member
    of a group was called by a trunk. `is_reversed` says that the PBX called a customer first, who is the called party
    though the CDR was written for that channel, `calling_extension` what the PBX dialled to reach the calling telephone
    first. `clock_shift` is by how much the PBX's clock was put forward (or back:
    negative) during the CDR, perhaps already before the answer.
    """

    linked_id: str
    unique_id: str
    start: datetime
    answer: datetime | None
    end: datetime
    source: str
    caller_id: str
    destination: str
    context: str
    channel: Channel
    dst_channel: Channel
    application: str
    application_data: str
    duration: int
    talk: int
    disposition: str
    account_code: str = ""
    recording: str = ""
    did: str = ""
    ama_flags: str = ""
    userfield: str = ""
    dialplan_number: str = ""
    dialplan_name: str = ""
    columns: Mapping[str, str] = {}
    inner_destination: str = ""
    inner_data: str = ""
    outer_destination: str = ""
    local_channel: Channel = NO_CHANNEL
    group_application: str = ""
    group_data: str = ""
    group_destination: str = ""
    member_number: str = ""
    outbound_caller_id: str = ""
    origination: Origination = ""
    is_reversed: bool = False
    calling_extension: str = ""
    clock_shift: timedelta = timedelta()
    was_shifted_before_answer: bool = False


class Cel(msgspec.Struct, frozen=True, kw_only=True):
    """One channel event. `extra` contains further values, decoded from JSON."""

    name: str
    event_time: datetime
    channel: Channel
    unique_id: str
    caller_name: str
    caller_number: str
    extension: str
    context: str
    application: str
    application_data: str
    extra: Mapping[str, object]


class QueueEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A queue event of this call. `agent` is the empty channel if the event is about the caller alone; `member` is what
    the queue dials for the agent.
    """

    name: str
    queue: str
    agent: Channel
    ring_seconds: int | None
    hold_seconds: int | None
    member: str = ""


class AsteriskCall(msgspec.Struct, frozen=True, kw_only=True):
    """All parsed parts of a body."""

    linked_id: str
    header: CallHeader
    cdrs: tuple[Cdr, ...]
    cels: tuple[Cel, ...] = ()
    queue_events: tuple[QueueEvent, ...] = ()


def format_body(header: CallHeader, events: Iterable[AmiMessage]) -> bytes:
    """Return the body with these events, in the bytes in which the PBX sent them."""
    return unescape_bytes("".join([header.text, *(event.text for event in events)]))


def parse_call(body: bytes) -> AsteriskCall:
    """Parse a body; `cdrs` is empty for a call for which the PBX wrote none. Raises `ParseError` if it has neither a
    CDR nor all its channel events, or a CDR without id or start.
    """
    messages = parse_messages(body)
    if not body.startswith(FIRST_LINE) or not messages:
        raise parse_error(_("the body does not begin as a call from Asterisk"))
    header_message, events = messages[0], messages[1:]
    cdrs = tuple(_parse_cdr(event.fields) for event in events if event.get("Event") == CDR_EVENT)
    header = _parse_header(header_message)
    if not cdrs and not header.has_all_events:
        raise parse_error(_("the body has no CDR"))
    cels = [_parse_cel(event.fields) for event in events if event.get("Event") == CEL_EVENT]
    if None in cels:
        # A custom date format: only the CDRs are used, whose format is fixed.
        header, cels = msgspec.structs.replace(header, has_all_events=False), []
    if not cdrs and not cels:
        raise parse_error(_("the body has no CDR"))
    queue_events = tuple(
        _parse_queue_event(event) for event in events if event.get("Event") not in (CDR_EVENT, CEL_EVENT)
    )
    linked_id = canonical_id(next(get_linked_id(event.fields) for event in events))
    return AsteriskCall(
        linked_id=linked_id,
        header=header,
        cdrs=cdrs,
        cels=tuple(cel for cel in cels if cel),
        queue_events=queue_events,
    )


def cdr_ids(events: Sequence[AmiMessage]) -> list[tuple[str, ...]]:
    """Return the sorted identities of the CDRs of a call, or of its channel events where it has none; they do not
    depend on the channel.
    """
    names: tuple[str, ...] = ("uniqueid", "channel", "destinationchannel", "starttime", "disposition")
    cdrs = [event.fields for event in events if event.get("Event") == CDR_EVENT]
    if not cdrs:
        names = ("uniqueid", "channel", "eventname")
        cdrs = [event.fields for event in events if event.get("Event") == CEL_EVENT]
    return sorted(tuple(_normalize(cdr.get(name, "")) for name in names) for cdr in cdrs)


def get_linked_id(fields: Mapping[str, str]) -> str:
    """Return the id of the call to which an event belongs; a CDR without a linkedid is a call of its own
    (yeastar-p-series.md 10.1).
    """
    return fields.get("linkedid", "") or fields.get("uniqueid", "")


def canonical_id(linked_id: str) -> str:
    """Return a call's id as a FreePBX's table holds it: a UUID is cut to 32 characters there. An id with the time of
    its call is not cut, because others may begin alike.

    >>> canonical_id("0e9b6a1c-1f7e-4f0e-9a53-7c2d1c1d2e3f"), canonical_id("1795766400.1")
    ('0e9b6a1c-1f7e-4f0e-9a53-7c2d1c1d', '1795766400.1')
    >>> canonical_id("{0e9b6a1c-1f7e-4f0e-9a53-7c2d1c1d2e3f}")
    '{0e9b6a1c-1f7e-4f0e-9a53-7c2d1c1'
    """
    return linked_id[:_TABLE_ID_CHARACTERS] if _UUID_ID.fullmatch(linked_id) else linked_id


def is_cut_id(linked_id: str) -> bool:
    """Return whether a table has certainly cut an id: within the time of the call, which is behind the name of the PBX.

    >>> [is_cut_id(text) for text in ("asterisk-office-berlin-01-179586", "office-berlin-north-1795860000.1")]
    [True, False]
    """
    is_full = len(linked_id) == _TABLE_ID_CHARACTERS
    return is_full and bool(_CUT_EPOCH.fullmatch(linked_id)) and not _UUID_BEGIN.search(linked_id)


def _parse_header(message: AmiMessage) -> CallHeader:
    offset = message.get("Offset")
    return CallHeader(
        trunks=_split_names(message.get("Trunks")),
        inbound_contexts=_split_names(message.get("Inbound")),
        has_all_events=message.get("CEL") == "whole",
        has_pins=message.get("Pins") == "account-code",
        offset_seconds=int(offset) if _OFFSET.fullmatch(offset) else None,
    )


def _normalize(value: str) -> str:
    """Return a value with single blanks, as those of files and tables are."""
    return " ".join(value.split())


def _parse_cdr(fields: Mapping[str, str]) -> Cdr:
    fields = {name: _normalize(value) for name, value in fields.items()}
    linked_id, start = get_linked_id(fields), fields.get("starttime", "")
    if not linked_id or not start:
        raise parse_error(_("a CDR has no start") if linked_id else _("a CDR has neither linkedid nor uniqueid"))
    reported_duration = fields.get("duration", "")
    duration = parse_seconds(reported_duration)
    start_time = parse_wall_clock(start)
    end_time = parse_end(start_time, fields.get("endtime", ""), reported_duration)
    talk = parse_seconds(fields.get("billableseconds", ""))
    shift = _clock_shift(start_time, fields.get("endtime", ""), reported_duration)
    answer_time, was_shifted_before_answer = _answer_time(
        fields.get("answertime", ""), (start_time, end_time), talk, shift
    )
    return Cdr(
        linked_id=canonical_id(linked_id),
        unique_id=fields.get("uniqueid", ""),
        start=start_time,
        answer=answer_time,
        end=end_time,
        clock_shift=shift,
        was_shifted_before_answer=was_shifted_before_answer,
        source=fields.get("source", ""),
        caller_id=fields.get("callerid", ""),
        destination=fields.get("destination", ""),
        context=fields.get("destinationcontext", ""),
        channel=parse_channel(fields.get("channel", "")),
        dst_channel=parse_channel(fields.get("destinationchannel", "")),
        application=fields.get("lastapplication", ""),
        application_data=fields.get("lastdata", ""),
        duration=duration,
        talk=min(talk, duration) if duration else talk,
        disposition=fields.get("disposition", "").upper(),
        account_code=fields.get("accountcode", ""),
        recording=_first_value(fields, _RECORDING_FIELD_NAMES) or _recording_file(fields.get("userfield", "")),
        did=_first_value(fields, _DID_FIELD_NAMES),
        ama_flags=fields.get("amaflags", ""),
        userfield=fields.get("userfield", ""),
        dialplan_number=fields.get("cnum", ""),
        dialplan_name=fields.get("cnam", ""),
        columns=_custom_columns(fields),
    )


def parse_end(start: datetime, text: str, duration: str) -> datetime:
    """Parse the end of a CDR, or derive it from the duration, as the CDR has both: by the clock of the start, also
    where the clock was changed meanwhile. Raises `ParseError`.
    """
    expected_end = start + timedelta(seconds=parse_seconds(duration))
    if not text:
        return expected_end
    end = parse_wall_clock(text)
    was_clock_changed = duration and abs((end - expected_end).total_seconds()) > CLOCK_CHANGE_SECONDS_MIN
    return expected_end if was_clock_changed or end < start else end


def _clock_shift(start: datetime, text: str, duration: str) -> timedelta:
    """Return by how much the clock was changed between start and end, in half-hours."""
    if not text or not duration:
        return timedelta()
    excess = parse_wall_clock(text) - start - timedelta(seconds=parse_seconds(duration))
    half_hours = round(excess / _HALF_HOUR)
    return half_hours * _HALF_HOUR if abs(half_hours) in (1, 2) else timedelta()


def _answer_time(
    text: str, span: tuple[datetime, datetime], talk: int, shift: timedelta
) -> tuple[datetime | None, bool]:
    """Return the answer by the clock of the start, and whether the clock was changed before it; where a table has no
    such column, the answer follows from the talk time. `span` is from start to end by the clock of the start.
    """
    start, end = span
    expected_answer = end - timedelta(seconds=talk)
    if not text:
        return expected_answer if talk else None, False
    answer = parse_wall_clock(text)
    if shift and talk and abs(answer - shift - expected_answer) <= _ANSWER_TOLERANCE:
        return expected_answer, True
    was_clock_changed = abs((answer - expected_answer).total_seconds()) > CLOCK_CHANGE_SECONDS_MIN
    return expected_answer if talk and was_clock_changed and not start <= answer <= end else answer, False


def _custom_columns(fields: Mapping[str, str]) -> Mapping[str, str]:
    """Return the values of columns that the PBX's operator has added, bounded."""
    custom = {name: value[:CUSTOM_COLUMN_CHARACTERS_MAX] for name, value in fields.items() if name not in _KNOWN_FIELDS}
    return dict(sorted(custom.items())[:CUSTOM_COLUMNS_MAX])


def _parse_cel(fields: Mapping[str, str]) -> Cel | None:
    try:
        event_time = parse_wall_clock(fields.get("eventtime", ""))
    except ParseError:
        return None
    return Cel(
        name=fields.get("eventname", ""),
        event_time=event_time,
        channel=parse_channel(fields.get("channel", "")),
        unique_id=fields.get("uniqueid", ""),
        caller_name=_normalize(fields.get("calleridname", "")),
        caller_number=fields.get("calleridnum", ""),
        extension=fields.get("exten", ""),
        context=fields.get("context", ""),
        application=fields.get("application", ""),
        application_data=fields.get("appdata", ""),
        extra=_parse_extra(fields.get("extra", "")),
    )


def _parse_queue_event(event: AmiMessage) -> QueueEvent:
    ring_time = event.get("RingTime")
    return QueueEvent(
        name=event.get("Event"),
        queue=event.get("Queue"),
        agent=parse_channel(event.get("DestChannel")),
        # Seconds for an agent who answered, milliseconds for one who did not.
        ring_seconds=None
        if not ring_time
        else parse_seconds(ring_time) // (1000 if event.get("Event") == "AgentRingNoAnswer" else 1),
        hold_seconds=parse_seconds(event.get("HoldTime")) if event.get("HoldTime") else None,
        member=event.get("Interface"),
    )


def seconds_between(start: datetime, end: datetime) -> int:
    """Return whole seconds; 0 if the end is before the start."""
    return max(0, int((end - start).total_seconds()))


def parse_seconds(text: str) -> int:
    """Return whole seconds; 0 for an invalid value, because a CDR always has durations."""
    integer_part = text.partition(".")[0]
    return (
        min(int(integer_part), DURATION_SECONDS_MAX)
        if integer_part.isascii() and integer_part.isdigit() and len(integer_part) < 19
        else 0
    )


def _parse_extra(text: str) -> Mapping[str, object]:
    try:
        extra = msgspec.json.decode(text) if text else {}
    except (msgspec.DecodeError, RecursionError):
        return {}
    return extra if isinstance(extra, dict) else {}


def _first_value(fields: Mapping[str, str], names: Iterable[str]) -> str:
    return next((fields[name] for name in names if fields.get(name)), "")


def _recording_file(text: str) -> str:
    """Return the user field if it names a recording, as in some dialplans (yeastar-p-series.md 10.1)."""
    return text if text.rpartition(".")[2].lower() in ("wav", "wav49", "gsm", "mp3", "ogg", "opus") else ""


def _split_names(text: str) -> tuple[str, ...]:
    return tuple(name for name in text.split(",") if name)
