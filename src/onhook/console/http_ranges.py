"""Parsing of the header `Range` (RFC 9110, 14)."""

import re

import msgspec

_SINGLE_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


class ByteRange(msgspec.Struct, frozen=True):
    """Bytes of a file, from `begin` to before `end`."""

    begin: int
    end: int


class RangeNotSatisfiable(Exception):
    """The file ends before the requested bytes: 416."""


def parse_byte_range(header: str, size: int) -> ByteRange | None:
    """Return the requested range; None for the whole file: without a range, and for one that may be ignored, such as
    several at once. Raises `RangeNotSatisfiable`.

    >>> parse_byte_range("bytes=-100", 1000), parse_byte_range("bytes=0-", 1000)
    (ByteRange(begin=900, end=1000), ByteRange(begin=0, end=1000))
    >>> parse_byte_range("bytes=1-2,5-6", 1000) is None
    True
    """
    match = _SINGLE_RANGE.fullmatch(header.strip())
    if not match or not (match[1] or match[2]) or (match[1] and match[2] and int(match[2]) < int(match[1])):
        return None
    if not match[1]:
        begin, end = max(0, size - int(match[2])), size
    else:
        begin, end = int(match[1]), min(size, int(match[2]) + 1) if match[2] else size
    if begin >= end:
        raise RangeNotSatisfiable
    return ByteRange(begin, end)
