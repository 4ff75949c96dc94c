"""The line of SMDR that an Avaya IP Office would write for a call (lines.md 8).

Invariant: reading it gives the call details back, as far as SMDR has a field for them.
"""

import hashlib
import re
from datetime import datetime

from onhook.cdr.call_details import ANSWERED, VOICEMAIL, CallDetails
from onhook.cdr.identity import extract_name, extract_number
from onhook.pbx.lines import clean_value, format_clock_duration, format_time

PAYLOAD_FORMAT = "avaya-smdr"
TRUNK_DEVICE = "T9001"
TRUNK_NAME = "Line 1.1"

_CALL_ID = re.compile(r"([0-9]{1,18})-[0-9]{14}")
_CALL_IDS = 1_000_000_000
_FURTHER_VALUES = ("0", "n/a", *[""] * 11)
"""Authorisation, charges and targets, in 13 fields."""


def format_line(details: CallDetails) -> bytes:
    """Return the line of a call of one segment, with its end."""
    caller, called = extract_number(details.call_from), extract_number(details.call_to)
    is_outgoing = details.type != "Inbound"
    party, party_name = ("E" + caller, extract_name(details.call_from) or caller) if is_outgoing else _called(details)
    peer, peer_name = _called(details) if details.type == "Internal" else _trunk(details)
    talk = details.talk_duration or 0 if details.status in (ANSWERED, VOICEMAIL) else 0
    dialled = details.did_number or called
    values = [
        format_time(datetime.fromisoformat(details.time_start)),
        format_clock_duration(talk),
        str(max(0, (details.call_duration or 0) - talk)),
        caller,
        "O" if is_outgoing else "I",
        called if is_outgoing else dialled,
        dialled,
        str(details.extra.get("accountcode", "")),
        "1" if details.type == "Internal" else "0",
        _call_id(details.call_id),
        "0",
        *(party, party_name, peer, peer_name),
        *("0", "0"),
        *_FURTHER_VALUES,
    ]
    return (",".join(clean_value(value) for value in values) + "\r\n").encode()


def _called(details: CallDetails) -> tuple[str, str]:
    number = extract_number(details.call_to)
    return f"{'V' if details.status == VOICEMAIL else 'E'}{number}", extract_name(details.call_to) or number


def _trunk(details: CallDetails) -> tuple[str, str]:
    return TRUNK_DEVICE, details.src_trunk_name or details.dst_trunk_name or TRUNK_NAME


def _call_id(call_id: str) -> str:
    """Return the id of a call: its own, where it is one of SMDR, else one that is made from it."""
    match = _CALL_ID.fullmatch(call_id)
    return match[1] if match else str(int.from_bytes(hashlib.sha256(call_id.encode()).digest()[:8]) % _CALL_IDS)
