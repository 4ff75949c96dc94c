"""Call details of the rows of a call (freeswitch.md 8). Pure."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from onhook.cdr.call_details import UTC_OFFSET, CallDetails
from onhook.cdr.identity import BY_CALLEE_CHANNEL, CALLEE_KIND, IDENTIFIED_BY
from onhook.cdr.number_plan import LegKind
from onhook.pbx.freeswitch.call import CallLegs, is_click_to_call
from onhook.pbx.freeswitch.leg import Leg
from onhook.pbx.freeswitch.rows import Row, build_rows, seconds_between


def build_details(legs: Sequence[Leg]) -> list[CallDetails]:
    """Return the call details of the legs of one call, at least one; none for loopback legs alone."""
    call = CallLegs(legs)
    return [_build_details(call, row) for row in build_rows(call)]


def _build_details(call: CallLegs, row: Row) -> CallDetails:
    src_trunk = call.trunk_of(call.root)
    duration = seconds_between(row.begin, row.end)
    talk = 0 if row.answer is None else None if row.end is None else seconds_between(row.answer, row.end)
    return CallDetails(
        call_id=call.call_id,
        time_start=call.wall_clock(row.begin),
        call_from=call.format_caller(row.caller, row.callee),
        call_to=row.number,
        call_duration=duration,
        talk_duration=talk,
        src_trunk_name=src_trunk if row.caller is None or not row.caller.is_callee else "",
        dst_trunk_name=row.trunk,
        pin_code=_first(_legs_of(row), "pin_number"),
        status=row.status,
        type=_direction(call, row, src_trunk),
        recording=_recording(row),
        did_number=call.did_number(src_trunk),
        agent_ring_time=row.agent_ring,
        uid=row.callee_id or (row.caller.leg_id if row.caller is not None else ""),
        extra={name: value for name, value in _extra(call, row).items() if value not in ("", None)},
    )


def _direction(call: CallLegs, row: Row, src_trunk: str) -> str:
    """Return the direction of a row; empty for an agent of whose caller nothing is known."""
    return "" if row.caller is None and row.agent_ring is not None else call.direction(src_trunk, row.trunk)


def _extra(call: CallLegs, row: Row) -> Mapping[str, Any]:
    """Return values for which the event has no field. No other variable: some have passwords, or dialled digits."""
    legs = _legs_of(row)
    dialled = row.caller.profiles[0].destination if row.caller is not None and row.caller.is_caller else ""
    is_did = dialled == call.did_number(call.trunk_of(call.root))
    originator_id = row.callee.originator_id if row.callee is not None else ""
    return {
        UTC_OFFSET: call.utc_offset(row.begin),
        "channel": row.caller.leg_id if row.caller is not None else originator_id,
        "dst_channel": row.callee_id,
        IDENTIFIED_BY: BY_CALLEE_CHANNEL if row.callee_id else "",
        CALLEE_KIND: _callee_kind(row),
        "hangup_cause": row.cause,
        "accountcode": _first(legs, "accountcode"),
        "domain": _first(legs, "domain_name"),
        "dialled": "" if dialled == row.number or is_did else dialled,
        "originated": "call" if row.caller is not None and is_click_to_call(row.caller) else "",
        **row.extra,
    }


def _callee_kind(row: Row) -> LegKind | None:
    """Return the kind of the called party, where FreeSWITCH says it."""
    if row.machine is not None:
        return row.machine.kind
    if row.callee is None or row.trunk:
        return None
    is_user = row.callee.is_agent or row.callee.is_caller or row.callee.get("dialed_user")
    return "extension" if is_user else None


def _legs_of(row: Row) -> list[Leg]:
    return [leg for leg in (row.callee, row.caller) if leg is not None]


def _first(legs: Sequence[Leg], name: str) -> str:
    return next((value for leg in legs if (value := leg.get(name))), "")


def _recording(row: Row) -> str:
    """Return the file name of the recording of a talk with a person, or of a message."""
    if row.answer is None:
        return ""
    if row.machine is not None:
        paths = [_first(_legs_of(row), "voicemail_file_path")] if row.machine.has_message else []
    else:
        paths = [path for leg in _legs_of(row) for path in _recordings(leg, row)]
    return PurePosixPath(next(filter(None, paths), "")).name


def _recordings(leg: Leg, row: Row) -> Iterator[str]:
    if row.agent_ring is not None:
        yield leg.get("cc_record_filename")
    yield leg.get("record_name")
    for application in leg.applications:
        is_before_end = application.began is None or row.end is None or application.began <= row.end
        if application.name == "record_session" and is_before_end:
            yield application.data
