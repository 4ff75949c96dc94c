"""What may be wrong with a house."""

import pytest

from onhook.hub.examination import findings_of_calls


@pytest.mark.parametrize(("behind", "grade"), [(-1, "wrong"), (0, "right"), (1_000, "right"), (1_001, "look")])
def test_the_store_is_compared_with_its_ledger(behind: int, grade: str) -> None:
    """Ahead is wrong: it stands for reports that its ledger has not."""
    first = next(findings_of_calls(behind, has_quarantined=False, tallies=()))
    assert first.grade == grade
    if behind < 0:
        assert first.what == "the store is 1 reports ahead of its ledger"
        assert "onhook rebuild" in first.todo
