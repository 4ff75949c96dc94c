"""Masked notations of telephone numbers, and of texts in which numbers occur.

`last3` replaces the last three digits, and a short number entirely; `hash` is a keyed hash, so that repeat callers can
be counted without their numbers. Invariants: a masked notation is not masked again; a hash has no digits, and is the
same for the same number wherever it has a separator, a leading `+` or `00`.
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Collection, Sequence
from functools import lru_cache
from typing import Literal, get_args

from onhook.lib.errors import UsageError, _

Mask = Literal["none", "last3", "hash"]

MASKS: tuple[Mask, ...] = get_args(Mask)

HIDDEN = "***"
"""Stands for three digits, a short number or a name."""

HASH_PREFIX = "anon-"

SHORT_DIGITS_MAX = 6
"""A number with fewer digits left than four says too much: it is hidden entirely."""

HASH_LETTERS = 14
"""56 bits: among ten million numbers the chance of two equal hashes is one in a thousand."""

ID_LETTERS = 32
"""As long as the id of a record."""

NAME_CHARACTERS_MIN = 3
"""Shorter names occur in other words."""

OCCURRENCE_DIGITS = 6
"""Last digits by which a text is recognised to have a number: prefixes for line, country and area vary."""

LOCAL_DIGITS = 5
"""Last digits that are recognised too where they stand alone, as a local number."""

NUMBER_DIGITS_MIN = 8
"""Digits in a row that count as a number, also as that of a party of another leg: longer than extensions are."""

NUMBER_CACHE_SIZE = 16_384
"""An export has each number of a busy caller many times."""

WITHHELD_WORDS = frozenset(
    {"", "anonymous", "unknown", "restricted", "private", "withheld", "unavailable", "blocked", "asserted", "s"}
)
"""What stands where a number is withheld: it says nothing about a person, and is not masked."""

_HASH = re.compile(rf"{HASH_PREFIX}[a-p]{{{HASH_LETTERS}}}")
_HASH_LETTERS, _ID_ALPHABET = "abcdefghijklmnop", "ghijklmnopqrstuv"
_SEPARATORS = frozenset(" \t\u00a0()./-_\u2010\u2011\u2012\u2013\u2014\u2015")
_SEPARATORS_MAX = 3
"""Characters between two digits of one number."""

_EXTENSION_MARKS = frozenset(",;wWpPxX#")
"""After a number they begin what is dialled next."""

_NUMBER_OR_KEPT = re.compile(
    r"(?P<kept>[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"  # a UUID
    r"|(?<![0-9])[0-9]{10}\.[0-9]+"  # an id of a channel: seconds since 1970 and a counter
    r"|-[0-9a-f]{8}(?=$|;)"  # the counter of a channel
    r"|(?<![0-9])(?:19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])"  # a date, perhaps with a time
    r"(?:(?:[01][0-9]|2[0-3])[0-5][0-9](?:[0-5][0-9])?)?(?![0-9*]))"
    rf"|(?P<number>(?<![0-9])\+?[0-9]{{{NUMBER_DIGITS_MIN},}}+(?!\*\*\*))"
)


def parse_mask(text: str, *, location: str = "mask") -> Mask:
    """Return the mask with this name. Raises `UsageError`."""
    for mask in MASKS:
        if text == mask:
            return mask
    raise UsageError(
        _("there is no mask {mask!r}", mask=text[:40]),
        hint=_("use one of {choices}", choices=", ".join(MASKS)),
        parameter=location,
    )


def is_masked(number: str) -> bool:
    """Return whether a number is masked already.

    >>> is_masked("+49 30 1234***"), is_masked("+49 30 1234567")
    (True, False)
    """
    return number.endswith(HIDDEN) or _HASH.fullmatch(number) is not None


def fold_digits(text: str) -> str:
    """Return the text with the digits of other scripts as ASCII digits; its length does not change."""
    return text if text.isascii() else "".join(str(int(char)) if char.isdecimal() else char for char in text)


def digits_of(number: str) -> str:
    """Return the digits of a number, without what is dialled after it.

    >>> digits_of("+49 (30) 1234-567"), digits_of("0301234567,,99")
    ('49301234567', '0301234567')
    """
    return "".join(char for char in fold_digits(_cut_extension(number)) if "0" <= char <= "9")


def canonical_digits(number: str) -> str:
    """Return the digits of a number without a prefix for international calls.

    >>> canonical_digits("+4930123456"), canonical_digits("0049 30 123456"), canonical_digits("112")
    ('4930123456', '4930123456', '112')
    """
    digits = digits_of(number)
    return digits.removeprefix("00") if len(digits) > SHORT_DIGITS_MAX else digits


def mask_number(number: str, mask: Mask, key: bytes) -> str:
    """Return the masked notation of a number, which may be a name without digits. A withheld number is unchanged.

    >>> [mask_number(number, "last3", b"") for number in ("+49 30 1234567", "22833", "anonymous")]
    ['+49 30 1234***', '***', 'anonymous']
    """
    text = number.strip()
    if mask == "none" or is_masked(text) or text.casefold() in WITHHELD_WORDS:
        return number
    return _hash_number(canonical_digits(text) or text.casefold(), key) if mask == "hash" else _hide_last(text)


def hash_id(text: str, key: bytes) -> str:
    """Return an id that stands for an id from which a number could be computed; it is not hashed again."""
    if len(text) == ID_LETTERS and all(char in _ID_ALPHABET for char in text):
        return text
    return _letters(hmac.digest(key, b"id\x1f" + text.encode(), hashlib.sha256), ID_LETTERS, _ID_ALPHABET)


def mask_known(text: str, numbers: Collection[str], names: Collection[str], mask: Mask, key: bytes) -> str:
    """Return a text without these numbers, however they are written, and without these names.

    >>> mask_known("from 030 123456 (Bob Lee)", ["+4930123456"], ["Bob Lee"], "last3", b"")
    'from 030 123*** (***)'
    """
    for name in names:
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", HIDDEN, text, flags=re.IGNORECASE)
    for number in numbers:
        text = _mask_occurrences(text, number, mask, key)
    return text


def mask_unknown(text: str, mask: Mask, key: bytes, own_number: str = "") -> str:
    """Return a text in which digits in a row are masked that are as long as a telephone number, but not `own_number`.
    Dates, ids of channels and UUIDs stay.
    """
    folded, own_digits = fold_digits(text), canonical_digits(own_number)

    def replace(start: int, end: int) -> str:
        number = text[start:end]
        return number if own_digits and canonical_digits(number) == own_digits else mask_number(number, mask, key)

    return _replace_numbers(text, folded, replace)


def has_number(text: str) -> bool:
    """Return whether a text has digits by which a number could be recognised: LOCAL_DIGITS, with separators or without.

    >>> has_number("at 10:30, ticket 4711"), has_number("12 34-5")
    (False, True)
    """
    folded = fold_digits(text)
    positions = [index for index, char in enumerate(folded) if "0" <= char <= "9"]
    length = 1
    for index in range(len(positions) - 1):
        length = length + 1 if _are_joined(folded, positions, index) else 1
        if length >= LOCAL_DIGITS:
            return True
    return False


def _replace_numbers(text: str, folded: str, replace: Callable[[int, int], str]) -> str:
    parts, end = [], 0
    for match in _NUMBER_OR_KEPT.finditer(folded):
        if match["number"] is not None:
            parts += [text[end : match.start()], replace(match.start(), match.end())]
            end = match.end()
    return "".join([*parts, text[end:]])


def _mask_occurrences(text: str, number: str, mask: Mask, key: bytes) -> str:
    """Return the text with each occurrence of a number masked."""
    digits = digits_of(number)
    if not digits:
        return text
    is_short = len(digits) <= SHORT_DIGITS_MAX
    replacement = mask_number(number, mask, key) if mask == "hash" or is_short else None
    # The longest first: in a number such as 100000000 the last digits occur several times.
    for length in (len(digits),) if is_short else range(len(digits), LOCAL_DIGITS - 1, -1):
        text = _mask_endings(text, digits, length, replacement)
    return text


def _mask_endings(text: str, digits: str, length: int, replacement: str | None) -> str:
    """Return the text with each place masked that ends in the last `length` digits of a number: replaced whole, or
    without a replacement its last three digits.
    """
    folded = fold_digits(text)
    positions = [index for index, char in enumerate(folded) if "0" <= char <= "9"]
    text_digits = "".join(folded[index] for index in positions)
    needs_borders = length < OCCURRENCE_DIGITS or len(digits) <= SHORT_DIGITS_MAX
    core, parts, text_end, first = digits[-length:], [], 0, -1
    while (first := text_digits.find(core, first + 1)) >= 0:
        last = first + length - 1
        if positions[first] < text_end or not all(
            _are_joined(folded, positions, index) for index in range(first, last)
        ):
            continue
        if needs_borders and not _has_borders(folded, positions[first], positions[last]):
            continue
        start = positions[last - 2]
        if replacement is not None:
            start = positions[first] - folded[: positions[first]].endswith("+")
        parts += [text[text_end : max(start, text_end)], HIDDEN if replacement is None else replacement]
        text_end = positions[last] + 1
    return "".join([*parts, text[text_end:]])


def _are_joined(folded: str, positions: Sequence[int], index: int) -> bool:
    """Return whether only separators stand between a digit and the next one."""
    between = folded[positions[index] + 1 : positions[index + 1]]
    return len(between) <= _SEPARATORS_MAX and all(char in _SEPARATORS for char in between)


def _has_borders(folded: str, start: int, end: int) -> bool:
    return not folded[max(0, start - 1) : start].isdigit() and not folded[end + 1 : end + 2].isdigit()


def _cut_extension(number: str) -> str:
    """Return the number without what is dialled after it."""
    count = 0
    for index, char in enumerate(number):
        count += char.isdecimal()
        if count > SHORT_DIGITS_MAX and char in _EXTENSION_MARKS:
            return number[:index]
    return number


def _hide_last(number: str) -> str:
    text = _cut_extension(number)
    if any(char.isalpha() for char in text):
        text = "".join(char for char in text if char.isdecimal() or char == "+" or char in _SEPARATORS).strip()
    positions = [index for index, char in enumerate(fold_digits(text)) if "0" <= char <= "9"]
    return HIDDEN if len(positions) <= SHORT_DIGITS_MAX else text[: positions[-3]] + HIDDEN


@lru_cache(maxsize=NUMBER_CACHE_SIZE)
def _hash_number(canonical: str, key: bytes) -> str:
    digest = hmac.digest(key, b"number\x1f" + canonical.encode("utf-8", "surrogatepass"), hashlib.sha256)
    return HASH_PREFIX + _letters(digest, HASH_LETTERS, _HASH_LETTERS)


def _letters(digest: bytes, count: int, alphabet: str) -> str:
    return "".join(alphabet[int(digit, 16)] for digit in digest.hex()[:count])
