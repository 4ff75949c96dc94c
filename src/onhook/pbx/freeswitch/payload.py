"""The dialect of FreeSWITCH: a document per leg, a call from several of them (freeswitch.md).

A leg is a raw event. `read_links` says which others belong to its call, `parse_legs` returns the call details of all of
them together; `parse` is the same for a leg alone. What they return for more legs of a call replaces what they returned
for fewer, also under another `call_id`.
"""

import hashlib
from collections.abc import Sequence

from onhook.cdr.call_details import CallDetails
from onhook.cdr.leg_joining import LegLinks
from onhook.lib.errors import ParseError, UsageError
from onhook.lib.messages import _
from onhook.pbx.dialect import Envelope, LegDialect
from onhook.pbx.freeswitch.details import build_details
from onhook.pbx.freeswitch.documents import MICROSECONDS
from onhook.pbx.freeswitch.encodings import looks_like_document
from onhook.pbx.freeswitch.leg import read_leg
from onhook.pbx.freeswitch.writing import PAYLOAD_FORMATS, format_legs
from onhook.pbx.json_fields import compute_body_key, parse_error

LABEL = "leg"

LEGS_MAX = 1_000
"""Legs of one call: a queue that rings twenty agents for an hour has some hundreds."""


class FreeSwitch(LegDialect):
    """The dialect of FreeSWITCH and FusionPBX."""

    name = "freeswitch"

    def recognizes(self, body: bytes) -> bool:
        """Return whether a body seems to contain a document."""
        return looks_like_document(body)

    def peek(self, body: bytes) -> Envelope:
        """Classify a body. The key is equal for all documents about one leg, in whichever encoding."""
        if not looks_like_document(body):
            return Envelope("not_json", "", LABEL, compute_body_key(body))
        try:
            leg = read_leg(body)
        except ParseError:
            return Envelope("unparsable", "", LABEL, compute_body_key(body))
        key = (leg.start // MICROSECONDS).to_bytes(4) + hashlib.sha256(leg.leg_id.encode()).digest()[:12]
        return Envelope("details", "", LABEL, key)

    def read_links(self, body: bytes) -> LegLinks:
        """Return what the leg in a body says about others. Raises `ParseError`."""
        return read_leg(body).links

    def parse(self, body: bytes) -> list[CallDetails]:
        """Return the call details of a leg alone. Raises `ParseError` with the reason."""
        return self.parse_legs([body])

    def parse_legs(self, bodies: Sequence[bytes]) -> list[CallDetails]:
        """Return the call details of the legs of one call, in any order, with any repeats. Raises `ParseError`."""
        if len(bodies) > LEGS_MAX:
            raise parse_error(_("the call has more than {limit} legs", limit=LEGS_MAX))
        return build_details([read_leg(body) for body in bodies])

    def format(self, details: CallDetails, sn: str, payload_format: str) -> bytes:
        """Return the document about one of the two legs of these details; `format_legs` returns all of a call. Raises
        `UsageError` for an unknown payload format.
        """
        if payload_format not in PAYLOAD_FORMATS:
            raise UsageError(
                _("unknown payload format {name!r}", name=payload_format),
                hint=_("use one of {choices}", choices=", ".join(PAYLOAD_FORMATS)),
            )
        encoding, leg_name = PAYLOAD_FORMATS[payload_format]
        bodies = format_legs([details], sn, encoding)
        return bodies[-1] if leg_name == "a" else bodies[0]
