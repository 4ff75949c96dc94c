"""The line that a 3CX would write for a call (lines.md 5).

Invariant: reading it gives the call details back, as far as 3CX has a field for them.
"""

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec

from onhook.cdr.call_details import ANSWERED, BUSY, FAILED, VOICEMAIL, CallDetails
from onhook.cdr.identity import extract_name, extract_number
from onhook.cdr.number_plan import LegKind, NumberPlan
from onhook.pbx.lines import clean_value, format_clock_duration, format_time
from onhook.pbx.threecx.details import EXTENSION_PREFIX
from onhook.pbx.threecx.fields import DEFAULT_FIELDS, FIELDS_MIN, PREFIX

TRUNK = "10000"
"""The first trunk of a 3CX."""

_HISTORY_IDS = 1_000_000


class Generation(msgspec.Struct, frozen=True, kw_only=True):
    """How one generation writes: the number of its fields, and its words."""

    fields: int
    kinds: Mapping[LegKind, str]
    reasons: Mapping[str, str]


_OLD_KINDS: Mapping[LegKind, str] = {
    "extension": "Extension",
    "external": "Line",
    "queue": "Queue",
    "ivr": "Ivr",
    "ring_group": "RingGroup",
    "voicemail": "VMail",
    "conference": "ConfPlace",
    "feature": "Fax",
}
_NEW_KINDS: Mapping[LegKind, str] = {
    "extension": "extension",
    "external": "external_line",
    "queue": "queue",
    "ivr": "ivr",
    "ring_group": "ring_group",
    "voicemail": "voicemail",
    "conference": "conference",
    "feature": "fax",
}
_OLD_REASONS = {
    "caller": "TerminatedBySrc",
    "callee": "TerminatedByDst",
    BUSY: "Failed_Busy",
    FAILED: "Failed_NotFound",
}
_NEW_REASONS = {
    "caller": "src_participant_terminated",
    "callee": "dst_participant_terminated",
    BUSY: "failed_busy",
    FAILED: "no_route",
}

GENERATIONS: Mapping[str, Generation] = {
    "3cx-v18": Generation(fields=FIELDS_MIN, kinds=_OLD_KINDS, reasons=_OLD_REASONS),
    "3cx-v20": Generation(fields=len(DEFAULT_FIELDS), kinds=_OLD_KINDS, reasons=_OLD_REASONS),
    "3cx-v20-new": Generation(fields=len(DEFAULT_FIELDS), kinds=_NEW_KINDS, reasons=_NEW_REASONS),
}
"""By the names of payload formats."""


class _Side(msgspec.Struct, frozen=True):
    number: str
    dn: str
    kind: LegKind
    name: str

    @property
    def text(self) -> str:
        return self.number if self.kind == "external" else f"{EXTENSION_PREFIX}{self.number}"


def format_line(details: CallDetails, generation: Generation) -> bytes:
    """Return the line of a call, with its end."""
    caller = _caller(details)
    final = _final_side(details)
    called = _called_side(details, final)
    values = {
        **_identity_values(details),
        **_time_values(details),
        **_side_values(caller, called, final, generation),
        **{name: clean_value(str(details.extra.get(key, ""))) for name, key in _EXTRA_VALUES.items()},
        "reason-terminated": _reason(details, generation),
        "dial-no": clean_value(str(details.extra.get("dialled") or called.number)),
        "reason-changed": "ReplacedDst" if called != final else "",
        "chain": clean_value(str(details.extra.get("chain") or f"Chain: {caller.text};{final.text};")),
    }
    line = ",".join(values.get(name, "") for name in DEFAULT_FIELDS[: generation.fields])
    return f"{PREFIX}{line}\r\n".encode()


_EXTRA_VALUES = {
    "bill-code": "bill_code",
    "bill-rate": "bill_rate",
    "bill-cost": "bill_cost",
    "bill-name": "bill_name",
    "missed-queue-calls": "missed_queue_calls",
}


def _identity_values(details: CallDetails) -> dict[str, str]:
    digest = hashlib.sha256(f"{details.call_id}\x1f{details.time_start}".encode()).digest()
    history_id = int.from_bytes(digest[:8]) % _HISTORY_IDS
    return {"historyid": str(details.extra.get("history_id") or history_id), "callid": clean_value(details.call_id)}


def _time_values(details: CallDetails) -> dict[str, str]:
    begin = datetime.fromisoformat(details.time_start)
    end = begin + timedelta(seconds=details.call_duration or 0)
    talk = details.talk_duration or 0
    is_answered = details.status in (ANSWERED, VOICEMAIL)
    return {
        "duration": format_clock_duration(talk) if is_answered else "00:00:00",
        "time-start": format_time(begin),
        "time-answered": format_time(max(begin, end - timedelta(seconds=talk))) if is_answered else "",
        "time-end": format_time(end),
    }


def _caller(details: CallDetails) -> _Side:
    number = extract_number(details.call_from)
    is_outside = details.type == "Inbound"
    dn = details.src_trunk_name or TRUNK if is_outside else number
    return _Side(
        clean_value(number), clean_value(dn), "external" if is_outside else "extension", _name(details.call_from)
    )


def _final_side(details: CallDetails) -> _Side:
    number = clean_value(extract_number(details.call_to))
    kind = NumberPlan().kind_of_leg(details)
    if details.status == VOICEMAIL:
        kind = "voicemail"
    if details.dst_trunk_name or details.type == "Outbound":
        kind = "external"
    dn = clean_value(details.dst_trunk_name or TRUNK) if kind == "external" else number
    return _Side(number, dn, kind, _name(details.call_to))


def _called_side(details: CallDetails, final: _Side) -> _Side:
    """Return the party that was called first: the queue of a call that an agent answered, or the owner of a mailbox."""
    if queue := str(details.extra.get("queue", "")):
        return _Side(clean_value(queue), clean_value(queue), "queue", "")
    if final.kind == "voicemail":
        return _Side(final.number, final.dn, "extension", final.name)
    return final


def _name(party: str) -> str:
    return clean_value(extract_name(party) or extract_number(party))


def _side_values(caller: _Side, called: _Side, final: _Side, generation: Generation) -> dict[str, str]:
    values = {"from-no": caller.text, "to-no": called.text, "final-number": final.text}
    for name, side in (("from", caller), ("to", called), ("final", final)):
        values |= {f"{name}-dn": side.dn, f"{name}-type": generation.kinds[side.kind], f"{name}-dispname": side.name}
    return values


def _reason(details: CallDetails, generation: Generation) -> str:
    if details.status in (BUSY, FAILED):
        return generation.reasons[details.status]
    return generation.reasons[str(details.extra.get("ended_by") or "caller")]
