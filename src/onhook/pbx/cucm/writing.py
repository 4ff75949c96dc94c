"""The CDR file that a CUCM would write for a leg of a call (cucm.md 4).

Invariant: reading it gives the call details back, as far as a row has a column for them.
"""

import csv
import hashlib
import io
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from uuid import UUID

from onhook.cdr.call_details import ANSWERED, UTC_OFFSET, VOICEMAIL, CallDetails, fold_word
from onhook.cdr.identity import extract_number
from onhook.cdr.number_plan import NumberPlan

PAYLOAD_FORMAT = "cucm-csv"
CLUSTER = "StandAloneCluster"
CALLER_DEVICE, CALLEE_DEVICE, VOICEMAIL_DEVICE = "SEP001122334455", "SEP00AABBCCDDEE", "CiscoUM1-VI1"
BRIDGE_DEVICE = "CFB_2"

_TYPES: Mapping[str, str] = {
    "cdrRecordType": "INTEGER",
    "globalCallID_callManagerId": "INTEGER",
    "globalCallID_callId": "INTEGER",
    "origLegCallIdentifier": "INTEGER",
    "dateTimeOrigination": "INTEGER",
    "callingPartyNumber": "VARCHAR(50)",
    "origCause_value": "INTEGER",
    "destLegIdentifier": "INTEGER",
    "originalCalledPartyNumber": "VARCHAR(50)",
    "finalCalledPartyNumber": "VARCHAR(50)",
    "destCause_value": "INTEGER",
    "dateTimeConnect": "INTEGER",
    "dateTimeDisconnect": "INTEGER",
    "pkid": "UNIQUEIDENTIFIER",
    "duration": "INTEGER",
    "origDeviceName": "VARCHAR(129)",
    "destDeviceName": "VARCHAR(129)",
    "globalCallId_ClusterID": "VARCHAR(50)",
    "authCodeDescription": "VARCHAR(50)",
    "clientMatterCode": "VARCHAR(32)",
    "outpulsedCalledPartyNumber": "VARCHAR(50)",
    "huntPilotDN": "VARCHAR(50)",
    "wasCallQueued": "INTEGER",
}
_CALL_ID = re.compile(rf"{CLUSTER}-([0-9]{{1,9}})-([0-9]{{1,9}})-[0-9]{{8}}")
_CAUSES: Mapping[str, int] = {"BUSY": 17, "FAILED": 38}
_CALL_IDS = 2**24
"""Ids of calls begin anew behind it."""


def format_file(details: CallDetails) -> bytes:
    """Return a file with the row of a leg, whose times are UTC."""
    values = _build_values(details)
    file = io.StringIO()
    quoted = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    quoted.writerow(list(_TYPES))
    csv.writer(file, lineterminator="\n").writerow(list(_TYPES.values()))
    quoted.writerow([values.get(name, 0 if kind == "INTEGER" else "") for name, kind in _TYPES.items()])
    return file.getvalue().encode()


def _build_values(details: CallDetails) -> dict[str, str | int]:
    start = round(datetime.fromisoformat(details.time_start).replace(tzinfo=UTC).timestamp())
    start -= details.extra.get(UTC_OFFSET, 0)
    end = start + (details.call_duration or 0)
    is_answered = fold_word(details.status) in (ANSWERED, VOICEMAIL)
    talk = (details.talk_duration or 0) if is_answered else 0
    number = extract_number(details.call_to)
    manager, call_number = _global_id(details.call_id)
    digest = hashlib.sha256(f"{details.call_id}\x1f{details.time_start}\x1f{number}".encode()).digest()
    kind = NumberPlan().kind_of_leg(details)
    is_pilot = kind in ("queue", "ring_group")
    return {
        "cdrRecordType": 1,
        "globalCallID_callManagerId": manager,
        "globalCallID_callId": call_number,
        "origLegCallIdentifier": 2 * call_number + 1,
        "destLegIdentifier": int.from_bytes(digest[:4]) | 2**25,
        "dateTimeOrigination": start,
        "dateTimeConnect": end - talk if is_answered else 0,
        "dateTimeDisconnect": end,
        "duration": talk,
        "callingPartyNumber": extract_number(details.call_from),
        "originalCalledPartyNumber": details.did_number or number,
        "finalCalledPartyNumber": number,
        "destCause_value": 16 if is_answered else _CAUSES.get(fold_word(details.status), 19),
        "pkid": details.uid if _is_uuid(details.uid) else str(UUID(bytes=digest[:16])),
        "origDeviceName": details.src_trunk_name or CALLER_DEVICE,
        "destDeviceName": details.dst_trunk_name or _callee_device(details, kind),
        "globalCallId_ClusterID": CLUSTER,
        "authCodeDescription": details.pin_code,
        "clientMatterCode": str(details.extra.get("accountcode", "")),
        "outpulsedCalledPartyNumber": number if details.dst_trunk_name else "",
        "huntPilotDN": number if is_pilot else "",
        "wasCallQueued": 1 if kind == "queue" else 0,
    }


def _callee_device(details: CallDetails, kind: str) -> str:
    if kind == "voicemail" or fold_word(details.status) == VOICEMAIL:
        return VOICEMAIL_DEVICE
    return BRIDGE_DEVICE if kind == "conference" else "" if kind in ("queue", "ring_group", "ivr") else CALLEE_DEVICE


def _global_id(call_id: str) -> tuple[int, int]:
    """Return the parts of the id of a call: its own, where it is one of a CUCM, else such that are made from it."""
    match = _CALL_ID.fullmatch(call_id)
    if match:
        return int(match[1]), int(match[2])
    return 1, int.from_bytes(hashlib.sha256(call_id.encode()).digest()[:8]) % _CALL_IDS


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
