"""Figures of queues against the formulas of the trade."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from onhook.cdr.queue_figures import AgentFigures, QueueTargets, WaitCount, compute_figures, total_worked_seconds
from onhook.cdr.queue_visits import VisitOutcome
from tests.cdr import plain_queues
from tests.factories import PBX, SN

TARGETS = QueueTargets()
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "outcome": st.sampled_from(("answered", "abandoned", "overflowed", "forwarded")),
            "wait": st.none() | st.integers(0, 30),
            "talk": st.none() | st.integers(0, 3),
        }
    )
)


@given(rows=ROWS, in_time=st.integers(0, 30), short=st.integers(0, 10))
def test_figures_equal_the_formulas(rows: list[dict[str, Any]], in_time: int, short: int) -> None:
    """However visits are counted together, the figures are the same."""
    targets = QueueTargets(service_level_seconds=in_time, short_abandon_seconds=short)
    groups = Counter((row["outcome"], row["wait"], row["talk"]) for row in rows)
    counts = [
        WaitCount(
            outcome=outcome, wait_duration=wait, calls=calls, talk_duration=None if talk is None else talk * calls
        )
        for (outcome, wait, talk), calls in groups.items()
    ]
    figures = compute_figures((count, targets) for count in counts)
    expected = plain_queues.figures(rows, in_time, short)
    assert {name: getattr(figures, name) for name in expected} == expected
    assert figures.offered == figures.answered + figures.abandoned + figures.overflowed + figures.forwarded


def test_figures_of_ten_calls_are_those_computed_by_hand() -> None:
    """Six of eight are answered in time; one short abandon is left out of the rates."""
    waits: dict[VisitOutcome, Sequence[int]] = {"answered": (3, 9, 20, 20, 15, 1, 40), "abandoned": (4, 5)}
    counts = [
        WaitCount(outcome=outcome, wait_duration=wait, calls=1, talk_duration=10 if outcome == "answered" else 0)
        for outcome, seconds in waits.items()
        for wait in seconds
    ]
    figures = compute_figures((count, TARGETS) for count in counts)
    assert (figures.offered, figures.short_abandoned, figures.service_level, figures.abandon_rate) == (
        9,
        1,
        6 / 8,
        1 / 8,
    )
    assert (figures.wait_average, figures.wait_p90, figures.wait_longest, figures.talk_duration) == (15, 40, 40, 70)


def agent(name: str, queue: str, *, worked: int, all_worked: int) -> AgentFigures:
    return AgentFigures(
        sn=SN,
        pbx=PBX,
        queue=queue,
        kind="queue",
        agent=name,
        is_outside=False,
        answered=2,
        missed_rings=1,
        talk_duration=300,
        worked_seconds=worked,
        all_worked_seconds=all_worked,
    )


def test_worked_seconds_of_agents_in_two_queues_count_once() -> None:
    rows = [
        agent("1001", "6400", worked=600, all_worked=1_200),
        agent("1001", "6401", worked=900, all_worked=1_200),
        agent("1002", "6400", worked=0, all_worked=0),
    ]
    assert total_worked_seconds(rows) == 1_200
    assert [row.talk_per_hour for row in rows] == [1_800, 1_200, None]
