"""Each value of `accept_dialects.json`: what the samples of the dialects must give, by the name of its test."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from onhook.cdr.call_assembly import PbxFacts, ReportedLeg, assemble_call
from onhook.cdr.call_details import UTC_OFFSET
from onhook.cdr.identity import extract_name, extract_number
from onhook.cdr.leg_joining import join_legs
from onhook.cdr.record import Call, Record
from onhook.lib.errors import ParseError
from onhook.pbx.dialect import LegDialect
from onhook.pbx.freeswitch.documents import decode_document
from onhook.pbx.registry import dialects

PAYLOADS = Path(__file__).parents[1] / "payloads"
FOLDERS: Mapping[str, tuple[str, Path]] = {
    "F": ("freeswitch", PAYLOADS / "freeswitch" / "constructed"),
    "X": ("3cx", PAYLOADS / "lines"),
    "G": ("grandstream", PAYLOADS / "grandstream"),
}
RECEIVED_AT = datetime(2026, 11, 28, tzinfo=UTC)
ACCEPTED: Mapping[str, Mapping[str, Any]] = json.loads((PAYLOADS / "accept_dialects.json").read_bytes())
CHECKED = {
    "in",
    "any_order",
    "zone",
    "calls",
    "quarantined",
    "same_as",
    "variables",
    "rows",
    "first",
    "second",
    "talk_exact",
}
"""Members that are no values of a call."""

VALUES: Mapping[str, Callable[[Call], object]] = {
    "call_id": lambda call: call.call_id,
    "time_start": lambda call: call.legs[0].time_start,
    "offset_s": lambda call: call.legs[0].extra[UTC_OFFSET],
    "from": lambda call: extract_number(call.call_from),
    "to": lambda call: extract_number(call.call_to),
    "to_name": lambda call: extract_name(call.call_to),
    "call": lambda call: call.call_duration,
    "talk": lambda call: call.talk_duration,
    "status": lambda call: call.status,
    "type": lambda call: call.type,
    "did": lambda call: call.did_number,
    "src_trunk": lambda call: call.src_trunk_name,
    "dst_trunk": lambda call: call.dst_trunk_name,
    "answered_by": lambda call: call.answered_by,
    "queue": lambda call: next(leg.extra["queue"] for leg in call.legs if "queue" in leg.extra),
}
ROW_VALUES: Mapping[str, Callable[[Record], object]] = {
    "to": lambda leg: extract_number(leg.call_to),
    "time_start": lambda leg: leg.time_start,
    "call": lambda leg: leg.call_duration,
    "talk": lambda leg: leg.talk_duration,
    "agent_ring": lambda leg: leg.agent_ring_time,
}


def load(key: str, name: str) -> bytes:
    content = (FOLDERS[key[0]][1] / name).read_bytes()
    return content.partition(b"\n\n")[2] if name.endswith(".txt") and key[0] == "F" else content


def read_calls(key: str, bodies: Sequence[bytes]) -> list[Call]:
    """Return the calls of bodies, of which each event counts once, by their starts."""
    dialect = dialects()[FOLDERS[key[0]][0]]
    by_key = {dialect.peek(body).key: body for body in bodies}
    groups: list[list[bytes]] = [[body] for body in by_key.values()]
    if isinstance(dialect, LegDialect):
        by_id = {dialect.read_links(body).leg_id: body for body in by_key.values()}
        joined = join_legs([dialect.read_links(body) for body in by_id.values()])
        groups = [[by_id[leg_id] for leg_id in group] for group in joined]
    calls: dict[str, list[ReportedLeg]] = {}
    for group in groups:
        all_details = dialect.parse_legs(group) if isinstance(dialect, LegDialect) else dialect.parse(group[0])
        for details in all_details:
            leg = ReportedLeg(details=details, seq=1, via="webhook", received_at=RECEIVED_AT)
            calls.setdefault(details.call_id, []).append(leg)
    assembled = [assemble_call("PBX", legs, PbxFacts(dialect=dialect.name)) for legs in calls.values()]
    return sorted(assembled, key=lambda call: call.started_at)


def check_call(call: Call, expected: Mapping[str, Any]) -> None:
    names = expected.keys() - CHECKED
    assert {name: VALUES[name](call) for name in names} == {name: expected[name] for name in names}
    rows = expected.get("rows", ())
    read_rows = [{name: ROW_VALUES[name](leg) for name in row} for row, leg in zip(rows, call.legs, strict=False)]
    assert read_rows == list(rows)


@pytest.mark.parametrize("key", sorted(ACCEPTED))
def test_accepted_values_of_the_sample_are_read(key: str) -> None:
    expected = ACCEPTED[key]
    bodies = [load(key, name) for name in expected["in"]]
    if expected.get("quarantined"):
        for body in bodies:
            with pytest.raises(ParseError):
                dialects()[FOLDERS[key[0]][0]].parse(body)
        return
    for calls in (read_calls(key, bodies), read_calls(key, bodies[::-1] * 2)):
        assert len(calls) == expected.get("calls", 1)
        check_call(calls[0], expected.get("first", expected))
        if "second" in expected:
            check_call(calls[1], expected["second"])
    if "talk_exact" in expected:
        assert read_calls(key, bodies)[0].talk_duration == int(float(expected["talk_exact"]))
    if "same_as" in expected:
        assert read_calls(key, bodies) == read_calls(key, [load(key, expected["same_as"])])
        variables = decode_document(bodies[0]).variables
        assert {name: variables[name] for name in expected["variables"]} == expected["variables"]


def test_accepted_values_are_known_names() -> None:
    """A name that is checked nowhere would be a value that is not asserted."""
    calls = [part for value in ACCEPTED.values() for part in (value, value.get("first", {}), value.get("second", {}))]
    assert {name for call in calls for name in call} - CHECKED <= VALUES.keys()
    assert {name for call in calls for row in call.get("rows", ()) for name in row} <= ROW_VALUES.keys()
