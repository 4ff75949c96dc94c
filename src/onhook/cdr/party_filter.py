"""Conditions on parties for readers who see masked numbers: a party matches by what the reader sees of it.

Invariant: a number that is masked on one side of a leg and shown on another matches on the one alone, so that no filter
shows which number a masked one is.
"""

from typing import Literal

import msgspec

from onhook.cdr.identity import extract_number
from onhook.cdr.record import Call, Record

PartyField = Literal["number", "call_from", "call_to", "caller", "dialled", "answered_by"]
"""`number`, `call_from` and `call_to` are those of any leg, `caller` and `dialled` those of the first one."""

SnAndNumber = tuple[str, str]


class PartyCondition(msgspec.Struct, frozen=True, kw_only=True):
    """A condition on one field: `inside` are the numbers that match on sides without a trunk, `outside` on those with
    one.
    """

    field: PartyField
    inside: tuple[SnAndNumber, ...] = ()
    outside: tuple[SnAndNumber, ...] = ()

    @property
    def is_of_leg(self) -> bool:
        """Return whether any leg can satisfy it."""
        return self.field in ("number", "call_from", "call_to")

    def matches_leg(self, leg: Record) -> bool:
        """Return whether a leg matches, of conditions on legs."""
        is_caller = self.field != "call_to" and self._matches_caller(leg)
        return is_caller or (self.field != "call_from" and self._matches_callee(leg))

    def matches_call(self, call: Call) -> bool:
        """Return whether a call matches."""
        if self.is_of_leg:
            return any(self.matches_leg(leg) for leg in call.legs)
        if self.field == "caller":
            return self._matches_caller(call.legs[0])
        if self.field == "dialled":
            return self._matches_callee(call.legs[0])
        return any(extract_number(leg.call_to) == call.answered_by and self._matches_callee(leg) for leg in call.legs)

    def _matches_caller(self, leg: Record) -> bool:
        return (leg.sn, extract_number(leg.call_from)) in (self.outside if leg.src_trunk_name else self.inside)

    def _matches_callee(self, leg: Record) -> bool:
        return (leg.sn, extract_number(leg.call_to)) in (self.outside if leg.dst_trunk_name else self.inside)
