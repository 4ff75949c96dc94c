"""Number plan of a PBX: which numbers are people and which are machines.

A machine answers by itself, so `ANSWERED` on its leg does not mean that a person spoke (yeastar-p-series.md 2.2,
traps).
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal

import msgspec

from onhook.cdr.identity import extract_number
from onhook.lib.errors import UsageError, _

LegKind = Literal["extension", "external", "ivr", "queue", "ring_group", "conference", "feature"]

PERSON_KINDS: frozenset[LegKind] = frozenset({"extension", "external", "conference"})
"""Kinds whose answer counts as a person's; in a conference people speak with people."""

RANGES_MAX = 100
"""Ranges per kind: far more than real plans have."""

KIND_CACHE_SIZE = 4096
"""Most calls go to the same few numbers; caching makes parsing twice as fast."""

_RANGE = re.compile(r"([0-9]{1,12})(?:-([0-9]{1,12}))?")
_RANGE_KINDS: tuple[LegKind, ...] = ("ivr", "queue", "ring_group", "conference")
_DIALABLE = re.compile(r"[+*#]?[0-9][0-9*#]*")


class NumberPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Ranges of numbers by kind, each as `6200-6299` or `6200`.

    The defaults are those of a P-Series with factory settings; `feature` is any target that is no number at all, such
    as `Satisfaction Survey` or `Play Prompt` (yeastar-p-series.md 2.6).
    """

    extension_digits_max: int = 7
    ivr: tuple[str, ...] = ("6200-6299",)
    ring_group: tuple[str, ...] = ("6300-6399",)
    queue: tuple[str, ...] = ("6400-6499",)
    conference: tuple[str, ...] = ("6500-6599",)

    def kind_of(self, party: str) -> LegKind:
        """Return the kind of a `call_to`, by its number.

        >>> plan = NumberPlan()
        >>> [plan.kind_of(party) for party in ("Queue Team<6400>", "1002", "+15550100", "Play Prompt")]
        ['queue', 'extension', 'external', 'feature']
        """
        return _kind_of(self, extract_number(party))


@lru_cache(maxsize=KIND_CACHE_SIZE)
def _kind_of(plan: NumberPlan, number: str) -> LegKind:
    for kind in _RANGE_KINDS:
        if any(_is_in_range(number, number_range) for number_range in getattr(plan, kind)):
            return kind
    if not _DIALABLE.fullmatch(number):
        # A name alone ("Alice") could be a person, but no PBX was seen to send one for a person.
        return "feature"
    return "extension" if number.isdigit() and len(number) <= plan.extension_digits_max else "external"


def parse_number_plan(texts: Mapping[str, str]) -> NumberPlan:
    """Parse a plan from texts such as `{"queue": "6400-6499,7000"}`; a missing kind keeps its default.

    Raises `UsageError` for an unknown kind or an invalid range.
    """
    unknown_kinds = sorted(set(texts) - set(_RANGE_KINDS))
    if unknown_kinds:
        raise UsageError(
            _("unknown kind of number {kind!r}", kind=unknown_kinds[0]),
            hint=_("use one of {choices}", choices=", ".join(_RANGE_KINDS)),
        )
    ranges: dict[str, Any] = {kind: _parse_ranges(kind, text) for kind, text in texts.items()}
    return NumberPlan(**ranges)


def _parse_ranges(kind: str, text: str) -> tuple[str, ...]:
    ranges = tuple(part.strip() for part in text.split(",") if part.strip())
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
