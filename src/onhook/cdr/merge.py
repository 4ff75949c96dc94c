"""What a record says after it was reported more than once: by the event, and by rows of the PBX's own list.

Laws: an event replaces what was said. A row says less than the event: it changes what it says otherwise, fills what is
empty, and the same content changes nothing. What rows filled stays when the event comes after all.
"""

import msgspec

from onhook.cdr.call_details import DETAIL_FIELDS, CallDetails, folded
from onhook.cdr.identity import number_of

ROW_WAYS = frozenset({"backfill", "import"})
"""Ways in by which not the event comes but a row of the PBX's list (PROTOCOL.md 7.4)."""

_SAID_BEST_BY_EVENTS = frozenset({"agent_ring_time", "enb_call_note"})
"""The list has no such field, or was seen to have another value in it."""

_WORDS = frozenset({"status", "type"})
_WITH_NAMES = frozenset({"call_from", "call_to", "did_number"})
_NOTHING = (None, "")


def said_together(before: CallDetails, before_via: str, new: CallDetails, new_via: str) -> CallDetails:
    """The details of a record that was known and is reported again; each `via` is the way by which one came."""
    if new_via in ROW_WAYS:
        return _corrected(before, new)
    return _filled(new, before) if before_via in ROW_WAYS else new


def _corrected(known: CallDetails, row: CallDetails) -> CallDetails:
    changes = {
        name: getattr(row, name)
        for name in DETAIL_FIELDS
        if getattr(row, name) not in _NOTHING and _is_otherwise(name, getattr(known, name), getattr(row, name))
    }
    return msgspec.structs.replace(known, **changes) if changes else known


def _is_otherwise(name: str, known: str | int | None, said: str | int) -> bool:
    """Whether a row says something else of this field; how a word or a party is written does not count."""
    if known in _NOTHING:
        return True
    if name in _SAID_BEST_BY_EVENTS:
        return False
    if name in _WORDS:
        return folded(str(known)) != folded(str(said))
    return number_of(str(known)) != number_of(str(said)) if name in _WITH_NAMES else known != said


def _filled(event: CallDetails, known: CallDetails) -> CallDetails:
    changes = {
        name: getattr(known, name)
        for name in DETAIL_FIELDS
        if getattr(event, name) in _NOTHING and getattr(known, name) not in _NOTHING
    }
    return msgspec.structs.replace(event, **changes) if changes else event
