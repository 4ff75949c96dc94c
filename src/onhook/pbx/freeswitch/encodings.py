"""Encodings in which mod_json_cdr, mod_xml_cdr and mod_format_cdr send a document (freeswitch.md 2). Pure.

Invariants: the bytes decide, never a content type. Nothing is guessed: a document that its encoder has broken beyond
repair is a `ParseError` that names the setting to change.
"""

import base64
import binascii
import codecs
import re
from typing import Any
from urllib.parse import unquote_to_bytes

import msgspec

from onhook.lib.errors import ParseError
from onhook.lib.messages import _
from onhook.pbx.freeswitch.event_document import EVENT_NAME
from onhook.pbx.json_fields import decode_json, parse_error

FIELD = b"cdr="
"""Name of the field of a form, in front of an encoded document."""

BLANKS = b"\xef\xbb\xbf \t\r\n"
_BASE64 = re.compile(rb"[A-Za-z0-9+/\s]+={0,2}\s*")
_BASE64_BEGINS = (b"eyJjb3JlLXV1aWQi", b"PD94bWwg")
"""Begins of documents, `{"core-uuid"` and `<?xml `: a file has no field in front of them."""

_MEMBERS = (b'"variables"', b'"callflow"', b'"channel_data"')
"""Members of each JSON document; a damaged one lacks one of them."""

_EVENT = f'"{EVENT_NAME}"'.encode()

_PERCENT = re.compile(r"%[0-9A-Fa-f]{2}")
_ESCAPED_ALWAYS = re.compile(r"[ :@]")
"""Characters that `encode-values` always escapes, and of which each document has some: its stamps contain both."""

_strict_decoder = msgspec.json.Decoder()


def looks_like_document(body: bytes) -> bool:
    """Return whether a body seems to contain a document, readable or not."""
    text = body.lstrip(BLANKS)
    return (
        text.startswith((FIELD, b"<cdr", b"%7B%22", b"%3C", *_BASE64_BEGINS))
        or (text.startswith(b"<?xml") and b"<cdr" in text[:200])
        or (text.startswith(b"{") and (sum(name in text for name in _MEMBERS) > 1 or _EVENT in text[:100]))
    )


def unwrap(body: bytes) -> bytes:
    """Return the JSON or XML of a document without the field of a form, percent or base64 encoding around it; of a file
    too, which has the encoded text alone. Raises `ParseError` for anything else.
    """
    text = body.strip(BLANKS).removeprefix(FIELD)
    if not is_plain(text):
        text = _decode_percent(text) if text.startswith(b"%") else _decode_base64(text)
    if not is_plain(text):
        raise parse_error(_("the body is no document of FreeSWITCH: neither JSON nor XML, a form or Base64"))
    return text


def is_plain(text: bytes) -> bool:
    """Return whether a text begins as JSON or XML."""
    return text.startswith((b"{", b"<"))


def _decode_percent(text: bytes) -> bytes:
    decoded = unquote_to_bytes(text)
    if decoded.startswith(b"{"):
        try:
            _strict_decoder.decode(decoded)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise ParseError(
                _("FreeSWITCH older than PR 3152 sends a document with encode=true that is no JSON"),
                hint=_("set `encode` to false or base64 in json_cdr.conf.xml"),
            ) from None
    return decoded


def _decode_base64(text: bytes) -> bytes:
    if not _BASE64.fullmatch(text):
        return b""
    try:
        return base64.b64decode(text)
    except binascii.Error:
        return b""


def decode_members(text: bytes) -> dict[str, Any]:
    """Return the members of a JSON document. Raises `ParseError`."""
    members = decode_json(text)
    if not isinstance(members, dict):
        raise parse_error(_("the document is not a JSON object"))
    return members


def decode_values(values: dict[str, str]) -> dict[str, str]:
    """Return the values of variables without the encoding of `encode-values`, once: its encoder leaves `%25` in a value
    alone, so that a second time would decode what was sent. Values without the encoding are returned as they are.
    """
    is_encoded = any(map(_PERCENT.search, values.values())) and not any(map(_ESCAPED_ALWAYS.search, values.values()))
    return {name: decode_value(value) for name, value in values.items()} if is_encoded else values


def decode_value(value: str) -> str:
    """Return an encoded value. The encoder of mod_json_cdr loses the last byte of a value of escaped bytes alone, so an
    incomplete character at the end is left out.

    >>> decode_value("%E5%BC%A0%E4%B8"), decode_value("100%25")
    ('张', '100%')
    """
    if "%" not in value:
        return value
    return codecs.getincrementaldecoder("utf-8")("replace").decode(unquote_to_bytes(value))
