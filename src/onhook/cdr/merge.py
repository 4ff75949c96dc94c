"""What a record says after it was reported more than once: by the event, and by rows of the PBX's own list.

Laws: an event replaces what was said. A row says less than the event: it changes what it says otherwise, fills what is
empty, and the same content changes nothing. What rows filled stays when the event comes after all.
"""

import msgspec

from onhook.cdr.call_details import DETAIL_FIELDS, CallDetails, fold_word
from onhook.cdr.identity import extract_number

ROW_CHANNELS = frozenset({"backfill", "import"})
"""Ways in by which not the event comes but a row of the PBX's list (yeastar-p-series.md 7.4)."""

_EVENT_ONLY_FIELDS = frozenset({"agent_ring_time", "enb_call_note"})
"""The list has no such field, or was seen to have another value in it."""

_WORD_FIELDS = frozenset({"status", "type"})
_PARTY_FIELDS = frozenset({"call_from", "call_to", "did_number"})
_EMPTY_VALUES = (None, "")


def merge_details(old: CallDetails, old_via: str, new: CallDetails, new_via: str) -> CallDetails:
    """The details of a record that was known and is reported again; each `via` is the way by which one came."""
    if new_via in ROW_CHANNELS:
        return _apply_row(old, new)
    return _fill_missing(new, old) if old_via in ROW_CHANNELS else new


def _apply_row(old: CallDetails, row: CallDetails) -> CallDetails:
    changes = {
        name: getattr(row, name)
        for name in DETAIL_FIELDS
        if getattr(row, name) not in _EMPTY_VALUES and _differs(name, getattr(old, name), getattr(row, name))
    }
    return msgspec.structs.replace(old, **changes) if changes else old


def _differs(name: str, old_value: str | int | None, row_value: str | int) -> bool:
    """Whether a row says something else of this field; how a word or a party is written does not count."""
    if old_value in _EMPTY_VALUES:
        return True
    if name in _EVENT_ONLY_FIELDS:
        return False
    if name in _WORD_FIELDS:
        return fold_word(str(old_value)) != fold_word(str(row_value))
    return (
        extract_number(str(old_value)) != extract_number(str(row_value))
        if name in _PARTY_FIELDS
        else old_value != row_value
    )


def _fill_missing(event: CallDetails, old: CallDetails) -> CallDetails:
    changes = {
        name: getattr(old, name)
        for name in DETAIL_FIELDS
        if getattr(event, name) in _EMPTY_VALUES and getattr(old, name) not in _EMPTY_VALUES
    }
    return msgspec.structs.replace(event, **changes) if changes else event
