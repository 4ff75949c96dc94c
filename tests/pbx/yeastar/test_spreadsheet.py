"""What a spreadsheet leaves in the ids of a file."""

from collections.abc import Sequence

import pytest

from onhook.pbx.yeastar.spreadsheet import RoundingEvidence


@pytest.mark.parametrize(
    ("uids", "is_rounded"),
    [
        (["2026112803514012345"], False),
        (["2026112803514012000", "2026112803514112000"], True),
        ([f"20261128035140{number}0" for number in range(1111, 1120)], True),
        ([*(f"20261128035140{number}0" for number in range(1111, 1120)), "2026112803514012345"], False),
        (["2.02611E+18"], True),
    ],
)
def test_ids_that_all_end_in_zeros_are_rounded(uids: Sequence[str], is_rounded: bool) -> None:
    """Together they must have more zeros than chance gives."""
    evidence = RoundingEvidence()
    for uid in uids:
        evidence.add({"uid": uid}, "2026-11-28 03:51:40")
    assert evidence.is_rounded is is_rounded
