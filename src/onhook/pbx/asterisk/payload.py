"""The dialect of Asterisk: what it told of a call, as call details (PROTOCOL.md 10)."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from onhook.cdr.call_details import CallDetails
from onhook.cdr.identity import extract_name, extract_number
from onhook.cdr.utc_offset import call_epoch, offset_between
from onhook.lib.errors import UsageError
from onhook.pbx.asterisk.call import FIRST_LINE, AsteriskCall, Cdr, Header, body_of, cdr_ids, linked_id_of, read_call
from onhook.pbx.asterisk.cel_correction import corrected
from onhook.pbx.asterisk.messages import Message, parse_messages
from onhook.pbx.asterisk.rows import Row, is_trunk, rows_of
from onhook.pbx.dialect import Glance

LABEL = "call"
PROFILE = "cdr"
ANONYMOUS = "anonymous"
"""What SIP calls a caller who does not say who it is."""

TEXT_CHARACTERS_MAX = 4096
_KEY_EPOCH_MAX = 2**32 - 1
_UID_DIGITS = 5
_SECRET_APPLICATIONS = frozenset({"Authenticate", "VMAuthenticate", "DISA"})
"""Applications whose data is a password."""


class Asterisk:
    """The dialect of Asterisk, from version 12 on."""

    name = "asterisk"

    def glance(self, body: bytes) -> Glance:
        """Tell what a body seems to be; equal for the same CDRs of the same call, by whichever way they came."""
        if not body.startswith(FIRST_LINE):
            return Glance("rubbish", "", LABEL, _key(0, body))
        events = parse_messages(body)[1:]
        ids = cdr_ids(events)
        linked_id = next((linked_id_of(event.fields) for event in events if event.get("Event") == "Cdr"), "")
        if not linked_id:
            return Glance("unreadable", "", LABEL, _key(0, body))
        return Glance("details", "", LABEL, _key(call_epoch(linked_id), repr((linked_id, ids)).encode()))

    def read(self, body: bytes) -> list[CallDetails]:
        """The call details of each leg. Raises `Unreadable` with the reason."""
        call = read_call(body)
        rows = rows_of(call)
        if call.header.is_whole:
            rows = corrected(rows, call)
        uid = uid_of(call)
        kept = {(row.start, row.call_to): row for row in sorted(rows, key=_weight)}
        return [_details(row, call, uid) for row in sorted(kept.values(), key=_in_order)]

    def write(self, details: CallDetails, sn: str, profile: str) -> bytes:
        """The CDR by which an Asterisk would say these details. Raises `UsageError` for another profile."""
        if profile != PROFILE:
            raise UsageError(f"there is no profile {profile!r}", todo=f"use {PROFILE}")
        trunks = tuple(name for name in (details.src_trunk_name, details.dst_trunk_name) if name)
        return body_of(Header(trunks=trunks, has_pins=bool(details.pin_code)), [_written(details)])


def uid_of(call: AsteriskCall) -> str:
    """The call's start by the PBX's clock, and five digits of a hash of its id: the same for all its legs."""
    linked_id = call.cdrs[0].linked_id
    tail = hashlib.sha256(linked_id.encode()).hexdigest()[:_UID_DIGITS].upper()
    return f"{_begun(call, call_epoch(linked_id)):%Y%m%d%H%M%S}{tail}"


def _begun(call: AsteriskCall, epoch: int) -> datetime:
    """The second of the call's id, by the PBX's clock; by the first CDR alone where the id tells no time."""
    first = min(cdr.start for cdr in call.cdrs)
    offset = offset_between(first, epoch)
    if offset is None and call.header.offset_seconds is not None and epoch:
        offset = timedelta(seconds=call.header.offset_seconds)
    return first if offset is None else (datetime.fromtimestamp(epoch, UTC) + offset).replace(tzinfo=None)


def _in_order(row: Row) -> tuple[datetime, int, str]:
    """By begin; of those of one second what sends the caller on comes first."""
    return row.start, ("machine", "queue", "group", "member", "party").index(row.kind), row.call_to


def _weight(row: Row) -> tuple[bool, int]:
    """Of two rows that would be one record the later in this order stays: who answered, who talked longer."""
    return row.status in ("ANSWERED", "VOICEMAIL"), row.talk


def _details(row: Row, call: AsteriskCall, uid: str) -> CallDetails:
    cdr, header = row.cdr, call.header
    src = cdr.channel.endpoint if is_trunk(cdr.channel, header) else ""
    dst = row.callee.endpoint if is_trunk(row.callee, header) else ""
    return CallDetails(
        call_id=cdr.linked_id,
        time_start=str(row.start),
        call_from=_caller(cdr),
        call_to=_party(row.name, row.call_to),
        call_duration=row.duration,
        talk_duration=row.talk,
        src_trunk_name=src,
        dst_trunk_name=dst,
        pin_code=cdr.account_code if header.has_pins else "",
        status=row.status,
        type=_direction(src, dst),
        recording=row.recording,
        did_number=row.did,
        agent_ring_time=row.agent_ring_time,
        uid=uid,
        extra={name: value for name, value in _extra(row).items() if value != ""},
    )


def _direction(src_trunk: str, dst_trunk: str) -> str:
    """PROTOCOL.md 10.1: forwarded out counts as outbound."""
    if dst_trunk:
        return "Outbound"
    return "Inbound" if src_trunk else "Internal"


def _caller(cdr: Cdr) -> str:
    """`Name<number>`, as far as both are known."""
    said = cdr.caller_id.replace('"', "")
    number = cdr.source or extract_number(said)
    return _party(extract_name(said), number) or ANONYMOUS


def _party(name: str, number: str) -> str:
    return f"{name}<{number}>" if name and number and name != number else number or name


def _extra(row: Row) -> Mapping[str, Any]:
    """What Asterisk says and the event has no field for, under names of our own."""
    cdr = row.cdr
    data = "" if cdr.application in _SECRET_APPLICATIONS else cdr.application_data
    return {
        "channel": cdr.channel.name,
        "dst_channel": row.callee.name,
        "context": cdr.context,
        "last_application": cdr.application,
        "last_data": data[:TEXT_CHARACTERS_MAX],
        "ama_flags": cdr.ama_flags,
        **row.extra,
    }


def _key(epoch: int, said: bytes) -> bytes:
    return min(epoch, _KEY_EPOCH_MAX).to_bytes(4) + hashlib.sha256(said).digest()[:12]


def _written(details: CallDetails) -> Message:
    """Of the recording, the DID and the caller's name what a CDR can hold."""
    begin = datetime.fromisoformat(details.time_start)
    end = begin + timedelta(seconds=details.call_duration or 0)
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
    return Message(tuple(lines.items()))
