"""Bodies of PBXs that do not write UTF-8. Of its own, because every dialect has the same need. Pure.

Text on its way to the ledger is escaped text: bytes that are no UTF-8 are lone surrogates in it, as by Python's
`surrogateescape`, so that the ledger gets the bytes that the PBX sent.
"""

import re

from onhook.pbx.envelopes import unpack

_OTHER_SURROGATES = re.compile("[\ud800-\udc7f\udd00-\udfff]")
"""Those that stand for no byte: a JSON text may have them."""


def escape_bytes(data: bytes) -> str:
    """Return bytes as escaped text."""
    return data.decode("utf-8", "surrogateescape")


def unescape_bytes(text: str) -> bytes:
    """Return the bytes of escaped text.

    >>> unescape_bytes(escape_bytes("王<1001>".encode("gbk"))).decode("gbk")
    '王<1001>'
    """
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return _OTHER_SURROGATES.sub("\ufffd", text).encode("utf-8", "surrogateescape")


def clean_text(text: str) -> str:
    """Return escaped text with a replacement character for each byte that is no UTF-8, as for people and for JSON."""
    return text if text.isascii() else unescape_bytes(text).decode("utf-8", "replace")


def recode_body(body: bytes, encoding: str) -> bytes:
    """Return a body in UTF-8, without its compression; one that is UTF-8 already, or has no other encoding, is
    unchanged.

    >>> recode_body("王<1001>".encode("gbk"), "gbk").decode()
    '王<1001>'
    """
    if not encoding:
        return body
    body = unpack(body)
    try:
        body.decode()
    except UnicodeDecodeError:
        return body.decode(encoding, "replace").encode()
    return body
