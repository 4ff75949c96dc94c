"""Masks of WebSocket frames."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from onhook.pbx_api.frame_masks import FRAMES_BURST, FRAMES_PER_SECOND, FrameBudget, FrameScanner

LENGTHS = st.one_of(st.integers(0, 140), st.sampled_from((125, 126, 127, 65_535, 65_536, 70_000)))


def frame(length: int, *, is_masked: bool) -> bytes:
    """Return a text frame with a payload of this length, whose bytes look like headers without a mask."""
    mask_bit = 0x80 if is_masked else 0
    if length < 126:
        header = bytes([0x81, mask_bit | length])
    elif length < 2**16:
        header = bytes([0x81, mask_bit | 126]) + length.to_bytes(2)
    else:
        header = bytes([0x81, mask_bit | 127]) + length.to_bytes(8)
    return header + (b"\x81\x01\x81\x01" if is_masked else b"") + b"\x81\x01" * (length // 2) + b"\x81" * (length % 2)


def scan(data: bytes, cuts: Sequence[int]) -> bool:
    """Return whether all frames have a mask, of bytes that arrive in parts."""
    scanner = FrameScanner()
    ends = sorted({min(cut, len(data)) for cut in cuts} | {len(data)})
    parts = [data[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]
    return all(scanner.are_masked(part) for part in parts)


@given(st.lists(LENGTHS, max_size=4), st.lists(st.integers(0, 300), max_size=6))
def test_frames_with_masks_are_accepted_however_they_arrive(lengths: Sequence[int], cuts: Sequence[int]) -> None:
    assert scan(b"".join(frame(length, is_masked=True) for length in lengths), cuts)


@given(st.lists(LENGTHS, max_size=4), LENGTHS, st.lists(st.integers(0, 300), max_size=6))
def test_a_frame_without_a_mask_is_found_however_it_arrives(
    lengths: Sequence[int], length: int, cuts: Sequence[int]
) -> None:
    masked = b"".join(frame(masked_length, is_masked=True) for masked_length in lengths)
    assert not scan(masked + frame(length, is_masked=False), cuts)


def test_frames_of_all_kinds_are_counted_together() -> None:
    """Parts of a message, pings and pongs; the first bytes beyond the limit are not looked at."""
    kinds = [b"\x01\x80\0\0\0\0", b"\x80\x80\0\0\0\0", b"\x89\x80\0\0\0\0", b"\x8a\x80\0\0\0\0"]
    frames = [kinds[number % len(kinds)] for number in range(FRAMES_BURST)]
    scanner = FrameScanner(FrameBudget(lambda: 0.0))
    assert scanner.are_masked(b"".join(frames))
    assert not scanner.is_flooded
    assert scanner.are_masked(kinds[0] + b"\x81\x00")
    assert scanner.is_flooded


def test_frame_budget_is_refilled_with_time() -> None:
    seconds = 0.0
    budget = FrameBudget(lambda: seconds)
    assert all(budget.spend() for _ in range(FRAMES_BURST))
    assert not budget.spend()
    seconds += 2 / FRAMES_PER_SECOND
    assert [budget.spend(), budget.spend()] == [True, False]
    seconds += 3_600
    assert [budget.spend() for _ in range(FRAMES_BURST + 1)] == [True] * FRAMES_BURST + [False]
