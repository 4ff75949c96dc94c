"""Merging of repeated reports of a record: by the event, and by rows of the PBX's own list.

Invariants: an event replaces the stored values, except by saying less: an answered call does not become unanswered,
and what was named does not vanish, because PBXs repeat events that they have not finished. Where the PBX itself names
the legs, its later word about a leg counts. A row has fewer fields than the event: it replaces values that differ
and fills empty ones, and the same content changes nothing. Values filled from rows stay when the event arrives later.
"""

import msgspec

from onhook.cdr.call_details import DETAIL_FIELDS, CallDetails, fold_word
from onhook.cdr.identity import extract_number, leg_channels

ROW_CHANNELS = frozenset({"backfill", "import"})
"""Channels that deliver rows of the PBX's list instead of events (yeastar-p-series.md 7.4)."""

SWEEP = "sweep"
"""The channel of files in which a PBX has left what it could not send: events, which come late."""

LATE_CHANNELS = ROW_CHANNELS | {SWEEP}
"""Channels of calls that ended some time before: they say nothing about the PBX's clock, nor that it reports now."""

WEBHOOK = "webhook"
"""The channel of webhooks."""

LINE = "line"
"""The channel of lines that a PBX writes to a connection as its calls end."""

UNREGISTERED = "unregistered"
"""The channel of webhooks that a secret of a registered PBX signs, under a serial number that is not registered: the
raw event has the number of the PBX whose secret it is, and is read as a webhook once its own number is registered.
"""

_EVENT_ONLY_FIELDS = frozenset({"agent_ring_time", "enb_call_note"})
"""The list lacks these fields, or was seen with another value in them."""

_OUTCOMES = frozenset({"ANSWERED", "VOICEMAIL"})
"""Statuses of a call that a person or a machine answered."""

_OUTCOME_FIELDS = ("status", "talk_duration", "call_duration")

ROW_NOTE = "call_note"
"""Member of a row with the note that a person wrote on the PBX, after the event was sent."""

_WORD_FIELDS = frozenset({"status", "type"})
_PARTY_FIELDS = frozenset({"call_from", "call_to", "did_number"})
_EMPTY_VALUES = (None, "")


def merge_details(old: CallDetails, old_via: str, new: CallDetails, new_via: str) -> CallDetails:
    """Return the details of a stored record that is reported again; each `via` is the channel of a report."""
    if new_via in ROW_CHANNELS:
        return _apply_row(old, new)
    if leg_channels(new) and old_via not in ROW_CHANNELS:
        return new
    return _fill_missing(_keep_outcome(new, old), old)


def _apply_row(old: CallDetails, row: CallDetails) -> CallDetails:
    changes = {
        name: getattr(row, name)
        for name in DETAIL_FIELDS
        if getattr(row, name) not in _EMPTY_VALUES and _differs(name, getattr(old, name), getattr(row, name))
    }
    return _with_note(msgspec.structs.replace(old, **changes) if changes else old, row)


def _differs(name: str, old_value: str | int | None, row_value: str | int) -> bool:
    """Return whether a row has another value in this field; the notation of a word or a party is ignored."""
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


def _keep_outcome(event: CallDetails, old: CallDetails) -> CallDetails:
    """Return the event, with the outcome of an earlier report where the event has none, or none of its talk."""
    status, old_status = fold_word(event.status), fold_word(old.status)
    has_lost_talk = status == old_status and bool(old.talk_duration) and not event.talk_duration
    if old_status not in _OUTCOMES or (status in _OUTCOMES and not has_lost_talk):
        return event
    changes = {name: getattr(old, name) for name in _OUTCOME_FIELDS}
    return msgspec.structs.replace(event, **changes)


def _fill_missing(event: CallDetails, old: CallDetails) -> CallDetails:
    changes = {
        name: getattr(old, name)
        for name in DETAIL_FIELDS
        if getattr(event, name) in _EMPTY_VALUES and getattr(old, name) not in _EMPTY_VALUES
    }
    return _with_note(msgspec.structs.replace(event, **changes) if changes else event, old)


def _with_note(details: CallDetails, row: CallDetails) -> CallDetails:
    """Return the details with the note of a row; without one they are unchanged."""
    note = row.extra.get(ROW_NOTE)
    if note in _EMPTY_VALUES or details.extra.get(ROW_NOTE) == note:
        return details
    return msgspec.structs.replace(details, extra={**details.extra, ROW_NOTE: note})
