"""Interpretation of numbers that users type: an internal number first, else a number in any notation."""

import re
from collections.abc import Iterable

import phonenumbers

from onhook.cdr.number_plan import NumberPlan

NUMBER_NOTATION = re.compile(r"[-+0-9()./\s*#]+")
"""Characters that users write in numbers."""

REGIONS_MAX = 8
"""Countries to assume for a number without a country code."""

_SEPARATORS = re.compile(r"[-()./\s]")


def number_variants(text: str, plans: Iterable[NumberPlan], regions: Iterable[str]) -> tuple[str, ...]:
    """Return the notations that a PBX may have used for a number; none if the text is no number.

    An extension, queue or other internal number is returned as it is. `regions` are ISO 3166 codes.

    >>> number_variants("10-01", [NumberPlan()], ["DE"])
    ('1001',)
    >>> number_variants("(030) 901820", [NumberPlan()], ["DE"])
    ('030901820', '+4930901820', '004930901820', '4930901820')
    >>> number_variants("Alice", [NumberPlan()], ["DE"])
    ()
    """
    if not NUMBER_NOTATION.fullmatch(text) or not any(character.isdigit() for character in text):
        return ()
    compact = _SEPARATORS.sub("", text)
    if any(plan.kind_of(compact) != "external" for plan in plans):
        return (compact,)
    variants = [compact]
    for region in [None, *list(regions)[:REGIONS_MAX]]:
        variants += _region_variants(text, region)
    return tuple(dict.fromkeys(variants))


def _region_variants(text: str, region: str | None) -> list[str]:
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return []
    if not phonenumbers.is_possible_number(number):
        return []
    international = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    national = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.NATIONAL)
    digits = international.removeprefix("+")
    return [international, "00" + digits, digits, _SEPARATORS.sub("", national)]
