"""The number plan of a PBX: which numbers are people and which are machines (DESIGN.md 4, rule 4).

A machine picks up by itself, so `ANSWERED` on its leg does not mean that anybody spoke (PROTOCOL.md 2.2, traps).
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal

import msgspec

from onhook.cdr.identity import number_of
from onhook.lib.errors import UsageError

LegKind = Literal["extension", "external", "ivr", "queue", "ring_group", "conference", "feature"]

PERSONS: frozenset[LegKind] = frozenset({"extension", "external", "conference"})
"""Whose answer is a person's; in a conference people speak with people."""

RANGES_MAX = 100
"""Ranges per kind: no real plan comes near it."""

KINDS_REMEMBERED_MAX = 4096
"""Most calls go to the same few numbers; asking the plan once for each makes reading twice as fast."""

_RANGE = re.compile(r"([0-9]{1,12})(?:-([0-9]{1,12}))?")
_RANGED: tuple[LegKind, ...] = ("ivr", "queue", "ring_group", "conference")
_DIALLED = re.compile(r"[+*#]?[0-9][0-9*#]*")


class NumberPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Ranges of numbers by kind, each as `6200-6299` or `6200`.

    The defaults are those of a P-Series that nobody changed; `feature` is any target that is no number at all, such as
    `Satisfaction Survey` or `Play Prompt` (PROTOCOL.md 2.6).
    """

    extension_digits_max: int = 7
    ivr: tuple[str, ...] = ("6200-6299",)
    ring_group: tuple[str, ...] = ("6300-6399",)
    queue: tuple[str, ...] = ("6400-6499",)
    conference: tuple[str, ...] = ("6500-6599",)

    def kind_of(self, party: str) -> LegKind:
        """What a `call_to` is, by its number.

        >>> plan = NumberPlan()
        >>> [plan.kind_of(party) for party in ("Queue Team<6400>", "1002", "+15550100", "Play Prompt")]
        ['queue', 'extension', 'external', 'feature']
        """
        return _kind_of(self, number_of(party))


@lru_cache(maxsize=KINDS_REMEMBERED_MAX)
def _kind_of(plan: NumberPlan, number: str) -> LegKind:
    for kind in _RANGED:
        if any(_is_in(number, one) for one in getattr(plan, kind)):
            return kind
    if not _DIALLED.fullmatch(number):
        # A name alone ("Alice") could be a person, but no PBX was seen to send one for a person.
        return "feature"
    return "extension" if number.isdigit() and len(number) <= plan.extension_digits_max else "external"


def parse_plan(given: Mapping[str, str]) -> NumberPlan:
    """A plan from texts such as `{"queue": "6400-6499,7000"}`; a kind that is not given keeps its default.

    Raises `UsageError` for an unknown kind or a range that is none.
    """
    unknown = sorted(set(given) - set(_RANGED))
    if unknown:
        raise UsageError(f"a number plan has no {unknown[0]!r}", todo=f"use one of {', '.join(_RANGED)}")
    ranges: dict[str, Any] = {kind: _parse_ranges(kind, text) for kind, text in given.items()}
    return NumberPlan(**ranges)


def _parse_ranges(kind: str, text: str) -> tuple[str, ...]:
    ranges = tuple(part.strip() for part in text.split(",") if part.strip())
    if len(ranges) > RANGES_MAX:
        raise UsageError(f"{kind} has more than {RANGES_MAX} ranges", todo="join neighbouring ones")
    for one in ranges:
        found = _RANGE.fullmatch(one)
        if not found or (found[2] and (len(found[1]) != len(found[2]) or found[1] > found[2])):
            raise UsageError(f"{kind} has no range {one!r}", todo="write it as 6400-6499 or 6400")
    return ranges


def _is_in(number: str, one: str) -> bool:
    """Compared as texts of one length, so that `06400` is not `6400`."""
    low, _, high = one.partition("-")
    return len(number) == len(low) and low <= number <= (high or low) and number.isdigit()
