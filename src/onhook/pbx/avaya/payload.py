"""The dialect of Avaya IP Office: a line of SMDR for each segment of a call, over a connection (lines.md).

A segment is a leg: the call is made of all of them, when the last one has come.
"""

from collections.abc import Sequence

from onhook.cdr.call_details import CallDetails
from onhook.cdr.leg_joining import LegLinks
from onhook.lib.errors import ParseError, UsageError
from onhook.lib.messages import _
from onhook.pbx.avaya.details import build_details
from onhook.pbx.avaya.segment import read_segment
from onhook.pbx.avaya.writing import PAYLOAD_FORMAT, format_line
from onhook.pbx.dialect import Envelope, LegDialect, LineDialect
from onhook.pbx.json_fields import compute_body_key
from onhook.pbx.lines import compute_line_key, is_call_line

LABEL = "segment"


class Avaya(LegDialect, LineDialect):
    """The dialect of Avaya IP Office."""

    name = "avaya"

    def is_line(self, line: bytes) -> bool:
        """Return whether bytes seem to be a line of such a PBX, and not of another program."""
        return is_call_line(line)

    def recognizes(self, body: bytes) -> bool:
        """Return False: a segment comes by a connection, and not as the body of a request."""
        return False

    def peek(self, body: bytes) -> Envelope:
        """Classify a line. The key is equal for exact repeats."""
        if not is_call_line(body.rstrip()):
            return Envelope("not_json", "", LABEL, compute_body_key(body))
        try:
            read_segment(body)
        except ParseError:
            return Envelope("unparsable", "", LABEL, compute_line_key(body))
        return Envelope("details", "", LABEL, compute_line_key(body))

    def read_links(self, body: bytes) -> LegLinks:
        """Return what the segment in a line says about others. Raises `ParseError`."""
        return read_segment(body).links

    def parse(self, body: bytes) -> list[CallDetails]:
        """Return the call details of a segment alone. Raises `ParseError`."""
        return self.parse_legs([body])

    def parse_legs(self, bodies: Sequence[bytes]) -> list[CallDetails]:
        """Return the call details of the segments of one call, with any repeats. Segments before the last one are in
        the order in which they came: their lines do not say it. Raises `ParseError`.
        """
        return build_details([read_segment(body) for body in bodies])

    def format(self, details: CallDetails, sn: str, payload_format: str) -> bytes:
        """Return the line of a call with these details alone. Raises `UsageError` for an unknown payload format."""
        if payload_format != PAYLOAD_FORMAT:
            raise UsageError(
                _("unknown payload format {name!r}", name=payload_format),
                hint=_("use {choice}", choice=PAYLOAD_FORMAT),
            )
        return format_line(details)
