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

import msgspec

from onhook.cdr.call_details import DURATION_SECONDS_MAX
from onhook.cdr.utc_offset import parse_wall_clock
from onhook.lib.errors import ParseError
from onhook.lib.messages import _
from onhook.pbx.asterisk.channels import Channel, parse_channel
from onhook.pbx.asterisk.messages import AmiMessage, parse_messages

FIRST_LINE = b"Asterisk: 1\r\n"

CDRS_MAX = 200
"""Per body: a call with more is stored as several raw events."""

EVENTS_MAX = 1_000
"""Channel and queue events per body: beyond this they are dropped, and only the CDRs are used."""

CDR_EVENT = "Cdr"
CEL_EVENT = "CEL"

# Usual names of the CDR field with the name of the recording.
_RECORDING_FIELD_NAMES = ("recordingfile", "recording")
_DID_FIELD_NAMES = ("did", "did_number", "didnumber")
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
    """One CDR. Times are the PBX's wall clock; `dst_channel` is the empty channel if there was none."""

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
    """A queue event of this call. `agent` is the empty channel if the event is about the caller alone."""

    name: str
    queue: str
    agent: Channel
    ring_seconds: int | None
    hold_seconds: int | None


class AsteriskCall(msgspec.Struct, frozen=True, kw_only=True):
    """All parsed parts of a body."""

    header: CallHeader
    cdrs: tuple[Cdr, ...]
    cels: tuple[Cel, ...] = ()
    queue_events: tuple[QueueEvent, ...] = ()


def format_body(header: CallHeader, events: Iterable[AmiMessage]) -> bytes:
    """Return the body with these events."""
    return "".join([header.text, *(event.text for event in events)]).encode("utf-8", "replace")


def parse_call(body: bytes) -> AsteriskCall:
    """Parse a body. Raises `ParseError` if it has no CDR, or one without id or start."""
    messages = parse_messages(body)
    if not body.startswith(FIRST_LINE) or not messages:
        raise _parse_error(_("the body does not begin as a call from Asterisk"))
    header_message, events = messages[0], messages[1:]
    cdrs = tuple(_parse_cdr(event.fields) for event in events if event.get("Event") == CDR_EVENT)
    if not cdrs:
        raise _parse_error(_("the body has no CDR"))
    header = _parse_header(header_message)
    cels = [_parse_cel(event.fields) for event in events if event.get("Event") == CEL_EVENT]
    if None in cels:
        # A custom date format: only the CDRs are used, whose format is fixed.
        header, cels = msgspec.structs.replace(header, has_all_events=False), []
    queue_events = tuple(
        _parse_queue_event(event) for event in events if event.get("Event") not in (CDR_EVENT, CEL_EVENT)
    )
    return AsteriskCall(header=header, cdrs=cdrs, cels=tuple(cel for cel in cels if cel), queue_events=queue_events)


def cdr_ids(events: Sequence[AmiMessage]) -> list[tuple[str, ...]]:
    """Return the sorted identities of the CDRs of a call; they do not depend on the channel."""
    names = ("uniqueid", "channel", "destinationchannel", "starttime", "disposition")
    cdrs = (event.fields for event in events if event.get("Event") == CDR_EVENT)
    return sorted(tuple(cdr.get(name, "") for name in names) for cdr in cdrs)


def get_linked_id(fields: Mapping[str, str]) -> str:
    """Return the id of the call to which an event belongs; a CDR without a linkedid is a call of its own
    (yeastar-p-series.md 10.1).
    """
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
        raise _parse_error(_("a CDR has no start") if linked_id else _("a CDR has neither linkedid nor uniqueid"))
    duration = parse_seconds(fields.get("duration", ""))
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
        talk=parse_seconds(fields.get("billableseconds", "")),
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
        # Seconds for an agent who answered, milliseconds for one who did not.
        ring_seconds=None
        if not ring_time
        else parse_seconds(ring_time) // (1000 if event.get("Event") == "AgentRingNoAnswer" else 1),
        hold_seconds=parse_seconds(event.get("HoldTime")) if event.get("HoldTime") else None,
    )


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


def _parse_error(reason: str) -> ParseError:
    return ParseError(
        _("could not parse the raw event: {reason}", reason=reason),
        hint=_("check its body; it stays in the quarantine until a version can parse it"),
    )
