"""Calls of PBXs that report each leg by itself: the documents of the legs of one call, joined, as Onhook stores them.

Invariants: a joined event has all documents that it is made of, so that no other event is needed to read it. One with
more documents about a call names those that it replaces.
"""

from collections.abc import Mapping, Sequence

import msgspec

from onhook.cdr.call_details import CallDetails
from onhook.lib.errors import ParseError, UsageError
from onhook.lib.messages import _
from onhook.pbx.dialect import Dialects, Envelope, LegDialect
from onhook.pbx.json_fields import compute_body_key
from onhook.pbx.text_encoding import recode_body

DIALECT = "joined_legs"
"""The name in the ledger. No PBX has this dialect, and nothing is received in it."""

VERSION = 1


class JoinedLeg(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The document about one leg, and the number of its raw event; as `data` where it is not UTF-8."""

    seq: int
    text: str = ""
    data: bytes = b""

    @property
    def body(self) -> bytes:
        """Return the bytes that the PBX sent."""
        return self.data or self.text.encode()


class JoinedLegs(msgspec.Struct, frozen=True, kw_only=True):
    """The body of a joined event. `dialect` is that of the documents; `replaced_seqs` are the numbers of joined events
    that were made of fewer legs of the call.
    """

    version: int = VERSION
    dialect: str
    replaced_seqs: tuple[int, ...] = ()
    legs: tuple[JoinedLeg, ...]

    @property
    def seqs(self) -> frozenset[int]:
        """Return the numbers of the raw events of the legs."""
        return frozenset(leg.seq for leg in self.legs)


_DECODER = msgspec.json.Decoder(JoinedLegs)


def join_bodies(dialect: str, bodies: Mapping[int, bytes], replaced_seqs: Sequence[int]) -> bytes:
    """Return the body of a joined event of the documents with these numbers."""
    legs = tuple(_to_joined_leg(seq, body) for seq, body in sorted(bodies.items()))
    return msgspec.json.encode(JoinedLegs(dialect=dialect, replaced_seqs=tuple(sorted(replaced_seqs)), legs=legs))


def decode_joined(body: bytes) -> JoinedLegs:
    """Return the documents of a joined event. Raises `ParseError`."""
    try:
        joined = _DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _unreadable_error(str(error)) from error
    if joined.version != VERSION:
        raise _unreadable_error(_("version {version}", version=joined.version))
    return joined


def recode_joined(body: bytes, encoding: str) -> bytes:
    """Return the body of a joined event with its documents in UTF-8; see `recode_body`. Raises `ParseError`."""
    if not encoding:
        return body
    joined = decode_joined(body)
    legs = tuple(_to_joined_leg(leg.seq, recode_body(leg.body, encoding)) for leg in joined.legs)
    return msgspec.json.encode(msgspec.structs.replace(joined, legs=legs))


class JoinedLegsDialect:
    """See `pbx.dialect.Dialect`. `dialects` are those of PBXs."""

    name = DIALECT

    def __init__(self, dialects: Dialects) -> None:
        self._dialects: Mapping[str, LegDialect] = {
            name: dialect for name, dialect in dialects.items() if isinstance(dialect, LegDialect)
        }

    def peek(self, body: bytes) -> Envelope:
        return Envelope("details", "", DIALECT, compute_body_key(body))

    def parse(self, body: bytes) -> Sequence[CallDetails]:
        """Return the call details of all legs. Raises `ParseError`, and `KeyError` for an unknown dialect."""
        joined = decode_joined(body)
        return self._dialects[joined.dialect].parse_legs([leg.body for leg in joined.legs])

    def format(self, details: CallDetails, sn: str, payload_format: str) -> bytes:
        raise UsageError(
            _("no PBX sends events in the form {name}", name=repr(DIALECT)), hint=_("use the dialect of a PBX")
        )


def _to_joined_leg(seq: int, body: bytes) -> JoinedLeg:
    try:
        return JoinedLeg(seq=seq, text=body.decode())
    except UnicodeDecodeError:
        return JoinedLeg(seq=seq, data=body)


def _unreadable_error(reason: str) -> ParseError:
    return ParseError(
        _("the joined legs of a call cannot be read: {reason}", reason=reason),
        hint=_("upgrade Onhook, or keep this event"),
    )
