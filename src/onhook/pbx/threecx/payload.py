"""The dialect of 3CX: a line of values for each call, by a connection or in files; of version 20 also the segments of a
call in its reports (lines.md).

The order of the fields is set in the console of each 3CX; without a declared one it is that of a 3CX whose fields were
not changed.
"""

from collections.abc import Sequence

from onhook.cdr.call_details import CallDetails
from onhook.lib.errors import ParseError, UsageError
from onhook.lib.messages import _
from onhook.pbx.dialect import Envelope, LineDialect, OrderedDialect
from onhook.pbx.json_fields import compute_body_key
from onhook.pbx.lines import compute_line_key, is_call_line
from onhook.pbx.threecx.details import build_details
from onhook.pbx.threecx.fields import PREFIX, read_values
from onhook.pbx.threecx.report import build_report_details, compute_report_key, looks_like_report, read_segments
from onhook.pbx.threecx.writing import GENERATIONS, format_line

LABEL, REPORT_LABEL = "line", "report"


class ThreeCx(LineDialect, OrderedDialect):
    """The dialect of 3CX, versions 18 and 20."""

    name = "3cx"

    def is_line(self, line: bytes) -> bool:
        """Return whether bytes seem to be a line of such a PBX, and not of another program."""
        return is_call_line(line)

    def peek(self, body: bytes) -> Envelope:
        """Classify a line, or the segments of a call. Which fields a line has is not read: their order is a setting."""
        if looks_like_report(body):
            return _peek_report(body)
        if not (body.startswith(PREFIX.encode()) and is_call_line(body.rstrip())):
            return Envelope("not_json", "", LABEL, compute_body_key(body))
        return Envelope("details", "", LABEL, compute_line_key(body))

    def parse(self, body: bytes) -> list[CallDetails]:
        """Return the call details of a line of a 3CX whose fields were not changed. Raises `ParseError`."""
        return self.parse_in_order(body, ())

    def parse_in_order(self, body: bytes, order: Sequence[str]) -> list[CallDetails]:
        """Return the call details of a line with fields in this order; see `parse_order`. Raises `ParseError`."""
        if looks_like_report(body):
            return build_report_details(read_segments(body))
        return [build_details(read_values(body, order))]

    def format(self, details: CallDetails, sn: str, payload_format: str) -> bytes:
        """Return the line about these details as a generation of 3CX writes it. Raises `UsageError` for an unknown
        payload format.
        """
        if payload_format not in GENERATIONS:
            raise UsageError(
                _("unknown payload format {name!r}", name=payload_format),
                hint=_("use one of {choices}", choices=", ".join(GENERATIONS)),
            )
        return format_line(details, GENERATIONS[payload_format])


def _peek_report(body: bytes) -> Envelope:
    """Classify the segments of a call. The key is equal for the same segments."""
    try:
        return Envelope("details", "", REPORT_LABEL, compute_report_key(read_segments(body)))
    except ParseError:
        return Envelope("unparsable", "", REPORT_LABEL, compute_body_key(body))
