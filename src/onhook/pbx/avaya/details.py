"""The call details of the segments of one call of SMDR (lines.md 7). Pure.

Invariants: each segment begins where the one before it ends. What a mailbox answered is marked as such. Time on hold
and in the park is neither ring nor talk, as the PBX counts it.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from onhook.cdr.call_details import ANSWERED, NO_ANSWER, VOICEMAIL, CallDetails
from onhook.cdr.identity import CALLEE_KIND
from onhook.cdr.utc_offset import normalize_wall_clock
from onhook.pbx.avaya.segment import Segment, SegmentParty
from onhook.pbx.json_fields import TEXT_CHARACTERS_MAX

_AUTHORISATION_CODE, _CALL_CHARGE, _CURRENCY = 1, 3, 4
_TARGETING_CAUSE, _TARGETER = 10, 11
"""Positions behind the time in the park."""

_NO_CODE = "n/a"


def build_details(segments: Sequence[Segment]) -> list[CallDetails]:
    """Return the call details of the segments of one call, in their order; the last one of the call comes last. Repeats
    of a line count once. Raises `ParseError`.
    """
    by_digest = {segment.digest: segment for segment in segments}
    ordered = sorted(by_digest.values(), key=lambda segment: not segment.continues)
    details: list[CallDetails] = []
    begin = ordered[0].start
    for segment in ordered:
        details.append(_build_details(segment, begin))
        begin += timedelta(seconds=segment.seconds)
    return details


def _build_details(segment: Segment, begin: datetime) -> CallDetails:
    is_inbound = not segment.is_internal and not segment.is_outgoing
    called = segment.peer if segment.is_outgoing else segment.party
    trunk = "" if segment.is_internal else _trunk(segment.peer)
    is_voicemail = called.kind == "voicemail"
    answered_status = VOICEMAIL if is_voicemail else ANSWERED
    return CallDetails(
        call_id=segment.call_key,
        time_start=normalize_wall_clock(str(begin)),
        call_from=_label(segment.party.name if segment.is_outgoing else "", segment.caller),
        call_to=_called_label(segment, called),
        call_duration=segment.ring + segment.connected,
        talk_duration=segment.connected,
        src_trunk_name=trunk if is_inbound else "",
        dst_trunk_name="" if is_inbound else trunk,
        pin_code="" if _further(segment, _AUTHORISATION_CODE) == _NO_CODE else _further(segment, _AUTHORISATION_CODE),
        status=answered_status if segment.connected else NO_ANSWER,
        type="Internal" if segment.is_internal else "Inbound" if is_inbound else "Outbound",
        did_number=segment.dialled or segment.called if is_inbound else "",
        extra={name: value for name, value in _extra(segment, called).items() if value},
    )


def _called_label(segment: Segment, called: SegmentParty) -> str:
    """Return the called party: a device of this PBX that is known, else the number that was called."""
    if called.kind in (None, "external"):
        return segment.called[:TEXT_CHARACTERS_MAX]
    return _label(called.name, called.number)


def _label(name: str, number: str) -> str:
    label = f"{name}<{number}>" if name and number and name != number else number or name
    return label[:TEXT_CHARACTERS_MAX]


def _trunk(peer: SegmentParty) -> str:
    return peer.name or peer.device if peer.kind == "external" else ""


def _further(segment: Segment, position: int) -> str:
    return segment.further[position][:TEXT_CHARACTERS_MAX] if position < len(segment.further) else ""


def _extra(segment: Segment, called: SegmentParty) -> Mapping[str, Any]:
    """Return values for which the event has no field. The PBX's own charge is none by Onhook's rates."""
    is_dialled = segment.dialled not in (segment.called, called.number)
    return {
        CALLEE_KIND: called.kind,
        "accountcode": segment.account[:TEXT_CHARACTERS_MAX],
        "dialled": segment.dialled[:TEXT_CHARACTERS_MAX] if is_dialled else "",
        "hold_seconds": segment.hold,
        "park_seconds": segment.park,
        "call_charge": _further(segment, _CALL_CHARGE),
        "currency": _further(segment, _CURRENCY),
        "targeting_cause": _further(segment, _TARGETING_CAUSE),
        "targeter": _further(segment, _TARGETER),
    }
