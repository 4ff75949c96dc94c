"""One call as Asterisk told it: the body that the ledger keeps, and its parts, typed.

    Asterisk: 1                     the form of this body
    Trunks: trunk-a                 endpoints of this call that are trunks when it was kept
    Inbound: from-trunk             contexts into which trunks call
    CEL: whole                      whether the channel events below are all that there were
    Offset: 3600                    the PBX's clock against UTC when the call ended, in seconds, where that was seen
    (empty line)
    Event: Cdr ...                  Asterisk's own lines, message by message

Laws: the lines of an event are kept as they came, but for those without a value; the header holds all that is needed to
read them again. A CDR from a file is written as the event that says the same.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from onhook.cdr.call_details import DURATION_SECONDS_MAX
from onhook.cdr.utc_offset import parse_wall_clock
from onhook.lib.errors import ParseError
from onhook.pbx.asterisk.channels import Channel, parse_channel
from onhook.pbx.asterisk.messages import AmiMessage, parse_messages

FIRST_LINE = b"Asterisk: 1\r\n"

CDRS_MAX = 200
"""In one body: a call that has more is kept as several reports."""

EVENTS_MAX = 1_000
"""Channel and queue events in one body: past that they are left out, and the CDRs alone are read."""

CDR_EVENT = "Cdr"
CEL_EVENT = "CEL"

# The usual names of the field that holds a recording's name, where CDRs have one.
_RECORDING_FIELD_NAMES = ("recordingfile", "recording")
_DID_FIELD_NAMES = ("did", "did_number", "didnumber")
_OFFSET = re.compile(r"-?[0-9]{1,5}")


class CallHeader(msgspec.Struct, frozen=True, kw_only=True):
    """What is needed to read the events below it. `is_whole` is whether all channel events of the call are there."""

    trunks: tuple[str, ...] = ()
    inbound_contexts: tuple[str, ...] = ()
    has_all_events: bool = False
    has_pins: bool = False
    offset_seconds: int | None = None

    @property
    def text(self) -> str:
        """As it stands in a body, first line and end included."""
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
    """One CDR. Times are the PBX's wall clock; `dst_channel` is the empty channel where there was none."""

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


class Cel(msgspec.Struct, frozen=True, kw_only=True):
    """One channel event. `extra` holds what is said besides, as JSON says it."""

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
    """What a queue said of this call. `agent` is the empty channel where it is about the caller alone."""

    name: str
    queue: str
    agent: Channel
    ring_seconds: int | None
    hold_seconds: int | None


class AsteriskCall(msgspec.Struct, frozen=True, kw_only=True):
    """All that a body says."""

    header: CallHeader
    cdrs: tuple[Cdr, ...]
    cels: tuple[Cel, ...] = ()
    queue_events: tuple[QueueEvent, ...] = ()


def format_body(header: CallHeader, events: Iterable[AmiMessage]) -> bytes:
    """The body that says these events."""
    return "".join([header.text, *(event.text for event in events)]).encode("utf-8", "replace")


def parse_call(body: bytes) -> AsteriskCall:
    """What a body says. Raises `ParseError` where it has no CDR, or one without what makes it one."""
    messages = parse_messages(body)
    if not body.startswith(FIRST_LINE) or not messages:
        raise _parse_error("it does not begin as a call that Asterisk told")
    header_message, events = messages[0], messages[1:]
    cdrs = tuple(_parse_cdr(event.fields) for event in events if event.get("Event") == CDR_EVENT)
    if not cdrs:
        raise _parse_error("it has no CDR")
    header = _parse_header(header_message)
    cels = [_parse_cel(event.fields) for event in events if event.get("Event") == CEL_EVENT]
    if None in cels:
        # A date in a form of somebody's own: then the CDRs alone are read, whose form is always the same.
        header, cels = msgspec.structs.replace(header, has_all_events=False), []
    queue_events = tuple(
        _parse_queue_event(event) for event in events if event.get("Event") not in (CDR_EVENT, CEL_EVENT)
    )
    return AsteriskCall(header=header, cdrs=cdrs, cels=tuple(cel for cel in cels if cel), queue_events=queue_events)


