"""Acknowledged position of a stream."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from onhook.delivery.ack_window import AckWindow


def test_ack_window_nothing_in_progress_is_acknowledged_as_far_as_read() -> None:
    """Also past numbers without matching records."""
    window = AckWindow(7)
    assert (window.acknowledged_to, len(window)) == (7, 0)
    window.read_to = 12
    assert window.acknowledged_to == 12


def test_ack_window_event_of_two_records_ends_with_the_second() -> None:
    window = AckWindow(0)
    window.begin(3)
    window.begin(3)
    window.read_to = 5
    window.end(3, "x")
    assert window.acknowledged_to == 2
    window.end(3, "x")
    assert window.acknowledged_to == 5


def test_ack_window_what_was_done_before_the_start_stays_so_until_it_is_passed() -> None:
    """Also where nothing was read yet: the first commit of a worker comes before."""
    window = AckWindow(7, {"a-9": 9, "b-11": 11})
    assert window.done_ahead() == ("a-9", "b-11")
    window.begin(8)
    window.pass_over(9, "a-9")
    window.read_to = 9
    assert (window.acknowledged_to, window.done_ahead()) == (7, ("a-9", "b-11"))
    window.end(8, "c-8")
    assert (window.acknowledged_to, window.done_ahead()) == (9, ("b-11",))


@given(st.sets(st.integers(1, 40)), st.randoms())
def test_ack_window_never_passes_a_number_in_progress(seqs: set[int], randomness: Random) -> None:
    """In whichever order they end."""
    window = AckWindow(0)
    for seq in sorted(seqs):
        window.begin(seq)
    window.read_to = 40
    left = sorted(seqs)
    while left:
        assert window.acknowledged_to == left[0] - 1
        seq = randomness.choice(left)
        left.remove(seq)
        window.end(seq, str(seq))
        done = {number for number in seqs - set(left) if number > window.acknowledged_to}
        assert set(map(int, window.done_ahead())) == done
    assert window.acknowledged_to == 40
