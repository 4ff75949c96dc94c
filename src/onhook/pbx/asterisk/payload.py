"""The dialect of Asterisk: parse its events into call details (yeastar-p-series.md 10)."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from onhook.cdr.call_details import DETAIL_FIELDS, CallDetails
from onhook.cdr.identity import BY_CHANNEL, CALLEE_KIND, IDENTIFIED_BY, extract_name, extract_number
from onhook.cdr.utc_offset import call_epoch, find_first_start, offset_between
from onhook.lib.errors import UsageError
from onhook.lib.messages import _
from onhook.pbx.asterisk.call import (
    CEL_EVENT,
    FIRST_LINE,
    AsteriskCall,
    CallHeader,
    Cdr,
    cdr_ids,
    format_body,
    get_linked_id,
    parse_call,
)
from onhook.pbx.asterisk.call_row import CallRow, callee_kind, is_conference, is_trunk
from onhook.pbx.asterisk.cdrs_from_events import derive_cdrs, derive_later_cdrs
from onhook.pbx.asterisk.cel_correction import correct_rows
from onhook.pbx.asterisk.channels import is_device_of
from onhook.pbx.asterisk.clock_change import find_clock_change
from onhook.pbx.asterisk.messages import AmiMessage, parse_messages
from onhook.pbx.asterisk.rows import build_rows
from onhook.pbx.dialect import Envelope
from onhook.pbx.json_fields import parse_error

LABEL = "call"
PAYLOAD_FORMAT = "cdr"
ANONYMOUS = "anonymous"
"""SIP's name for a caller without identity."""

TEXT_CHARACTERS_MAX = 4096
_KEY_EPOCH_MAX = 2**32 - 1
_UID_DIGITS = 5
_SECRET_APPLICATIONS = frozenset({"Authenticate", "VMAuthenticate", "DISA"})
"""Applications whose data is a password."""


def has_channel_events(body: bytes) -> bool:
    """Return whether a stored call has channel events (CEL)."""
    return any(event.get("Event") == CEL_EVENT for event in parse_messages(body)[1:])


class Asterisk:
    """The dialect of Asterisk, from version 12 on."""

    name = "asterisk"

    def peek(self, body: bytes) -> Envelope:
        """Classify a body. The key is equal for the same CDRs of the same call, whatever the channel."""
        if not body.startswith(FIRST_LINE):
            return Envelope("not_json", "", LABEL, _compute_key(0, body))
        events = parse_messages(body)[1:]
        ids = cdr_ids(events)
        linked_id = next((get_linked_id(event.fields) for event in events if event.get("Event") in ("Cdr", "CEL")), "")
        if not linked_id:
            return Envelope("unparsable", "", LABEL, _compute_key(0, body))
        return Envelope("details", "", LABEL, _compute_key(call_epoch(linked_id), repr((linked_id, ids)).encode()))

    def parse(self, body: bytes) -> list[CallDetails]:
        """Return the call details of each leg. Raises `ParseError` with the reason."""
        reported_call = parse_call(body)
        clock = find_clock_change(reported_call)
        call = clock.to_continuous_clock(reported_call)
        later_cdrs = derive_later_cdrs(call.cdrs, call.cels) if call.cdrs else derive_cdrs(call.linked_id, call.cels)
        call = msgspec.structs.replace(call, cdrs=(*call.cdrs, *later_cdrs))
        if not call.cdrs:
            raise parse_error(_("the body has no CDR, and no channel event from which one follows"))
        rows = build_rows(call)
        if call.header.has_all_events:
            rows = correct_rows(rows, call)
        uid = compute_uid(reported_call if reported_call.cdrs else call)
        rows = [clock.to_own_clock(row) for row in rows]
        return [_build_details(row, call, uid) for row in sorted(_select_rows(rows), key=_row_sort_key)]

    def format(self, details: CallDetails, sn: str, payload_format: str) -> bytes:
        """Return these details as a CDR of Asterisk. Raises `UsageError` for an unknown payload format."""
        if payload_format != PAYLOAD_FORMAT:
            raise UsageError(
                _("unknown payload format {name!r}", name=payload_format), hint=_("use {choice}", choice=PAYLOAD_FORMAT)
            )
        trunks = tuple(name for name in (details.src_trunk_name, details.dst_trunk_name) if name)
        return format_body(CallHeader(trunks=trunks, has_pins=bool(details.pin_code)), [_format_cdr(details)])


