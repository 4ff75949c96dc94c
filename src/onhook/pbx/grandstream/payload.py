"""The dialect of Grandstream UCM: its real-time output by HTTP, and what its cdrapi returns (grandstream.md).

A body has rows of call details records. The rows of one session are a call, in however many bodies they come, so a body
is a leg: the call is made of all of them.
"""

import hashlib
from collections.abc import Sequence
from datetime import UTC

import msgspec

from onhook.cdr.call_details import CallDetails
from onhook.cdr.leg_joining import LegLinks
from onhook.lib.errors import ParseError, UsageError
from onhook.lib.messages import _
from onhook.pbx.dialect import Envelope, LegDialect
from onhook.pbx.grandstream.details import build_details
from onhook.pbx.grandstream.records import looks_like_rows, read_rows
from onhook.pbx.grandstream.writing import PAYLOAD_FORMATS, format_row
from onhook.pbx.json_fields import compute_body_key

LABEL = "cdr"


class Grandstream(LegDialect):
    """The dialect of Grandstream UCM."""

    name = "grandstream"

    def recognizes(self, body: bytes) -> bool:
        """Return whether a body seems to contain rows."""
        return looks_like_rows(body)

    def peek(self, body: bytes) -> Envelope:
        """Classify a body. The key is equal for the same rows, as JSON or as XML."""
        if not looks_like_rows(body):
            return Envelope("not_json", "", LABEL, compute_body_key(body))
        try:
            rows = read_rows(body)
        except ParseError:
            return Envelope("unparsable", "", LABEL, compute_body_key(body))
        digest = hashlib.sha256(msgspec.json.encode([row.members for row in rows], order="deterministic")).digest()
        stamp = int(min(row.start for row in rows).replace(tzinfo=UTC).timestamp()).to_bytes(4)
        return Envelope("details", "", LABEL, stamp + digest[:12])

    def read_links(self, body: bytes) -> LegLinks:
        """Return the sessions of the rows in a body. Raises `ParseError`."""
        rows = read_rows(body)
        first = min(rows, key=lambda row: (row.session, row.row_id))
        return LegLinks(leg_id=f"{first.session}/{first.row_id}", linked_ids=frozenset(row.session for row in rows))

    def parse(self, body: bytes) -> list[CallDetails]:
        """Return the call details of the rows in a body alone. Raises `ParseError`."""
        return self.parse_legs([body])

    def parse_legs(self, bodies: Sequence[bytes]) -> list[CallDetails]:
        """Return the call details of the rows of one call, in any order, with any repeats. Raises `ParseError`."""
        return build_details([row for body in bodies for row in read_rows(body)])

    def format(self, details: CallDetails, sn: str, payload_format: str) -> bytes:
        """Return the body with the row of these details. Raises `UsageError` for an unknown payload format."""
        if payload_format not in PAYLOAD_FORMATS:
            raise UsageError(
                _("unknown payload format {name!r}", name=payload_format),
                hint=_("use one of {choices}", choices=", ".join(PAYLOAD_FORMATS)),
            )
        return format_row(details, sn, payload_format)
