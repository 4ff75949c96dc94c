"""Verdicts on requests, and the response to each.

The verdicts are also the kinds of the counters.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec

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
]


class ResponseContent(msgspec.Struct, frozen=True):
    """The HTTP status of a verdict and its line of text."""

    status: int
    text: str


# One text for all four: an unknown PBX must not learn which serial numbers are registered.
_UNAUTHORIZED = ResponseContent(401, "not signed by a registered PBX")

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
    "settings_lost": ResponseContent(503, "temporarily unavailable, try again"),
}
