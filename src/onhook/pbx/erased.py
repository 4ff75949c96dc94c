"""What is left of raw events from which a number was erased: the details of their calls, as Onhook writes them itself.

Invariant: a body is plain ASCII, so that it is read in the same way in each encoding of a PBX.
"""

import json
from collections.abc import Sequence
from typing import Any

import msgspec

from onhook.cdr.call_details import CallDetails
from onhook.lib.errors import ParseError, UsageError
from onhook.lib.messages import _
from onhook.pbx.dialect import Envelope

DIALECT = "erased"
"""The name in the ledger. No PBX has this dialect, and nothing is received in it."""

_KEY = bytes(16)


class ErasedBody(msgspec.Struct, frozen=True, kw_only=True):
    """The body of such an event: the serial number in the body of before, and the details of each leg."""

    sn: str = ""
    legs: tuple[CallDetails, ...] = ()


_DECODER = msgspec.json.Decoder(ErasedBody)


class ErasedDialect:
    """See `pbx.dialect.Dialect`."""

    name = DIALECT

    def peek(self, body: bytes) -> Envelope:
        try:
            return Envelope("details", _DECODER.decode(body).sn, DIALECT, _KEY)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return Envelope("unparsable", "", DIALECT, _KEY)

    def parse(self, body: bytes) -> Sequence[CallDetails]:
        """Return the details. A body without any is one of which nothing is left."""
        try:
            return _DECODER.decode(body).legs
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ParseError(
                _("an erased event cannot be read: {error}", error=error), hint=_("upgrade Onhook, or keep this event")
            ) from error

    def format(self, details: CallDetails, sn: str, payload_format: str) -> bytes:
        raise UsageError(
            _("no PBX sends events in the form {name}", name=repr(DIALECT)), hint=_("use the dialect of a PBX")
        )


def format_erased(sn: str, legs: Sequence[CallDetails]) -> bytes:
    """Return the body with these legs."""
    body: Any = msgspec.to_builtins(ErasedBody(sn=sn, legs=tuple(legs)))
    return json.dumps(body, separators=(",", ":")).encode()
