"""Masking of the external parties of records and calls: their numbers, their names, and other texts in which a number
occurs.

A party is external if its side of the leg has a trunk, or if the number plan of the PBX has its number as external, or
the PBX itself reports it so. Extensions, queues and other numbers of the PBX are not masked, nor are DIDs, which are
the operator's own. Ids of the PBX (`call_id`, `uid`) stay; `record_id`, from which a number could be computed, becomes
a keyed hash. Invariants: masking a masked record changes nothing; within a call a number that is masked in one leg is
masked in all of them.
"""

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import msgspec

from onhook.cdr.call_details import CallDetails
from onhook.cdr.identity import extract_name, extract_number
from onhook.cdr.number_masking import (
    LOCAL_DIGITS,
    NAME_CHARACTERS_MIN,
    SHORT_DIGITS_MAX,
    WITHHELD_WORDS,
    Mask,
    canonical_digits,
    digits_of,
    hash_id,
    is_masked,
    mask_known,
    mask_number,
    mask_unknown,
)
from onhook.cdr.number_plan import NumberPlan
from onhook.cdr.record import Call, Record

DetailsT = TypeVar("DetailsT", bound=CallDetails)

_TRUNK_FIELDS = ("src_trunk_name", "dst_trunk_name")
"""Names of lines, which may be their own numbers: only the numbers of the call's parties are masked in them."""

_TEXT_FIELDS = ("recording", "did_name")

_DEFAULT_PLAN = NumberPlan()


class ExternalParties(msgspec.Struct, frozen=True):
    """Numbers and names of external parties, as they are written."""

    numbers: tuple[str, ...] = ()
    names: tuple[str, ...] = ()

    def has(self, number: str) -> bool:
        """Return whether a number is one of these, in any notation."""
        digits = canonical_digits(number)
        return any(number == other or (digits and canonical_digits(other) == digits) for other in self.numbers)


class Masking(msgspec.Struct, frozen=True):
    """What is masked how: the mask, the key of hashes, the number plans of the PBXs by serial number, and their serial
    numbers by name.
    """

    mask: Mask
    key: bytes
    plans: Mapping[str, NumberPlan] = {}
    sns_by_name: Mapping[str, str] = {}

    def __repr__(self) -> str:
        return f"Masking({self.mask})"

    def mask_record(self, record: Record) -> Record:
        """Return a record with its external parties masked, as far as the record itself names them."""
        return self._mask_leg(record, find_external_parties([record], self.plan_of(record.sn)))

    def mask_call(self, call: Call) -> Call:
        """Return a call with all external parties masked; recordings stay at their place."""
        parties = find_external_parties(call.legs, self.plan_of(call.sn))
        legs = tuple(self._mask_leg(leg, parties) for leg in call.legs)
        trunks = {name: self._mask_name(getattr(call, name), parties) for name in _TRUNK_FIELDS}
        return msgspec.structs.replace(
            call,
            call_from=self._mask_side(call.call_from, call.did_number, call.sn, parties),
            call_to=self._mask_side(call.call_to, call.did_number, call.sn, parties),
            answered_by=self._mask_side(call.answered_by, call.did_number, call.sn, parties),
            recordings=tuple(self._mask_text(name, parties, call.did_number) for name in call.recordings),
            legs=legs,
            **trunks,
        )

    def mask_note(self, text: str, call: Call) -> str:
        """Return a text about a call, as a person wrote it, without the numbers of its external parties. Numbers that
        are as short as other figures stay: with them a masked author could try which one is masked.
        """
        parties = find_external_parties(call.legs, self.plan_of(call.sn))
        numbers = [number for number in parties.numbers if len(digits_of(number)) >= LOCAL_DIGITS]
        return mask_known(text, numbers, (), self.mask, self.key)

    def mask_text(self, text: str) -> str:
        """Return a text without its call, such as the name of an extension, without numbers."""
        return mask_unknown(text, self.mask, self.key)

    def mask_party(self, party: str, sn: str | None, *, is_outside: bool) -> str:
        """Return a party without its call, such as a row of a report; without a serial number it is external if one of
        the PBXs has it so.
        """
        number = extract_number(party)
        plans = [self.plan_of(sn)] if sn is not None else [*self.plans.values()] or [_DEFAULT_PLAN]
        if is_outside or any(is_external_number(number, plan) for plan in plans):
            return mask_number(number, self.mask, self.key)
        return party

    def plan_of(self, sn: str) -> NumberPlan:
        """Return the number plan of a PBX, the usual one where it has none."""
        return self.plans.get(sn, _DEFAULT_PLAN)

    def _mask_leg(self, leg: Record, parties: ExternalParties) -> Record:
        trunks = {name: self._mask_name(getattr(leg, name), parties) for name in _TRUNK_FIELDS}
        texts = {name: self._mask_text(getattr(leg, name), parties, leg.did_number) for name in _TEXT_FIELDS}
        sides = external_sides(leg, self.plan_of(leg.sn))
        parties_of_leg = {
            name: self._mask_party_of_leg(getattr(leg, name), parties, leg.did_number, is_external=is_external)
            for name, is_external in zip(("call_from", "call_to"), sides, strict=True)
        }
        return msgspec.structs.replace(
            leg,
            **trunks,
            **texts,
            **parties_of_leg,
            record_id=hash_id(leg.record_id, self.key),
            extra=self._mask_value(leg.extra, parties, leg.did_number) if leg.extra else leg.extra,
        )

    def _mask_party_of_leg(self, party: str, parties: ExternalParties, did: str, *, is_external: bool) -> str:
        number = extract_number(party)
        if is_external or parties.has(number):
            return mask_number(number, self.mask, self.key)
        name = extract_name(party)
        masked_name = self._mask_text(name, parties, did)
        return party if masked_name == name else f"{masked_name}<{number}>"

    def _mask_side(self, party: str, did: str, sn: str, parties: ExternalParties) -> str:
        """Return a party of a whole call: external where it is in a leg."""
        number = extract_number(party)
        is_external = is_external_number(number, self.plan_of(sn)) and not _is_did(number, did)
        return self._mask_party_of_leg(party, parties, did, is_external=is_external)

    def _mask_text(self, text: str, parties: ExternalParties, did: str = "") -> str:
        if not text:
            return text
        return mask_unknown(self._mask_name(text, parties), self.mask, self.key, did)

    def _mask_name(self, text: str, parties: ExternalParties) -> str:
        return mask_known(text, parties.numbers, parties.names, self.mask, self.key) if text else text

    def _mask_value(self, value: Any, parties: ExternalParties, did: str) -> Any:
        """Return a value of JSON with all of its texts masked, names of members included."""
        if isinstance(value, str):
            return self._mask_text(value, parties, did)
        if isinstance(value, Mapping):
            return {
                self._mask_text(str(name), parties, did): self._mask_value(member, parties, did)
                for name, member in value.items()
            }
        if isinstance(value, (list, tuple)):
            return [self._mask_value(member, parties, did) for member in value]
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            text = str(value)
            long_numbers = [number for number in parties.numbers if _is_long(number)]
            masked = mask_unknown(mask_known(text, long_numbers, (), self.mask, self.key), self.mask, self.key, did)
            return value if masked == text else masked
        return value


