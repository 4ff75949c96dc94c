"""What an erasure changes, and how far it is."""

import msgspec
import pytest

from onhook.cdr.erasure_types import Erasure, ErasureCounts

COUNTS = {
    "calls": 1,
    "raw_events": 2,
    "notes": 3,
    "recordings": 4,
    "deliveries": 5,
    "saved_searches": 6,
    "share_tokens": 7,
    "audit_entries": 8,
}


def test_counts_of_kinds_that_are_not_given_are_zero() -> None:
    counts = msgspec.convert(COUNTS, ErasureCounts)
    later_counts = (counts.directory_entries, counts.saved_questions, counts.past_queries, counts.logged_attempts)
    assert (later_counts, counts.settings) == ((0, 0, 0, 0), ())


def test_state_of_an_erasure_is_one_of_three() -> None:
    erasure = {"seq": 1, "calls": 2}
    states = ("erasing", "rewritten", "finished")
    assert [msgspec.convert(erasure | {"state": state}, Erasure).state for state in states] == list(states)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(erasure | {"state": "begun"}, Erasure)
