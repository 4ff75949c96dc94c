"""What becomes of a request at the door: the words, what each is answered, and nothing else (DESIGN.md 3).

The same words are the `what` of the tallies, so that what happened at the door can be counted and shown.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec

Verdict = Literal[
    "kept",
    "repeat",
    "unreadable",
    "other_event",
    "test",
    "unknown_sn",
    "no_signature",
    "wrong_signature",
    "wrong_place",
    "not_a_report",
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
_UNAUTHORIZED = ResponseContent(401, "not signed by a PBX that is declared here")

RESPONSES_BY_VERDICT: Mapping[Verdict, ResponseContent] = {
    # Signed by a declared PBX, and on disk.
    "kept": ResponseContent(200, "kept"),
    "repeat": ResponseContent(200, "kept already"),
    "unreadable": ResponseContent(200, "kept, though it cannot be read yet"),
    # Signed by a declared PBX, but no report of a call: counted by event type.
    "other_event": ResponseContent(200, "not kept: no end of a call"),
    "test": ResponseContent(200, "the test arrived"),
    # Signed by nobody whom we know.
    "unknown_sn": _UNAUTHORIZED,
    "no_signature": _UNAUTHORIZED,
    "wrong_signature": _UNAUTHORIZED,
    "wrong_place": _UNAUTHORIZED,
    "not_a_report": ResponseContent(400, "this is no report of a call"),
    # No request that could say anything.
    "too_large": ResponseContent(413, "the body is larger than 256 KiB"),
    "header_too_large": ResponseContent(431, "the header is too large"),
    "bad_request": ResponseContent(400, "this is not HTTP"),
    "too_slow": ResponseContent(408, "the request took too long to arrive"),
    "wrong_method": ResponseContent(405, "send reports by POST"),
    # Not now: the PBX tries again.
    "too_many": ResponseContent(503, "too many connections or reports at once, try again"),
    "unavailable": ResponseContent(503, "the ledger cannot be written now, try again"),
}
