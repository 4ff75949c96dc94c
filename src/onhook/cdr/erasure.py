"""Erasure of a telephone number from the calls that it was in: the calls stay, without the number. Pure.

An erasure of a call does not contain the number: it names the texts of the call that may stay. So an event of the call
that arrives later, as from the PBX's own list, loses the number too. A text that is not named stays if it cannot
contain the number, because it has fewer digits.

Invariants: erasing again changes nothing. What an earlier erasure has put in place of a number stays.
"""

import re
import string
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from onhook.cdr.call_details import DETAIL_FIELDS, NUMBER_FIELDS, UTC_OFFSET, CallDetails
from onhook.cdr.identity import CALLEE_KIND, IDENTIFIED_BY, extract_name, extract_number

LABEL = "erased"
"""Stands in a call for a number. Without digits it counts as an unknown caller, who cannot be called back."""

NAME_CHARACTERS_MIN = 4
"""A shorter name that belongs to the number is looked for as a whole text only: `Li` is part of many words."""

PREFIXED_DIGITS_MIN = 8
"""A shorter number is the end of other ones."""

_PARTY_FIELDS = ("call_from", "call_to", "did_number")
_IDENTITY_FIELDS = frozenset({"call_id", "time_start"})
_TEXT_FIELDS = tuple(
    name
    for name in DETAIL_FIELDS
    if name not in NUMBER_FIELDS and name not in _PARTY_FIELDS and name not in _IDENTITY_FIELDS and name != "recording"
)
_TECHNICAL_MEMBERS = frozenset({CALLEE_KIND, IDENTIFIED_BY, UTC_OFFSET})
"""Members of `extra` with words that a dialect of Onhook has chosen, or the offset, without which times change."""

_LABELS = re.compile(f"{LABEL}(?: [a-z])?")
_DIGIT = re.compile("[0-9]")
_NON_DIGITS = re.compile("[^0-9]+")
_PLAIN_NUMBER = re.compile(r"\+?[0-9*#]+")
_NON_DIGIT_BYTES = bytes(set(range(256)) - set(b"0123456789"))
_ZERO = "(0)"
"""Is left out between country code and number, as in `+49 (0)30`: there the digits are not one after the other."""

_SEPARATORS = r"(?:\(0\)|[-()./\\\s\u2010-\u2015])*"


class CallErasure(msgspec.Struct, frozen=True, kw_only=True):
    """What is erased in one call: all texts but the `kept_texts` and those with fewer than `digits_min` digits, which
    is the length of the number's shortest notation. `label` is put in the place of parties.
    """

    label: str = LABEL
    digits_min: int
    kept_texts: frozenset[str]


class NumberPattern:
    """The notations of a number, as found in texts. A long one is found behind a prefix too, as for an outside line; an
    internal or short one stands by itself.
    """

    def __init__(self, variants: Sequence[str], *, is_internal: bool) -> None:
        """`variants` are the notations that `phone_numbers.number_variants` returns, at least one with digits."""
        digits = sorted({text for variant in variants if (text := _NON_DIGITS.sub("", variant))}, key=len)
        self._is_internal = is_internal
        self._digits = frozenset(digits)
        self._digit_bytes = tuple(text.encode() for text in digits)
        self.digits_min = len(digits[0])
        alternatives = "|".join(
            ("" if len(text) >= PREFIXED_DIGITS_MIN and not is_internal else "(?<![0-9])") + _SEPARATORS.join(text)
            for text in digits
        )
        self._regex = re.compile(f"(?:{alternatives})(?![0-9])")

    def occurs_in(self, text: str) -> bool:
        """Return whether the number is in a text, in any notation."""
        digits = _NON_DIGITS.sub("", text)
        if not any(variant in digits for variant in self._digits) and _ZERO not in text:
            return False  # most texts, many times as fast as the expression
        return self._regex.search(text) is not None

    def may_occur_in(self, body: bytes) -> bool:
        """Return whether a body has the digits of the number one after the other, whatever stands between them."""
        digits = body.translate(None, _NON_DIGIT_BYTES)
        return any(variant in digits for variant in self._digit_bytes) or _ZERO.encode() in body

    def is_in_call(self, details: CallDetails) -> bool:
        """Return whether a leg is one of the number: by its parties, and of a number with a country by all texts. An
        internal number is part of many texts that do not mean it.
        """
        numbers = [extract_number(getattr(details, name)) for name in _PARTY_FIELDS]
        if self._is_internal:
            return any(_NON_DIGITS.sub("", number) in self._digits for number in numbers)
        return any(map(self.occurs_in, _iter_texts(details))) or self.occurs_in(details.recording)

    def find_kept(self, legs: Iterable[CallDetails]) -> frozenset[str]:
        """Return the texts of a call's legs that have neither the number nor a name that stands beside it."""
        texts: set[str] = set()
        names: set[str] = set()
        for details in legs:
            texts.update(_iter_texts(details))
            for name in _PARTY_FIELDS:
                party = getattr(details, name)
                number = extract_number(party)
                texts.add(number)
                if self.occurs_in(number):
                    names.add(extract_name(party).casefold())
        names.discard("")
        return frozenset(text for text in texts if text and not self.occurs_in(text) and not _has_name(text, names))