def cdr_ids(events: Sequence[AmiMessage]) -> list[tuple[str, ...]]:
    """What tells the CDRs of a call apart, the same however they came, in order."""
    names = ("uniqueid", "channel", "destinationchannel", "starttime", "disposition")
    cdrs = (event.fields for event in events if event.get("Event") == CDR_EVENT)
    return sorted(tuple(cdr.get(name, "") for name in names) for cdr in cdrs)


def get_linked_id(fields: Mapping[str, str]) -> str:
    """Which call an event belongs to; a CDR without a linkedid stands for itself (yeastar-p-series.md 10.1)."""
    return fields.get("linkedid", "") or fields.get("uniqueid", "")


def _parse_header(message: AmiMessage) -> CallHeader:
    offset = message.get("Offset")
    return CallHeader(
        trunks=_split_names(message.get("Trunks")),
        inbound_contexts=_split_names(message.get("Inbound")),
        has_all_events=message.get("CEL") == "whole",
        has_pins=message.get("Pins") == "account-code",
        offset_seconds=int(offset) if _OFFSET.fullmatch(offset) else None,
    )


def _parse_cdr(fields: Mapping[str, str]) -> Cdr:
    linked_id, start = get_linked_id(fields), fields.get("starttime", "")
    if not linked_id or not start:
        raise _parse_error(f"a CDR has no {'start' if linked_id else 'linkedid and no uniqueid'}")
    duration = _parse_seconds(fields.get("duration", ""))
    start_time = parse_wall_clock(start)
    answer, end = fields.get("answertime", ""), fields.get("endtime", "")
    return Cdr(
        linked_id=linked_id,
        unique_id=fields.get("uniqueid", ""),
        start=start_time,
        answer=parse_wall_clock(answer) if answer else None,
        end=parse_wall_clock(end) if end else start_time + timedelta(seconds=duration),
        source=fields.get("source", ""),
        caller_id=fields.get("callerid", ""),
        destination=fields.get("destination", ""),
        context=fields.get("destinationcontext", ""),
        channel=parse_channel(fields.get("channel", "")),
        dst_channel=parse_channel(fields.get("destinationchannel", "")),
        application=fields.get("lastapplication", ""),
        application_data=fields.get("lastdata", ""),
        duration=duration,
        talk=_parse_seconds(fields.get("billableseconds", "")),
        disposition=fields.get("disposition", "").upper(),
        account_code=fields.get("accountcode", ""),
        recording=_first_value(fields, _RECORDING_FIELD_NAMES) or _recording_file(fields.get("userfield", "")),
        did=_first_value(fields, _DID_FIELD_NAMES),
        ama_flags=fields.get("amaflags", ""),
    )


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
        caller_name=fields.get("calleridname", ""),
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
        # Of an agent who answered in seconds, of one who did not in milliseconds.
        ring_seconds=None
        if not ring_time
        else _parse_seconds(ring_time) // (1000 if event.get("Event") == "AgentRingNoAnswer" else 1),
        hold_seconds=_parse_seconds(event.get("HoldTime")) if event.get("HoldTime") else None,
    )


def _parse_seconds(text: str) -> int:
    """Whole seconds; 0 for what is none: a CDR always has them."""
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
    """The user field where it names a recording, as some dialplans have it (yeastar-p-series.md 10.1)."""
    return text if text.rpartition(".")[2].lower() in ("wav", "wav49", "gsm", "mp3", "ogg", "opus") else ""


def _split_names(text: str) -> tuple[str, ...]:
    return tuple(name for name in text.split(",") if name)


def _parse_error(reason: str) -> ParseError:
    return ParseError(
        f"the report says no call: {reason}", hint="look at its body; it is kept until a version can read it"
    )