def compute_uid(call: AsteriskCall) -> str:
    """Return the call's start by the PBX's clock, and five digits of a hash of its id: the same for all its legs."""
    linked_id = call.cdrs[0].linked_id
    hash_digits = hashlib.sha256(linked_id.encode()).hexdigest()[:_UID_DIGITS].upper()
    return f"{_start_time(call, call_epoch(linked_id)):%Y%m%d%H%M%S}{hash_digits}"


def _start_time(call: AsteriskCall, epoch: int) -> datetime:
    """Return the second in the call's id by the PBX's clock; the start of the first CDR if the id contains no time."""
    first_start = find_first_start((cdr.start for cdr in call.cdrs), epoch)
    offset = offset_between(first_start, epoch)
    if offset is None and call.header.offset_seconds is not None and epoch:
        offset = timedelta(seconds=call.header.offset_seconds)
    return first_start if offset is None else (datetime.fromtimestamp(epoch, UTC) + offset).replace(tzinfo=None)


def _select_rows(rows: Sequence[CallRow]) -> Iterator[CallRow]:
    """Yield one row for each record: of the rows of one caller with the same start and called party, that which says
    most. Rows of several callers are marked; those of a caller without a channel, a machine, are none of their own.
    """
    callers: dict[_RowKey, set[str]] = {}
    for row in rows:
        callers.setdefault(_row_key(row), set()).add(row.cdr.channel.name)
    selected_rows: dict[tuple[_RowKey, str], CallRow] = {}
    for row in sorted(rows, key=_row_priority):
        names = callers[_row_key(row)] - {""}
        caller = row.cdr.channel.name or min(names, default="")
        is_ambiguous = len(names) > 1 and not is_conference(row)
        extra = {**row.extra, IDENTIFIED_BY: BY_CHANNEL} if is_ambiguous else row.extra
        selected_rows[_row_key(row), caller] = msgspec.structs.replace(row, extra=extra)
    yield from selected_rows.values()


_RowKey = tuple[datetime, str, bool]


def _row_key(row: CallRow) -> _RowKey:
    """Return what makes the rows of one caller one record: start and called party, and whether that is a conference."""
    return row.start, row.call_to, is_conference(row)


def _row_sort_key(row: CallRow) -> tuple[datetime, int, str, str]:
    """Sort by start; within one second, rows that route the caller on come first."""
    kind_index = ("ivr", "machine", "queue", "group", "member", "party").index(row.kind)
    return row.start, kind_index, row.call_to, row.cdr.channel.name


def _row_priority(row: CallRow) -> tuple[bool, int]:
    """Rank rows that would become one record, the last one is used: answered before unanswered, then by talk time."""
    return row.status in ("ANSWERED", "VOICEMAIL"), row.talk


def _build_details(row: CallRow, call: AsteriskCall, uid: str) -> CallDetails:
    cdr, header = row.cdr, call.header
    src_trunk = cdr.channel.endpoint if is_trunk(cdr.channel, header) else ""
    dst_trunk = row.callee.endpoint if is_trunk(row.callee, header) else ""
    return CallDetails(
        call_id=cdr.linked_id,
        time_start=str(row.start),
        call_from=_format_caller(cdr),
        call_to=_format_party(row.name, row.call_to),
        call_duration=row.duration,
        talk_duration=min(row.talk, row.duration),
        src_trunk_name=src_trunk,
        dst_trunk_name=dst_trunk,
        pin_code=cdr.account_code if header.has_pins else "",
        status=row.status,
        type=_direction(row, src_trunk, dst_trunk),
        recording=row.recording,
        did_number=row.did,
        agent_ring_time=row.agent_ring_time,
        uid=uid,
        extra={name: value for name, value in _extra_members(row, header).items() if value not in ("", None)},
    )