def external_sides(leg: CallDetails, plan: NumberPlan) -> tuple[bool, bool]:
    """Return whether the caller and the called party of a leg are external. A party that is masked already is; the DID
    of the leg is not, unless it was reached by a trunk.
    """
    caller, callee = extract_number(leg.call_from), extract_number(leg.call_to)
    is_caller_external = is_external_number(caller, plan) and not _is_did(caller, leg.did_number)
    is_callee_external = plan.kind_of_leg(leg) == "external" or is_external_number(callee, plan)
    return (
        bool(leg.src_trunk_name) or is_caller_external,
        bool(leg.dst_trunk_name) or (is_callee_external and not _is_did(callee, leg.did_number)),
    )


def is_external_number(number: str, plan: NumberPlan) -> bool:
    """Return whether a number is external by the plan alone. A feature code or a name with as many digits as a
    telephone number contains one.
    """
    if is_masked(number):
        return True
    kind = plan.kind_of(number)
    has_number = len(digits_of(number)) > max(plan.extension_digits_max, SHORT_DIGITS_MAX)
    return kind == "external" or (kind in ("feature", "extension") and has_number and not number.isdecimal())


def find_external_parties(legs: Iterable[CallDetails], plan: NumberPlan) -> ExternalParties:
    """Return the external parties of legs that are not masked yet. A withheld number is none."""
    numbers: dict[str, None] = {}
    names: dict[str, None] = {}
    for leg in legs:
        for party, is_external in zip((leg.call_from, leg.call_to), external_sides(leg, plan), strict=True):
            number = extract_number(party)
            if not is_external or is_masked(number) or number.casefold() in WITHHELD_WORDS:
                continue
            numbers[number] = None
            name = extract_name(party).strip(" \"'")
            if len(name) >= NAME_CHARACTERS_MIN and any(char.isalpha() for char in name):
                names[name] = None
            if not digits_of(number) and len(number) >= NAME_CHARACTERS_MIN:
                names[number] = None
    return ExternalParties(tuple(numbers), tuple(sorted(names, key=len, reverse=True)))


def _is_did(number: str, did: str) -> bool:
    digits = canonical_digits(did)
    return bool(digits) and canonical_digits(number) == digits


def _is_long(number: str) -> bool:
    return len(digits_of(number)) > SHORT_DIGITS_MAX
