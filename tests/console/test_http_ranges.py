"""The header `Range`."""

import pytest

from onhook.console.http_ranges import ByteRange, RangeNotSatisfiable, parse_byte_range


@pytest.mark.parametrize(
    ("header", "meant"),
    [
        ("bytes=0-", (0, 1000)),
        ("bytes=0-0", (0, 1)),
        ("bytes=999-", (999, 1000)),
        ("bytes=500-9999", (500, 1000)),
        ("bytes=-1", (999, 1000)),
        ("bytes=-5000", (0, 1000)),
        ("", None),
        ("bytes=-", None),
        ("bytes=5-2", None),
        ("bytes=0-1,4-5", None),
        ("bytes=a-b", None),
        ("lines=0-1", None),
        ("bytes=" + "9" * 40 + "-", None),
    ],
)
def test_parse_byte_range_reads_one_range(header: str, meant: tuple[int, int] | None) -> None:
    """Anything else means the whole file (RFC 9110, 14.2)."""
    assert parse_byte_range(header, 1000) == (None if meant is None else ByteRange(*meant))


@pytest.mark.parametrize(("header", "size"), [("bytes=1000-", 1000), ("bytes=-0", 1000), ("bytes=0-", 0)])
def test_parse_byte_range_past_the_end_is_rejected(header: str, size: int) -> None:
    with pytest.raises(RangeNotSatisfiable):
        parse_byte_range(header, size)
