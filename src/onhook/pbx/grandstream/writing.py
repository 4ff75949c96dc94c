"""The row that a Grandstream UCM would send for a leg of a call (grandstream.md 4).

Invariant: reading it gives the call details back, as far as a row has a field for them.
"""

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from xml.etree import ElementTree as ET

import msgspec

from onhook.cdr.call_details import ANSWERED, VOICEMAIL, CallDetails
from onhook.cdr.identity import extract_name, extract_number
from onhook.cdr.number_plan import LegKind, NumberPlan

PAYLOAD_FORMATS = ("ucm-json", "ucm-xml")

_ACTIONS: Mapping[LegKind, str] = {
    "queue": "QUEUE[{number}]",
    "ivr": "IVR[{number}]",
    "ring_group": "RINGGROUP[{number}]",
    "voicemail": "VM[{number}]",
    "conference": "CONFERENCE[{number}]",
}


def format_row(details: CallDetails, sn: str, payload_format: str) -> bytes:
    """Return the body with the row of a leg, as JSON or XML."""
    members = _build_members(details, sn)
    if payload_format == "ucm-json":
        return msgspec.json.encode(members)
    root = ET.Element("root")
    row = ET.SubElement(root, "cdr")
    for name, text in members.items():
        ET.SubElement(row, name).text = text
    return b"<?xml version='1.0' encoding='utf-8'?>\n" + ET.tostring(root, encoding="unicode").encode()


def _build_members(details: CallDetails, sn: str) -> dict[str, str]:
    start = datetime.fromisoformat(details.time_start)
    duration = details.call_duration or 0
    is_answered = details.status in (ANSWERED, VOICEMAIL)
    talk = (details.talk_duration or 0) if is_answered else 0
    number = extract_number(details.call_to)
    return {
        "AcctId": _row_id(details),
        "accountcode": str(details.extra.get("accountcode", "")),
        "src": extract_number(details.call_from),
        "dst": number,
        "caller_name": extract_name(details.call_from),
        "start": str(start),
        "answer": str(start + timedelta(seconds=duration - talk)) if is_answered else "",
        "end": str(start + timedelta(seconds=duration)),
        "duration": str(duration),
        "billsec": str(talk),
        "disposition": ANSWERED if is_answered else details.status or "NO ANSWER",
        "uniqueid": details.uid,
        "userfield": details.type,
        "recordfiles": f"{details.recording}@" if details.recording else "",
        "dstanswer": number if details.agent_ring_time is not None else "",
        "session": details.call_id,
        "action_type": _action(details, number),
        "src_trunk_name": details.src_trunk_name,
        "dst_trunk_name": details.dst_trunk_name,
        "sn": sn,
    }


def _action(details: CallDetails, number: str) -> str:
    kind: LegKind = "voicemail" if details.status == VOICEMAIL else NumberPlan().kind_of_leg(details)
    if kind == "extension" and details.agent_ring_time is not None:
        return "QUEUE"
    return _ACTIONS.get(kind, "DIAL").format(number=number)


def _row_id(details: CallDetails) -> str:
    text = f"{details.call_id}\x1f{details.time_start}\x1f{details.call_to}"
    return str(int.from_bytes(hashlib.sha256(text.encode()).digest()[:4]))
