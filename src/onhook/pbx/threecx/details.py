"""The call details of a line of 3CX (lines.md 4). Pure.

Invariants: a value that the line does not have is empty, not zero. What a queue, an IVR or a mailbox answers is marked
as such. Talk never exceeds the duration.
"""

import hashlib
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import msgspec

from onhook.cdr.call_details import ANSWERED, DURATION_SECONDS_MAX, VOICEMAIL, CallDetails
from onhook.cdr.identity import CALLEE_KIND
from onhook.cdr.number_plan import LegKind
from onhook.lib.messages import _
from onhook.pbx.json_fields import CALL_ID_CHARACTERS_MAX, TEXT_CHARACTERS_MAX
from onhook.pbx.lines import line_error, parse_clock_duration, parse_time
from onhook.pbx.threecx.fields import NAMES_TAIL, Values
from onhook.pbx.threecx.words import find_kind, find_side, find_unanswered_status

EXTENSION_PREFIX = "Ext."
"""Before the number of an internal party."""

_EXTRA_FIELDS = ("reason-terminated", "reason-changed", "chain", "bill-code", "bill-rate", "bill-cost", "bill-name")
_FURTHER_FIELDS = {"historyid": "history_id", "missed-queue-calls": "missed_queue_calls", NAMES_TAIL: NAMES_TAIL}


class _Party(msgspec.Struct, frozen=True):
    """One side of a call. `dn` is the number of a device of the 3CX: of a trunk for a party outside."""

    text: str
    dn: str
    kind: LegKind | None
    name: str

    @property
    def is_outside(self) -> bool:
        """Return whether the party is reached by a trunk: by its type, else by its number."""
        if self.kind is not None:
            return self.kind == "external"
        return bool(self.text) and not self.text.startswith(EXTENSION_PREFIX)

    @property
    def number(self) -> str:
        """Return the number of the party, without the word before that of an extension."""
        text = self.text.removeprefix(EXTENSION_PREFIX)
        is_unknown = self.kind is None and not self.text
        return text if self.is_outside or is_unknown else self.dn or text

    @property
    def label(self) -> str:
        """Return `Name<number>`, or the number where there is no other name."""
        return f"{self.name}<{self.number}>" if self.name and self.number and self.name != self.number else self.number

    @property
    def trunk(self) -> str:
        """Return the trunk of a party outside; empty for another one."""
        return self.dn if self.is_outside else ""


class _Span(msgspec.Struct, frozen=True):
    """When a call was: its durations in seconds, None where they are unknown."""

    time_start: str
    call: int | None
    talk: int | None
    is_answered: bool
    is_answered_at_once: bool


def build_details(values: Values) -> CallDetails:
    """Return the call details of a line. Raises `ParseError`."""
    span = _read_span(values)
    caller, called, final = (_read_party(values, side) for side in ("from", "to", "final"))
    party = _choose_party(called, final, is_answered=span.is_answered)
    trunk = called.trunk or final.trunk
    is_voicemail = span.is_answered and final.kind == "voicemail"
    answered_status = VOICEMAIL if is_voicemail else ANSWERED
    return CallDetails(
        call_id=_call_id(values, span),
        time_start=span.time_start,
        call_from=caller.label[:TEXT_CHARACTERS_MAX],
        call_to=party.label[:TEXT_CHARACTERS_MAX],
        call_duration=span.call,
        talk_duration=span.talk,
        src_trunk_name=caller.trunk,
        dst_trunk_name=trunk,
        status=answered_status if span.is_answered else find_unanswered_status(values.get("reason-terminated", "")),
        type="Inbound" if caller.is_outside else "Outbound" if trunk or called.is_outside else "Internal",
        extra={name: value for name, value in _extra(values, span, called, final, party).items() if value},
    )


def _read_party(values: Values, side: str) -> _Party:
    number_name = "final-number" if side == "final" else f"{side}-no"
    kind = find_kind(values.get(f"{side}-type", ""))
    name = values.get(f"{side}-dispname", "")
    return _Party(values.get(number_name, ""), values.get(f"{side}-dn", ""), kind, name)


def _choose_party(called: _Party, final: _Party, *, is_answered: bool) -> _Party:
    """Return the called party: of an answered call that which had it at its end, else that which was called first. A
    mailbox is that of the party before it.
    """
    if not is_answered:
        return called if called.number else final
    if final.number and (final.kind != "voicemail" or not called.number):
        return final
    return called


def _read_span(values: Values) -> _Span:
    start = parse_time(values.get("time-start", ""), "time-start")
    end = parse_time(values.get("time-end", ""), "time-end")
    answered_text = values.get("time-answered", "")
    answered = parse_time(answered_text, "time-answered") if answered_text else None
    # By a clock that was put back during the call the duration is unknown.
    call = _seconds(end - start)
    if answered is None:
        return _Span(str(start), call, 0, is_answered=False, is_answered_at_once=False)
    duration = parse_clock_duration(values.get("duration", ""))
    talk = _seconds(end - answered if duration is None else timedelta(seconds=duration))
    if talk is not None and call is not None:
        talk = min(talk, call)
    return _Span(str(start), call, talk, is_answered=True, is_answered_at_once=answered == start)


def _seconds(difference: timedelta) -> int | None:
    seconds = int(difference.total_seconds())
    return seconds if 0 <= seconds <= DURATION_SECONDS_MAX else None


def _call_id(values: Values, span: _Span) -> str:
    """Return the id of the call; without one in the line it is made of what says which call it is."""
    call_id = values.get("callid", "")
    if len(call_id) > CALL_ID_CHARACTERS_MAX:
        raise line_error(_("callid is longer than {limit} characters", limit=CALL_ID_CHARACTERS_MAX))
    if call_id:
        return call_id
    names = ("historyid", "from-no", "from-dn", "dial-no", "to-no", "to-dn")
    text = "\x1f".join((span.time_start, *(values.get(name, "") for name in names)))
    return f"line-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _extra(values: Values, span: _Span, called: _Party, final: _Party, party: _Party) -> Mapping[str, Any]:
    """Return values for which the event has no field. The 3CX's own cost is no cost by Onhook's rates."""
    queues = [side.dn for side in (called, final) if side.kind == "queue"]
    dialled = values.get("dial-no", "").removeprefix(EXTENSION_PREFIX)
    moved_on = bool(called.number and final.number) and called.number != final.number
    extra = {name.replace("-", "_"): values.get(name, "") for name in _EXTRA_FIELDS}
    extra |= {key: values.get(name, "") for name, key in _FURTHER_FIELDS.items()}
    return {
        **{name: text[:TEXT_CHARACTERS_MAX] for name, text in extra.items()},
        CALLEE_KIND: _callee_kind(span, final, party),
        "queue": queues[0] if queues else "",
        "dialled": "" if dialled in (party.number, called.number) else dialled,
        "ended_by": find_side(values.get("reason-terminated", "")),
        # Without types a queue that answers at once cannot be distinguished from a person.
        "answered_by_machine_possible": span.is_answered_at_once and moved_on and final.kind is None,
    }


def _callee_kind(span: _Span, final: _Party, party: _Party) -> LegKind | None:
    """Return the kind of the called party, where the line says it: of a call in a mailbox that."""
    if span.is_answered and final.kind == "voicemail":
        return "voicemail"
    return party.kind
