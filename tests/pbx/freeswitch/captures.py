"""Captures of a real FreeSWITCH, and the calls in them (tests/payloads/freeswitch/README.md)."""

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from onhook.cdr.call_assembly import PbxFacts, ReportedLeg, assemble_call
from onhook.cdr.call_details import CallDetails
from onhook.cdr.leg_joining import join_legs
from onhook.cdr.record import Call
from onhook.pbx.freeswitch.payload import FreeSwitch

PAYLOADS = Path(__file__).parents[2] / "payloads" / "freeswitch"
CONSTRUCTED = PAYLOADS / "constructed"
FREESWITCH = FreeSwitch()
EXPECTED: dict[str, list[dict[str, Any]]] = json.loads((PAYLOADS / "expected.json").read_text())
RECEIVED_AT = datetime(2026, 11, 28, tzinfo=UTC)


def bodies(scenario: str, kind: str = "json") -> list[bytes]:
    """Return the bodies of a scenario, in order of arrival; its name may be cut after the number."""
    return [path.read_bytes() for path in sorted(PAYLOADS.glob(f"{scenario}*/*-{kind}.body"))]


def constructed(name: str) -> bytes:
    """Return a document, or the body of a request, of the folder `constructed`."""
    content = (CONSTRUCTED / name).read_bytes()
    return content.partition(b"\n\n")[2] if name.endswith(".txt") else content


def calls_of(leg_bodies: Iterable[bytes]) -> list[list[CallDetails]]:
    """Return the details of each call that these legs are, by their starts, as a collector of legs would join them."""
    by_id = {FREESWITCH.read_links(body).leg_id: body for body in leg_bodies}
    groups = join_legs(FREESWITCH.read_links(body) for body in by_id.values())
    calls = [FREESWITCH.parse_legs([by_id[leg_id] for leg_id in group]) for group in groups]
    return sorted(calls, key=lambda details: (details[0].time_start, details[0].call_id) if details else ("", ""))


def assemble(details: Sequence[CallDetails]) -> Call:
    """Return the call of these details."""
    legs = [ReportedLeg(details=leg, seq=1, via="webhook", received_at=RECEIVED_AT) for leg in details]
    return assemble_call("FS", legs, PbxFacts())


def the_call(*leg_bodies: bytes) -> Call:
    """Return the only call of these legs."""
    (details,) = calls_of(leg_bodies)
    return assemble(details)
