"""Verdicts on requests, and the response to each.

The verdicts are also the kinds of the counters, whose labels have the channel.
"""

from collections.abc import Mapping
from typing import Literal, Protocol

import msgspec

from onhook.cdr.merge import LATE_CHANNELS, UNREGISTERED, WEBHOOK
from onhook.pbx.yeastar.rows import ROW_LABEL

Verdict = Literal[
    "stored",
    "duplicate",
    "deleted",
    "unparsable",
    "unregistered",
    "other_event",
    "test_message",
    "unknown_pbx",
    "missing_signature",
    "invalid_signature",
    "unexpected_source",
    "not_an_event",
    "too_large",
    "header_too_large",
    "bad_request",
    "too_slow",
    "wrong_method",
    "too_many",
    "unavailable",
    "settings_lost",
    "settings_unreadable",
]


class ResponseContent(msgspec.Struct, frozen=True):
    """The HTTP status of a verdict and its line of text."""

    status: int
    text: str


# One text for all four: an unknown PBX must not learn which serial numbers are registered.
_UNAUTHORIZED = ResponseContent(401, "not signed by a registered PBX")

_NO_SETTINGS = ResponseContent(503, "temporarily unavailable, try again")

RESPONSES_BY_VERDICT: Mapping[Verdict, ResponseContent] = {
    # Signed by a registered PBX, and on disk, or deleted from there.
    "stored": ResponseContent(200, "stored"),
    "duplicate": ResponseContent(200, "already stored"),
    "deleted": ResponseContent(200, "not stored: this event was deleted before"),
    "unparsable": ResponseContent(200, "stored, but it could not be parsed"),
    # Signed with the secret of a registered PBX, and on disk.
    "unregistered": ResponseContent(200, "stored, but the serial number is not registered"),
    # Signed by a registered PBX, but not a call event: counted by event type.
    "other_event": ResponseContent(200, "not stored: not a call end event"),
    "test_message": ResponseContent(200, "test message received"),
    # Signed by no registered PBX.
    "unknown_pbx": _UNAUTHORIZED,
    "missing_signature": _UNAUTHORIZED,
    "invalid_signature": _UNAUTHORIZED,
    "unexpected_source": _UNAUTHORIZED,
    "not_an_event": ResponseContent(400, "not a call event"),
    # Invalid requests.
    "too_large": ResponseContent(413, "the body is larger than 256 KiB"),
    "header_too_large": ResponseContent(431, "the header is too large"),
    "bad_request": ResponseContent(400, "this is not HTTP"),
    "too_slow": ResponseContent(408, "the request took too long to arrive"),
    "wrong_method": ResponseContent(405, "use POST, or GET with the event as its body"),
    # Temporary errors: the PBX retries.
    "too_many": ResponseContent(503, "too many connections or events, try again"),
    "unavailable": ResponseContent(503, "the ledger cannot be written now, try again"),
    # One text for both: a sender must not learn the state of the settings.
    "settings_lost": _NO_SETTINGS,
    "settings_unreadable": _NO_SETTINGS,
}

ACCEPTED_KINDS = frozenset({"stored", "duplicate", "unparsable", "deleted"})
"""Verdicts on events of a registered PBX that were accepted."""

VIA_PREFIX = "via:"
"""Before the channel in the label of counters of events that did not arrive by webhook."""

_ROW_LABELS = frozenset({ROW_LABEL, *(f"{VIA_PREFIX}{channel}" for channel in LATE_CHANNELS)})
"""Of rows of the PBX's list and of files, also those that were counted when labels had no channel."""


class EventCount(Protocol):
    """A counter: its verdict, and its label."""

    @property
    def kind(self) -> str: ...
    @property
    def label(self) -> str: ...


def label_by_channel(via: str, event_label: str) -> str:
    """Return the label of the counter of an event that arrived by this channel.

    >>> label_by_channel("webhook", "30012"), label_by_channel("import", "row")
    ('30012', 'via:import')
    """
    return event_label if via in (WEBHOOK, UNREGISTERED) else f"{VIA_PREFIX}{via}"


def is_live(counter: EventCount) -> bool:
    """Return whether a counter is of accepted events that were reported as calls ended: not of a file or back-fill."""
    return counter.kind in ACCEPTED_KINDS and counter.label not in _ROW_LABELS


def is_by_webhook(counter: EventCount) -> bool:
    """Return whether a counter is of accepted webhooks."""
    return is_live(counter) and not counter.label.startswith(VIA_PREFIX)
