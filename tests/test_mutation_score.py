"""The score of the mutation tests."""

import pytest

from tools.mutation_score import read_score

STATS = '{{"killed": {killed}, "timeout": 0, "total": {total}, "check_was_interrupted_by_user": {interrupted}}}'


def test_read_score_is_a_percentage() -> None:
    assert read_score(STATS.format(killed=17, total=20, interrupted=0)) == 85.0


@pytest.mark.parametrize(("total", "interrupted"), [(0, 0), (20, 1)])
def test_read_score_incomplete_run_raises(total: int, interrupted: int) -> None:
    with pytest.raises(ValueError, match="not complete"):
        read_score(STATS.format(killed=17, total=total, interrupted=interrupted))
