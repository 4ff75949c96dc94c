"""What becomes of a request at the door: the words, what each is answered, and nothing else (DESIGN.md 3).

The same words are the kinds of the counters, so that what happened at the door can be counted and shown.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec

Verdict = Literal[
    "stored",
    "duplicate",
    "unparsable",
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
]


class ResponseContent(msgspec.Struct, frozen=True):
    """The HTTP status of a verdict and the line of text that goes with it."""

    status: int
    text: str


# One text for all four: a stranger must not learn which serial numbers are declared.
_UNAUTHORIZED = ResponseContent(401, "not signed by a registered PBX")

RESPONSES_BY_VERDICT: Mapping[Verdict, ResponseContent] = {
    # Signed by a declared PBX, and on disk.
    "stored": ResponseContent(200, "stored"),
    "duplicate": ResponseContent(200, "already stored"),
    "unparsable": ResponseContent(200, "stored, but it could not be parsed"),
    # Signed by a declared PBX, but no report of a call: counted by event type.
    "other_event": ResponseContent(200, "not stored: not a call end event"),
    "test_message": ResponseContent(200, "test message received"),
    # Signed by nobody whom we know.
    "unknown_pbx": _UNAUTHORIZED,
    "missing_signature": _UNAUTHORIZED,
    "invalid_signature": _UNAUTHORIZED,
    "unexpected_source": _UNAUTHORIZED,
    "not_an_event": ResponseContent(400, "not a call event"),
    # No request that could say anything.
    "too_large": ResponseContent(413, "the body is larger than 256 KiB"),
    "header_too_large": ResponseContent(431, "the header is too large"),
    "bad_request": ResponseContent(400, "this is not HTTP"),
    "too_slow": ResponseContent(408, "the request took too long to arrive"),
    "wrong_method": ResponseContent(405, "use POST"),
    # Not now: the PBX tries again.
    "too_many": ResponseContent(503, "too many connections or events, try again"),
    "unavailable": ResponseContent(503, "the ledger cannot be written now, try again"),
}
