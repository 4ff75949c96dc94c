"""Which bytes of a file a player asks for: the header `Range` (RFC 9110, 14)."""

import re

import msgspec

_ONE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


class Stretch(msgspec.Struct, frozen=True):
    """Bytes of a file, from `begin` to before `end`."""

    begin: int
    end: int


class NoSuchStretch(Exception):
    """The file ends before the bytes that were asked for: 416."""


def stretch_of(header: str, size: int) -> Stretch | None:
    """What one range asks for of so many bytes; None for the whole: without a range, and for one that we may leave
    unread, such as several at once. Raises `NoSuchStretch`.

    >>> stretch_of("bytes=-100", 1000), stretch_of("bytes=0-", 1000), stretch_of("bytes=1-2,5-6", 1000)
    (Stretch(begin=900, end=1000), Stretch(begin=0, end=1000), None)
    """
    found = _ONE.fullmatch(header.strip())
    if not found or not (found[1] or found[2]) or (found[1] and found[2] and int(found[2]) < int(found[1])):
        return None
    if not found[1]:
        begin, end = max(0, size - int(found[2])), size
    else:
        begin, end = int(found[1]), min(size, int(found[2]) + 1) if found[2] else size
    if begin >= end:
        raise NoSuchStretch
    return Stretch(begin, end)
