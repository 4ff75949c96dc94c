"""What a record says after it was reported more than once: by the event, and by rows of the PBX's own list.

Laws: an event replaces what was said. A row says less than the event: it changes what it says otherwise, fills what is
empty, and the same content changes nothing. What rows filled stays when the event comes after all.
"""

import msgspec

from onhook.cdr.call_details import DETAIL_FIELDS, CallDetails, fold_word
from onhook.cdr.identity import extract_number

ROW_CHANNELS = frozenset({"backfill", "import"})
"""Ways in by which not the event comes but a row of the PBX's list (PROTOCOL.md 7.4)."""

_EVENT_ONLY_FIELDS = frozenset({"agent_ring_time", "enb_call_note"})
"""The list has no such field, or was seen to have another value in it."""

_WORD_FIELDS = frozenset({"status", "type"})
_PARTY_FIELDS = frozenset({"call_from", "call_to", "did_number"})
_EMPTY_VALUES = (None, "")


def merge_details(before: CallDetails, before_via: str, new: CallDetails, new_via: str) -> CallDetails:
    """The details of a record that was known and is reported again; each `via` is the way by which one came."""
    if new_via in ROW_CHANNELS:
        return _apply_row(before, new)
    return _fill_missing(new, before) if before_via in ROW_CHANNELS else new


def _apply_row(known: CallDetails, row: CallDetails) -> CallDetails:
    changes = {
        name: getattr(row, name)
        for name in DETAIL_FIELDS
        if getattr(row, name) not in _EMPTY_VALUES and _differs(name, getattr(known, name), getattr(row, name))
    }
    return msgspec.structs.replace(known, **changes) if changes else known


def _differs(name: str, known: str | int | None, said: str | int) -> bool:
    """Whether a row says something else of this field; how a word or a party is written does not count."""
    if known in _EMPTY_VALUES:
        return True
    if name in _EVENT_ONLY_FIELDS:
        return False
    if name in _WORD_FIELDS:
        return fold_word(str(known)) != fold_word(str(said))
    return extract_number(str(known)) != extract_number(str(said)) if name in _PARTY_FIELDS else known != said


def _fill_missing(event: CallDetails, known: CallDetails) -> CallDetails:
    changes = {
        name: getattr(known, name)
        for name in DETAIL_FIELDS
        if getattr(event, name) in _EMPTY_VALUES and getattr(known, name) not in _EMPTY_VALUES
    }
    return msgspec.structs.replace(event, **changes) if changes else event
