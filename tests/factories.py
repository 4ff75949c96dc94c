"""Simulated records and calls: by default Alice 1001 calls Bob 1002."""

import ipaddress
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import msgspec

from onhook.cdr.call_assembly import PbxFacts, ReportedLeg, assemble_call, to_reported_leg
from onhook.cdr.call_details import CallDetails
from onhook.cdr.record import Call, Record

SN = "3631A2124XXX"
PBX = "office"
STARTED_AT = datetime(2026, 4, 27, 11, 4, 36, tzinfo=UTC)
OFFSET = timedelta(hours=8)
ALICE = "Alice<1001>"
BOB = "Bob<1002>"
QUEUE = "Queue Team<6400>"
IVR = "IVR Welcome<6200>"

_SEQUENCE = count(1)


def details(started_at: datetime = STARTED_AT, **changes: Any) -> CallDetails:
    """Return call details of a PBX eight hours ahead of UTC; ids agree with `started_at`."""
    local = started_at + OFFSET
    values: dict[str, Any] = {
        "call_id": f"{int(started_at.timestamp())}.{next(_SEQUENCE)}",
        "time_start": f"{local:%Y-%m-%d %H:%M:%S}",
        "call_from": ALICE,
        "call_to": BOB,
        "call_duration": 20,
        "talk_duration": 14,
        "status": "ANSWERED",
        "type": "Internal",
        "agent_ring_time": 0,
    }
    return CallDetails(**(values | changes))


def record(started_at: datetime = STARTED_AT, **changes: Any) -> Record:
    """Return a complete record; `changes` are fields of call details, or of the record itself."""
    details_changes = {name: value for name, value in changes.items() if name in CallDetails.__struct_fields__}
    record_changes = {name: value for name, value in changes.items() if name not in details_changes}
    reported_leg = ReportedLeg(
        details=details(started_at, **details_changes), seq=1, via="webhook", received_at=STARTED_AT
    )
    facts = PbxFacts(name=record_changes.pop("pbx", PBX))
    assembled = assemble_call(record_changes.pop("sn", SN), [reported_leg], facts).legs[0]
    return msgspec.structs.replace(assembled, **record_changes)


def call(*legs: Record) -> Call:
    """Return the call of these records; by default an answered call from Alice to Bob."""
    legs = legs or (record(),)
    return assemble_call(legs[0].sn, [to_reported_leg(leg) for leg in legs], PbxFacts(name=legs[0].pbx))


def proxy_header(client: str, proxy: str, *, extension: bytes = b"") -> bytes:
    """Return the header of a TCP connection in PROXY protocol, version 2."""
    addresses = [ipaddress.ip_address(text) for text in (client, proxy)]
    family = b"\x11" if addresses[0].version == 4 else b"\x21"
    body = b"".join(address.packed for address in addresses) + (51000).to_bytes(2) + (8088).to_bytes(2) + extension
    return b"\r\n\r\n\x00\r\nQUIT\n\x21" + family + len(body).to_bytes(2) + body