def _direction(row: CallRow, src_trunk: str, dst_trunk: str) -> str:
    """Return the direction; a call forwarded to a trunk is outbound (yeastar-p-series.md 10.1), and so is the attempt
    of a telephone to call a number that is longer than its own: no trunk was called yet.
    """
    extension, channel = row.cdr.calling_extension, row.cdr.channel
    own_number = extension if is_device_of(channel, extension) else channel.number
    if dst_trunk or (row.cdr.origination == "attempt" and len(row.call_to) > len(own_number)):
        return "Outbound"
    return "Inbound" if src_trunk else "Internal"


def _format_caller(cdr: Cdr) -> str:
    """Format as `Name<number>`, as far as both are known."""
    caller_id = cdr.caller_id.replace('"', "")
    number = cdr.source or extract_number(caller_id)
    return _format_party(extract_name(caller_id), number) or ANONYMOUS


def _format_party(name: str, number: str) -> str:
    return f"{name}<{number}>" if name and number and name != number else number or name


def _extra_members(row: CallRow, header: CallHeader) -> Mapping[str, Any]:
    """Return Asterisk's values for which the event has no field, under Onhook's own names."""
    cdr = row.cdr
    application_data = "" if cdr.application in _SECRET_APPLICATIONS else cdr.application_data
    return {
        **{name: value for name, value in cdr.columns.items() if name not in DETAIL_FIELDS},
        "channel": cdr.channel.name,
        "dst_channel": row.callee.name,
        "context": cdr.context,
        "last_application": cdr.application,
        "last_data": application_data[:TEXT_CHARACTERS_MAX],
        "ama_flags": cdr.ama_flags,
        "account_code": "" if header.has_pins else cdr.account_code,
        "userfield": cdr.userfield,
        "outbound_caller_id": cdr.outbound_caller_id,
        "originated": cdr.origination,
        CALLEE_KIND: callee_kind(row, header),
        IDENTIFIED_BY: "",
        **row.extra,
    }


def _compute_key(epoch: int, content: bytes) -> bytes:
    return min(epoch, _KEY_EPOCH_MAX).to_bytes(4) + hashlib.sha256(content).digest()[:12]


def _format_cdr(details: CallDetails) -> AmiMessage:
    """Format details as a CDR; recording, DID and caller name as far as a CDR can hold them."""
    start = datetime.fromisoformat(details.time_start)
    end = start + timedelta(seconds=details.call_duration or 0)
    talk = details.talk_duration or 0
    number, name = extract_number(details.call_from), extract_name(details.call_from)
    is_message = details.status == "VOICEMAIL"
    caller = details.src_trunk_name or number
    lines = {
        "Event": "Cdr",
        "AccountCode": details.pin_code,
        "Source": number,
        "Destination": extract_number(details.call_to),
        "CallerID": f'"{name}" <{number}>' if name else number,
        "Channel": f"PJSIP/{caller}-00000001",
        "DestinationChannel": ""
        if is_message
        else f"PJSIP/{details.dst_trunk_name or extract_number(details.call_to)}-00000002",
        "LastApplication": "VoiceMail" if is_message else "Dial",
        "StartTime": details.time_start,
        "AnswerTime": str(end - timedelta(seconds=talk)) if talk else "",
        "EndTime": str(end),
        "Duration": str(details.call_duration or 0),
        "BillableSeconds": str(talk),
        "Disposition": "ANSWERED" if is_message else details.status,
        "UniqueID": details.call_id,
        "LinkedID": details.call_id,
        "RecordingFile": details.recording,
        "DID": details.did_number,
    }
    return AmiMessage(tuple(lines.items()))
