"""What a person means who writes a number: an extension of the house first, else a number in any notation."""

import re
from collections.abc import Iterable

import phonenumbers

from onhook.cdr.number_plan import NumberPlan

NOTATION = re.compile(r"[-+0-9()./\s*#]+")
"""How people write numbers."""

REGIONS_MAX = 8
"""Countries in which a number without a country's prefix is looked for."""

_SEPARATORS = re.compile(r"[-()./\s]")


def numbers_meant(text: str, plans: Iterable[NumberPlan], regions: Iterable[str]) -> tuple[str, ...]:
    """The ways in which a PBX may have written the number that a person means; none where the text is no number.

    An extension, queue or other number of the house is meant as it is. `regions` are ISO 3166 codes.

    >>> numbers_meant("10-01", [NumberPlan()], ["DE"])
    ('1001',)
    >>> numbers_meant("(030) 901820", [NumberPlan()], ["DE"])
    ('030901820', '+4930901820', '004930901820', '4930901820')
    >>> numbers_meant("Alice", [NumberPlan()], ["DE"])
    ()
    """
    if not NOTATION.fullmatch(text) or not any(sign.isdigit() for sign in text):
        return ()
    bare = _SEPARATORS.sub("", text)
    if any(plan.kind_of(bare) != "external" for plan in plans):
        return (bare,)
    found = [bare]
    for region in [None, *list(regions)[:REGIONS_MAX]]:
        found += _notations(text, region)
    return tuple(dict.fromkeys(found))


def _notations(text: str, region: str | None) -> list[str]:
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
