"""The dialect of Cisco Unified Communications Manager: rows of its CDR files (cucm.md).

A row is a leg: the call is made of all rows that have a global call id or the id of a leg in common, so that a
transferred call is one. Nothing is sent to Onhook: the files are read from a folder.
"""

from collections.abc import Iterable, Sequence

from onhook.cdr.call_details import CallDetails
from onhook.cdr.leg_joining import LegLinks
from onhook.lib.errors import ParseError, UsageError
from onhook.lib.messages import _
from onhook.pbx.cucm.details import build_details
from onhook.pbx.cucm.rows import compute_rows_key, has_cdr_names, has_cmr_names, read_links, read_rows, split_rows
from onhook.pbx.cucm.writing import PAYLOAD_FORMAT, format_file
from onhook.pbx.dialect import Envelope, FileDialect, LegDialect
from onhook.pbx.json_fields import compute_body_key

LABEL = "cdr"


class Cucm(LegDialect, FileDialect):
    """The dialect of Cisco Unified Communications Manager."""

    name = "cucm"

    def is_file(self, content: bytes) -> bool:
        """Return whether the content of a file has rows of calls, or of their quality."""
        return has_cdr_names(content) or has_cmr_names(content)

    def split_file(self, content: bytes) -> Iterable[bytes]:
        """Return a body for each row of calls; a file about their quality has none."""
        return split_rows(content) if has_cdr_names(content) else ()

    def recognizes(self, body: bytes) -> bool:
        """Return False: a row comes from a file, and not as the body of a request."""
        return False

    def peek(self, body: bytes) -> Envelope:
        """Classify a body. The key is equal for the same values."""
        if not has_cdr_names(body):
            return Envelope("not_json", "", LABEL, compute_body_key(body))
        try:
            return Envelope("details", "", LABEL, compute_rows_key(read_rows(body)))
        except ParseError:
            return Envelope("unparsable", "", LABEL, compute_body_key(body))

    def read_links(self, body: bytes) -> LegLinks:
        """Return what the rows in a body say about others. Raises `ParseError`."""
        return read_links(body)

    def parse(self, body: bytes) -> list[CallDetails]:
        """Return the call details of the rows in a body alone. Raises `ParseError`."""
        return self.parse_legs([body])

    def parse_legs(self, bodies: Sequence[bytes]) -> list[CallDetails]:
        """Return the call details of the rows of one call, in any order, with any repeats. Raises `ParseError`."""
        return build_details([row for body in bodies for row in read_rows(body)])

    def format(self, details: CallDetails, sn: str, payload_format: str) -> bytes:
        """Return a file with the row of these details. Raises `UsageError` for an unknown payload format."""
        if payload_format != PAYLOAD_FORMAT:
            raise UsageError(
                _("unknown payload format {name!r}", name=payload_format),
                hint=_("use {choice}", choice=PAYLOAD_FORMAT),
            )
        return format_file(details)
