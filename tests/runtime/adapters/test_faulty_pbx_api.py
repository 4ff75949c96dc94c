"""Faults around the PBX API: how many events a silent socket has received. tests/runtime/test_simulated_pbx.py tests
every fault on a listening PBX.
"""

import pytest

from onhook.pbx_api.sockets import text_frame
from onhook.runtime.adapters.faulty_pbx_api import count_frames


@pytest.mark.parametrize("lengths", [[], [0], [125], [126], [65_535], [65_536], [300, 0, 125, 70_000, 126]])
def test_count_frames_returns_the_number_of_messages(lengths: list[int]) -> None:
    """However long they are."""
    assert count_frames(b"".join(text_frame(b"\x81" * length) for length in lengths)) == len(lengths)