def erase_details(details: CallDetails, erasure: CallErasure) -> CallDetails:
    """Return the details of a leg without what is erased in its call. The recording is always erased."""
    changes: dict[str, Any] = {name: _erase_party(getattr(details, name), erasure) for name in _PARTY_FIELDS}
    changes |= {name: _erase_text(getattr(details, name), erasure) for name in _TEXT_FIELDS}
    changes["recording"] = ""
    changes["extra"] = _erase_members(details.extra, erasure)
    if all(getattr(details, name) == value for name, value in changes.items()):
        return details
    return msgspec.structs.replace(details, **changes)


def has_erased_party(details: CallDetails) -> bool:
    """Return whether a number was erased from a party of a leg."""
    return any(_is_label(getattr(details, name)) for name in _PARTY_FIELDS)


def next_label(legs: Iterable[CallDetails]) -> str:
    """Return the label for a further number of a call: `erased`, `erased a`, and so on, so that two parties of one
    second stay two.
    """
    used = {extract_number(getattr(details, name)) for details in legs for name in _PARTY_FIELDS}
    labels = [LABEL, *(f"{LABEL} {letter}" for letter in string.ascii_lowercase)]
    return next((label for label in labels if label not in used), labels[-1])


def reduce_kept(earlier: CallErasure, later: CallErasure) -> CallErasure:
    """Return an earlier erasure of a call without the texts that a later one erases; both together do the same."""

    def is_erased(text: str) -> bool:
        return not _keeps(text, later) and not 0 < _count_digits(text) < later.digits_min

    kept_texts = frozenset(text for text in earlier.kept_texts if not is_erased(text))
    return msgspec.structs.replace(earlier, kept_texts=kept_texts)


def _keeps(text: str, erasure: CallErasure) -> bool:
    return text in erasure.kept_texts or _is_label(text) or _is_short_number(text, erasure)


def _is_label(text: str) -> bool:
    return _LABELS.fullmatch(text) is not None


def _is_short_number(text: str, erasure: CallErasure) -> bool:
    return _PLAIN_NUMBER.fullmatch(text) is not None and _count_digits(text) < erasure.digits_min


def _count_digits(text: str) -> int:
    return len(_DIGIT.findall(text))


def _erase_party(party: str, erasure: CallErasure) -> str:
    """Return a party; without its name where the number alone may stay."""
    if not party or _keeps(party, erasure):
        return party
    number = extract_number(party)
    return number if number and _keeps(number, erasure) else erasure.label


def _erase_text(text: str, erasure: CallErasure) -> str:
    """Return a text of the PBX's settings, such as the name of a trunk, or of a kind of its own, such as the status."""
    return text if text in erasure.kept_texts or _count_digits(text) < erasure.digits_min else ""


def _erase_members(members: dict[str, Any], erasure: CallErasure) -> dict[str, Any]:
    erased: dict[str, Any] = {}
    for name, value in members.items():
        if not _erase_text(name, erasure):
            continue
        if name in _TECHNICAL_MEMBERS:
            erased[name] = value
        elif (kept_value := _erase_value(value, erasure)) not in (None, "", {}, []):
            erased[name] = kept_value
    return erased


def _erase_value(value: Any, erasure: CallErasure) -> Any:
    """Return a value of JSON; None where it is erased."""
    if isinstance(value, str):
        return value if _keeps(value, erasure) else None
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return value if str(value) in erasure.kept_texts or _count_digits(str(value)) < erasure.digits_min else None
    if isinstance(value, dict):
        return _erase_members(value, erasure)
    if isinstance(value, list):
        return [kept_item for item in value if (kept_item := _erase_value(item, erasure)) is not None]
    return None


def _iter_texts(details: CallDetails) -> Iterator[str]:
    for name in (*_PARTY_FIELDS, *_TEXT_FIELDS):
        yield getattr(details, name)
    yield from _iter_values(details.extra)


def _iter_values(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, member in value.items():
            yield name
            yield from _iter_values(member)
    elif isinstance(value, list):
        for item in value:
            yield from _iter_values(item)
    elif isinstance(value, str | int | float) and not isinstance(value, bool):
        yield str(value)


def _has_name(text: str, names: Iterable[str]) -> bool:
    folded = text.casefold()
    return any(folded == name or (len(name) >= NAME_CHARACTERS_MIN and name in folded) for name in names)
