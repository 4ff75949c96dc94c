"""How far a stream is settled."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from onhook.delivery.ack_window import AckWindow


def test_nothing_under_way_is_settled_as_far_as_it_was_read() -> None:
    """Also past numbers of which nothing was wanted."""
    window = AckWindow(7)
    assert (window.acknowledged_to, len(window)) == (7, 0)
    window.read_to = 12
    assert window.acknowledged_to == 12


def test_a_report_of_two_records_ends_with_the_second() -> None:
    """Its number counts as under way until then."""
    window = AckWindow(0)
    window.begin(3)
    window.begin(3)
    window.read_to = 5
    window.end(3)
    assert window.acknowledged_to == 2
    window.end(3)
    assert window.acknowledged_to == 5


@given(st.sets(st.integers(1, 40)), st.randoms())
def test_it_never_passes_what_is_under_way(seqs: set[int], chance: Random) -> None:
    """However the ends come."""
    window = AckWindow(0)
    for seq in sorted(seqs):
        window.begin(seq)
    window.read_to = 40
    left = sorted(seqs)
    while left:
        assert window.acknowledged_to == left[0] - 1
        seq = chance.choice(left)
        left.remove(seq)
        window.end(seq)
    assert window.acknowledged_to == 40
