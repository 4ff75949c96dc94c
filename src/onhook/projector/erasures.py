"""The erasures of a ledger, and what they make of the legs of an event. Pure.

Invariants: the latest erasure of a call is applied first. An erasure applies to the events that it lists, under
whichever serial number they are kept, and to all others of its call.
"""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from onhook.cdr.call_assembly import PbxFacts
from onhook.cdr.call_details import CallDetails
from onhook.cdr.erasure import CallErasure, erase_details, reduce_kept
from onhook.cdr.identity import fold_sn
from onhook.ledger.contract import RawEvent
from onhook.ledger.control_entries import Erased, ErasedCall


class ErasedLegs(msgspec.Struct, frozen=True):
    """The legs of an event; `is_erased` where one of them is of a call with an erasure, or nothing of it stays: then
    the event is rewritten, and what could not be parsed of it is dropped.
    """

    details: Sequence[CallDetails]
    is_erased: bool


class _Erasure(msgspec.Struct, frozen=True):
    seq: int
    folded_sn: str
    seqs: frozenset[int]
    call_erasure: CallErasure


class Erasures:
    """All erasures of the ledger, by call; entries are added in any order, each once or more often."""

    def __init__(self) -> None:
        # Each is replaced as a whole: a thread may read it.
        self._by_call_id: dict[str, Sequence[_Erasure]] = {}
        self._emptied_seqs: set[int] = set()

    def __bool__(self) -> bool:
        return bool(self._by_call_id or self._emptied_seqs)

    def add(self, seq: int, entry: Erased) -> None:
        """Add the entry with this number."""
        self._emptied_seqs.update(entry.seqs)
        for call in entry.calls:
            erasures_of_call = self._by_call_id.get(call.call_id, ())
            folded_sn = fold_sn(call.sn)
            if all((erasure.seq, erasure.folded_sn) != (seq, folded_sn) for erasure in erasures_of_call):
                new_erasure = _Erasure(seq, folded_sn, frozenset(call.seqs), to_call_erasure(call))
                self._by_call_id[call.call_id] = sorted(
                    (*erasures_of_call, new_erasure), key=lambda erasure: erasure.seq, reverse=True
                )

    def is_emptied(self, seq: int) -> bool:
        """Return whether nothing stays of the event with this number."""
        return seq in self._emptied_seqs

    def apply(
        self, raw_event: RawEvent, sn: str, details: Sequence[CallDetails], facts: Mapping[str, PbxFacts]
    ) -> ErasedLegs:
        """Return the legs of an event that is kept under a serial number."""
        if raw_event.seq in self._emptied_seqs:
            return ErasedLegs((), True)
        erased_legs: list[CallDetails] = []
        is_erased = False
        for leg in details:
            erased_leg = leg
            for erasure in self._by_call_id.get(leg.call_id, ()):
                if raw_event.seq in erasure.seqs or _find_owner(erasure.folded_sn, facts) == fold_sn(sn):
                    erased_leg = erase_details(erased_leg, erasure.call_erasure)
                    is_erased = True
            erased_legs.append(erased_leg)
        return ErasedLegs(erased_legs, is_erased)


def to_call_erasure(call: ErasedCall) -> CallErasure:
    """Return what is erased in a call of an entry."""
    return CallErasure(label=call.label, digits_min=call.digits_min, kept_texts=frozenset(call.kept_texts))


def reduce_entry(entry: Erased, later_entries: Iterable[Erased]) -> Erased:
    """Return an entry without the texts that later ones erase from the same calls."""
    later_calls: dict[tuple[str, str], list[ErasedCall]] = {}
    for later in later_entries:
        for call in later.calls:
            later_calls.setdefault((fold_sn(call.sn), call.call_id), []).append(call)
    calls: list[ErasedCall] = []
    for call in entry.calls:
        erasure = to_call_erasure(call)
        for later_call in later_calls.get((fold_sn(call.sn), call.call_id), ()):
            erasure = reduce_kept(erasure, to_call_erasure(later_call))
        calls.append(msgspec.structs.replace(call, kept_texts=tuple(sorted(erasure.kept_texts))))
    return msgspec.structs.replace(entry, calls=tuple(calls))


def _find_owner(folded_sn: str, facts: Mapping[str, PbxFacts]) -> str:
    """Return the serial number under which the calls of another one are kept by now, folded."""
    pbx = facts.get(folded_sn)
    return fold_sn(pbx.sn) if pbx is not None and pbx.sn else folded_sn
