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
from onhook.pbx.asterisk.channels import Channel, channel_named
from onhook.pbx.asterisk.messages import Message, parse_messages

FIRST_LINE = b"Asterisk: 1\r\n"

CDRS_MAX = 200
"""In one body: a call that has more is kept as several reports."""

EVENTS_MAX = 1_000
"""Channel and queue events in one body: past that they are left out, and the CDRs alone are read."""

CDR_EVENT = "Cdr"
CEL_EVENT = "CEL"

# The usual names of the field that holds a recording's name, where CDRs have one.
_RECORDING_NAMES = ("recordingfile", "recording")
_DID_NAMES = ("did", "did_number", "didnumber")
_OFFSET = re.compile(r"-?[0-9]{1,5}")


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What is needed to read the events below it. `is_whole` is whether all channel events of the call are there."""

    trunks: tuple[str, ...] = ()
    inbound: tuple[str, ...] = ()
    is_whole: bool = False
    has_pins: bool = False
    offset_seconds: int | None = None

    @property
    def text(self) -> str:
        """As it stands in a body, first line and end included."""
        lines = [
            FIRST_LINE.decode(),
            f"Trunks: {','.join(self.trunks)}\r\n",
            f"Inbound: {','.join(self.inbound)}\r\n",
            f"CEL: {'whole' if self.is_whole else 'none'}\r\n",
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
    at: datetime
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

    header: Header
    cdrs: tuple[Cdr, ...]
    cels: tuple[Cel, ...] = ()
    queue: tuple[QueueEvent, ...] = ()


def body_of(header: Header, events: Iterable[Message]) -> bytes:
    """The body that says these events."""
    return "".join([header.text, *(event.text for event in events)]).encode("utf-8", "replace")


def read_call(body: bytes) -> AsteriskCall:
    """What a body says. Raises `Unreadable` where it has no CDR, or one without what makes it one."""
    messages = parse_messages(body)
    if not body.startswith(FIRST_LINE) or not messages:
        raise _unreadable("it does not begin as a call that Asterisk told")
    head, events = messages[0], messages[1:]
    cdrs = tuple(_cdr(event.fields) for event in events if event.get("Event") == CDR_EVENT)
    if not cdrs:
        raise _unreadable("it has no CDR")
    header = _header(head)
    cels = [_cel(event.fields) for event in events if event.get("Event") == CEL_EVENT]
    if None in cels:
        # A date in a form of somebody's own: then the CDRs alone are read, whose form is always the same.
        header, cels = msgspec.structs.replace(header, is_whole=False), []
    queue = tuple(_queue_event(event) for event in events if event.get("Event") not in (CDR_EVENT, CEL_EVENT))
    return AsteriskCall(header=header, cdrs=cdrs, cels=tuple(cel for cel in cels if cel), queue=queue)


def cdr_ids(events: Sequence[Message]) -> list[tuple[str, ...]]:
    """What tells the CDRs of a call apart, the same however they came, in order."""
    names = ("uniqueid", "channel", "destinationchannel", "starttime", "disposition")
    cdrs = (event.fields for event in events if event.get("Event") == CDR_EVENT)
    return sorted(tuple(cdr.get(name, "") for name in names) for cdr in cdrs)


def linked_id_of(fields: Mapping[str, str]) -> str:
    """Which call an event belongs to; a CDR without a linkedid stands for itself (PROTOCOL.md 10.1)."""
    return fields.get("linkedid", "") or fields.get("uniqueid", "")


def _header(head: Message) -> Header:
    offset = head.get("Offset")
    return Header(
        trunks=_names(head.get("Trunks")),
        inbound=_names(head.get("Inbound")),
        is_whole=head.get("CEL") == "whole",
        has_pins=head.get("Pins") == "account-code",
        offset_seconds=int(offset) if _OFFSET.fullmatch(offset) else None,
    )


def _cdr(fields: Mapping[str, str]) -> Cdr:
    linked_id, start = linked_id_of(fields), fields.get("starttime", "")
    if not linked_id or not start:
        raise _unreadable(f"a CDR has no {'start' if linked_id else 'linkedid and no uniqueid'}")
    duration = _seconds(fields.get("duration", ""))
    began = parse_wall_clock(start)
    answer, end = fields.get("answertime", ""), fields.get("endtime", "")
    return Cdr(
        linked_id=linked_id,
        unique_id=fields.get("uniqueid", ""),
        start=began,
        answer=parse_wall_clock(answer) if answer else None,
        end=parse_wall_clock(end) if end else began + timedelta(seconds=duration),
        source=fields.get("source", ""),
        caller_id=fields.get("callerid", ""),
        destination=fields.get("destination", ""),
        context=fields.get("destinationcontext", ""),
        channel=channel_named(fields.get("channel", "")),
        dst_channel=channel_named(fields.get("destinationchannel", "")),
        application=fields.get("lastapplication", ""),
        application_data=fields.get("lastdata", ""),
        duration=duration,
        talk=_seconds(fields.get("billableseconds", "")),
        disposition=fields.get("disposition", "").upper(),
        account_code=fields.get("accountcode", ""),
        recording=_first(fields, _RECORDING_NAMES) or _sound_file(fields.get("userfield", "")),
        did=_first(fields, _DID_NAMES),
        ama_flags=fields.get("amaflags", ""),
    )


def _cel(fields: Mapping[str, str]) -> Cel | None:
    try:
        at = parse_wall_clock(fields.get("eventtime", ""))
    except ParseError:
        return None
    return Cel(
        name=fields.get("eventname", ""),
        at=at,
        channel=channel_named(fields.get("channel", "")),
        unique_id=fields.get("uniqueid", ""),
        caller_name=fields.get("calleridname", ""),
        caller_number=fields.get("calleridnum", ""),
        extension=fields.get("exten", ""),
        context=fields.get("context", ""),
        application=fields.get("application", ""),
        application_data=fields.get("appdata", ""),
        extra=_extra(fields.get("extra", "")),
    )


def _queue_event(event: Message) -> QueueEvent:
    ring = event.get("RingTime")
    return QueueEvent(
        name=event.get("Event"),
        queue=event.get("Queue"),
        agent=channel_named(event.get("DestChannel")),
        # Of an agent who answered in seconds, of one who did not in milliseconds.
        ring_seconds=None if not ring else _seconds(ring) // (1000 if event.get("Event") == "AgentRingNoAnswer" else 1),
        hold_seconds=_seconds(event.get("HoldTime")) if event.get("HoldTime") else None,
    )


def _seconds(text: str) -> int:
    """Whole seconds; 0 for what is none: a CDR always has them."""
    whole = text.partition(".")[0]
    return min(int(whole), DURATION_SECONDS_MAX) if whole.isascii() and whole.isdigit() and len(whole) < 19 else 0


def _extra(text: str) -> Mapping[str, object]:
    try:
        decoded = msgspec.json.decode(text) if text else {}
    except (msgspec.DecodeError, RecursionError):
        return {}
    return decoded if isinstance(decoded, dict) else {}


def _first(fields: Mapping[str, str], names: Iterable[str]) -> str:
    return next((fields[name] for name in names if fields.get(name)), "")


def _sound_file(text: str) -> str:
    """The user field where it names a recording, as some dialplans have it (PROTOCOL.md 10.1)."""
    return text if text.rpartition(".")[2].lower() in ("wav", "wav49", "gsm", "mp3", "ogg", "opus") else ""


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in text.split(",") if name)


def _unreadable(why: str) -> ParseError:
    return ParseError(
        f"the report says no call: {why}", todo="look at its body; it is kept until a version can read it"
    )
