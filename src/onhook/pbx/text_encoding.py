"""Bodies of PBXs that do not write UTF-8. Of its own, because every dialect has the same need. Pure."""

from onhook.pbx.envelopes import unpack


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
