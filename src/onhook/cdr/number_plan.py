"""Number plan of a PBX: which numbers are people and which are machines.

A machine answers by itself, so `ANSWERED` on its leg does not mean that a person spoke (yeastar-p-series.md 2.2,
traps). Invariant: a leg is a person's unless it is known to be a machine's. The form of a number (blanks, letters,
length) makes no machine of it.
"""

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal, cast, get_args

import msgspec

from onhook.cdr.call_details import CallDetails, fold_word
from onhook.cdr.feature_names import FEATURE_NAMES, FEATURE_TRANSLATIONS, TELEPHONE_NAMES
from onhook.cdr.identity import CALLEE_KIND, extract_name, extract_number
from onhook.lib.errors import UsageError, _

LegKind = Literal["extension", "external", "ivr", "queue", "ring_group", "conference", "voicemail", "feature"]

PERSON_KINDS: frozenset[LegKind] = frozenset({"extension", "external", "conference"})
"""Kinds whose answer counts as a person's; in a conference people speak with people."""

RANGES_MAX = 100
"""Ranges per kind, and names of features: far more than real plans have."""

EXTENSION_DIGITS_LIMIT = 15
"""No telephone number is longer (E.164)."""

FEATURE_NAME_CHARACTERS_MAX = 64

KIND_CACHE_SIZE = 4096
"""Most calls go to the same few numbers; caching makes parsing twice as fast."""

PLANS_CACHED = 256
"""Plans with other features than the usual ones are few."""

RANGE_KINDS: tuple[LegKind, ...] = ("ivr", "queue", "ring_group", "conference", "voicemail", "extension")
"""Kinds that a plan has ranges for, in the order in which they decide."""

_REPORTED_KINDS = frozenset(get_args(LegKind))
_RANGE = re.compile(r"([0-9]{1,15})(?:-([0-9]{1,15}))?")
_FEATURE_CODE = re.compile(r"[*#][0-9*#]*")
_SEPARATORS = re.compile(r"[\s().\-/\u2010-\u2015]+")
_PAUSE_AND_DIGITS = re.compile(r"[,;wWpP][0-9,;wWpP*#\s]*$")
_DIALABLE = re.compile(r"\+?[0-9][0-9*#]*")
_USER_END = re.compile(r"[@;*].*")
"""What follows the number in `6400@pbx.example`, `6400;ext=2` and `6400*acme`, a tenant."""

_TRAILING_NUMBER = re.compile(r"[\W0-9]+$")


class NumberPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Ranges of numbers by kind, each as `6200-6299` or `6200`.

    The defaults are those of a P-Series with factory settings. A number with at most `extension_digits_max` digits is
    an extension, and so is any in `extension`; a longer one is external, unless it is a name. `features` are the names
    of targets that are no person, which count in other languages of the PBX too.
    """

    extension_digits_max: int = 7
    extension: tuple[str, ...] = ()
    ivr: tuple[str, ...] = ("6200-6299",)
    ring_group: tuple[str, ...] = ("6300-6399",)
    queue: tuple[str, ...] = ("6400-6499",)
    conference: tuple[str, ...] = ("6500-6599",)
    voicemail: tuple[str, ...] = ()
    features: tuple[str, ...] = FEATURE_NAMES

    def kind_of_leg(self, leg: CallDetails) -> LegKind:
        """Return the kind of a leg's called party: as the PBX reports it, else external where the leg goes out by a
        trunk, else by its number and name. A blank party is not known to be a machine.
        """
        reported_kind = leg.extra.get(CALLEE_KIND) if leg.extra else None
        if isinstance(reported_kind, str) and reported_kind in _REPORTED_KINDS:
            return cast(LegKind, reported_kind)
        if leg.dst_trunk_name:
            return "external"
        if not extract_number(leg.call_to):
            return "feature" if _has_feature_name(self, extract_name(leg.call_to)) else "extension"
        return self.kind_of(leg.call_to)

    def kind_of(self, party: str) -> LegKind:
        """Return the kind of a `call_to`, by its number or name.

        >>> plan = NumberPlan()
        >>> [plan.kind_of(party) for party in ("Queue Team<6400>", "1002", "+15550100", "Play Prompt")]
        ['queue', 'extension', 'external', 'feature']
        >>> [plan.kind_of(party) for party in ("alice", "(030) 901-820", "*43")]
        ['extension', 'external', 'feature']
        """
        return _kind_of(self, extract_number(party), extract_name(party))


@lru_cache(maxsize=KIND_CACHE_SIZE)
def _kind_of(plan: NumberPlan, number: str, name: str) -> LegKind:
    dialled = _PAUSE_AND_DIGITS.sub("", number)
    user = _SEPARATORS.sub("", _USER_END.sub("", dialled))
    for kind in RANGE_KINDS:
        if any(_is_in_range(user, number_range) for number_range in getattr(plan, kind)):
            return kind
    if not number or _FEATURE_CODE.fullmatch(number) or _is_feature_name(plan, number):
        return "feature"
    if _has_feature_name(plan, name) and not _is_name_of_telephone(name):
        return "feature"
    digits = _SEPARATORS.sub("", dialled)
    if not _DIALABLE.fullmatch(digits):
        return "extension"
    return "extension" if digits.isdigit() and len(digits) <= plan.extension_digits_max else "external"


def _is_feature_name(plan: NumberPlan, text: str) -> bool:
    """Return whether a text names a feature, perhaps with a number: `Play Prompt 2`."""
    folded_names = _fold_features(plan.features)
    return _fold_name(text) in folded_names or _fold_name(_TRAILING_NUMBER.sub("", text)) in folded_names


def _has_feature_name(plan: NumberPlan, name: str) -> bool:
    """Return whether the name beside a number is that of a feature. Acronyms are in capitals there: `DISA` is a
    feature, and Disa a first name.
    """
    is_acronym = any(feature.isupper() and fold_word(feature) == fold_word(name) != name for feature in plan.features)
    return bool(name) and not is_acronym and _is_feature_name(plan, name)


def _is_name_of_telephone(name: str) -> bool:
    """Return whether the name beside a number may be that of a telephone, though there is a feature of that name."""
    return _fold_name(name) in _fold_features(TELEPHONE_NAMES)


@lru_cache(maxsize=PLANS_CACHED)
def _fold_features(features: tuple[str, ...]) -> frozenset[str]:
    translations = (name for feature in features for name in FEATURE_TRANSLATIONS.get(feature, ()))
    return frozenset(map(_fold_name, (*features, *translations)))


def _fold_name(name: str) -> str:
    """Normalise a name for comparison: accents do not count, nor what `fold_word` ignores."""
    decomposed = unicodedata.normalize("NFKD", name)
    return fold_word("".join(character for character in decomposed if not unicodedata.combining(character)))


def parse_number_plan(texts: Mapping[str, str]) -> NumberPlan:
    """Parse a plan from texts such as `{"queue": "6400-6499,7000"}`; a missing kind keeps its default.

    `extension_digits_max` is a number, `features` are names separated by commas. Raises `UsageError` for an unknown
    kind or an invalid text.
    """
    kinds = (*RANGE_KINDS, "extension_digits_max", "features")
    unknown_kinds = sorted(set(texts) - set(kinds))
    if unknown_kinds:
        raise UsageError(
            _("unknown kind of number {kind!r}", kind=unknown_kinds[0]),
            hint=_("use one of {choices}", choices=", ".join(kinds)),
        )
    values: dict[str, Any] = {kind: _parse_ranges(kind, texts[kind]) for kind in RANGE_KINDS if kind in texts}
    if "extension_digits_max" in texts:
        values["extension_digits_max"] = _parse_digits_max(texts["extension_digits_max"])
    if "features" in texts:
        values["features"] = _parse_feature_names(texts["features"])
    return NumberPlan(**values)


def _parse_digits_max(text: str) -> int:
    digits = text.strip()
    if not re.fullmatch("[0-9]{1,2}", digits) or not 1 <= int(digits) <= EXTENSION_DIGITS_LIMIT:
        raise UsageError(
            _("invalid number of digits of an extension: {value!r}", value=text[:20]),
            hint=_("use a number from 1 to {limit}", limit=EXTENSION_DIGITS_LIMIT),
        )
    return int(digits)


def _split_list(text: str) -> tuple[str, ...]:
    """Return the parts between commas, those of Arabic script too."""
    return tuple(part.strip() for part in re.split("[,\N{ARABIC COMMA}]", text) if part.strip())


def _parse_feature_names(text: str) -> tuple[str, ...]:
    names = _split_list(text)
    if len(names) > RANGES_MAX:
        raise UsageError(
            _("more than {limit} names of features", limit=RANGES_MAX), hint=_("keep those that the PBX reports")
        )
    for name in names:
        if len(name) > FEATURE_NAME_CHARACTERS_MAX or not name.isprintable():
            raise UsageError(
                _("invalid name of a feature: {value!r}", value=name[:20]),
                hint=_("use at most {limit} printable characters", limit=FEATURE_NAME_CHARACTERS_MAX),
            )
    return names


def _parse_ranges(kind: str, text: str) -> tuple[str, ...]:
    ranges = _split_list(text)
    if len(ranges) > RANGES_MAX:
        raise UsageError(
            _("{kind} has more than {limit} ranges", kind=kind, limit=RANGES_MAX), hint=_("join adjacent ranges")
        )
    for number_range in ranges:
        match = _RANGE.fullmatch(number_range)
        if not match or (match[2] and (len(match[1]) != len(match[2]) or match[1] > match[2])):
            raise UsageError(
                _("invalid range of {kind}: {value!r}", kind=kind, value=number_range),
                hint=_("write it as 6400-6499 or 6400"),
            )
    return ranges


def _is_in_range(number: str, number_range: str) -> bool:
    """Compare as texts of equal length, so that `06400` is not `6400`."""
    low, _separator, high = number_range.partition("-")
    return len(number) == len(low) and low <= number <= (high or low) and number.isdigit()
