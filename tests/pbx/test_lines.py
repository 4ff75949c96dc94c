"""Lines of PBXs: their framing, keys and values."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onhook.lib.errors import ParseError
from onhook.pbx.lines import (
    LINE_BYTES_MAX,
    LineSplitter,
    compute_line_key,
    is_call_line,
    parse_clock_duration,
    parse_time,
    split_values,
)

TIME = b"2024/06/17 05:59:49"


def test_compute_line_key_begins_with_the_first_time() -> None:
    key = compute_line_key(b"Call 1," + TIME + b",2024/06/18 00:00:00")
    assert key[:4] == (1_718_603_989).to_bytes(4)
    assert compute_line_key(b"\x00Call 1," + TIME + b",2024/06/18 00:00:00\r\n") == key
    assert compute_line_key(b"Call 2," + TIME)[4:] != key[4:]


@pytest.mark.parametrize("line", [b"", b"a,b", b"9999/99/99 99:99:99,", b"1970/01/01 00:00:00"])
def test_compute_line_key_without_a_time_is_that_of_its_bytes(line: bytes) -> None:
    key = compute_line_key(line)
    assert (key[:4], len(key)) == (bytes(4), 16)


def test_is_call_line_is_text_with_commas() -> None:
    line = b"Call 1," + TIME + b"," * 8
    assert is_call_line(line)
    assert not is_call_line(line.replace(b"Call", b"\x16\x03\x01"))
    assert not is_call_line(b"Accept: */*")


def test_line_after_a_byte_order_mark_is_the_same_line() -> None:
    """That of a file: the line is the one that came over a connection."""
    line = b"Call 1," + TIME + b"," * 8
    marked_line = "\ufeff".encode() + line + b"\r\n"
    assert LineSplitter().feed(marked_line) == [line]
    assert compute_line_key(marked_line) == compute_line_key(line)
    assert split_values(marked_line) == split_values(line)


def test_split_values_of_another_encoding_are_replaced() -> None:
    assert split_values("Call 1,Jörg".encode()) == ["Call 1", "Jörg"]
    assert split_values(b"Call 1,J\xf6rg\r\n") == ["Call 1", "J\ufffdrg"]


@pytest.mark.parametrize(("text", "seconds"), [(" 1:02:03 ", 3723), ("00:61:00", None), ("5 s", None)])
def test_parse_clock_duration_of_other_texts_is_none(text: str, seconds: int | None) -> None:
    assert parse_clock_duration(text) == seconds


def test_parse_time_of_another_text_names_the_field() -> None:
    with pytest.raises(ParseError, match="time-start is no time: '04/05/2026'"):
        parse_time("04/05/2026", "time-start")


@given(st.lists(st.integers(1, 3 * LINE_BYTES_MAX), max_size=6).map(sorted))
def test_line_that_is_too_long_is_left_out_whole_however_it_is_cut(places: list[int]) -> None:
    stream = b"first\r\n" + b"x" * LINE_BYTES_MAX + b"yy\nsecond\n" + b"z" * (LINE_BYTES_MAX + 1)
    splitter = LineSplitter()
    lines: list[bytes] = []
    for begin, end in pairwise([0, *places, len(stream)]):
        lines += splitter.feed(stream[begin:end])
    assert (lines, splitter.flush()) == ([b"first", b"second"], [])
    assert (splitter.overlong_count, splitter.is_in_overlong_line) == (2, True)


def test_line_splitter_without_text_after_the_last_end_has_no_partial_line() -> None:
    splitter = LineSplitter()
    assert splitter.feed(b"first\r\n\x00\r") == [b"first"]
    assert not splitter.has_partial_line
