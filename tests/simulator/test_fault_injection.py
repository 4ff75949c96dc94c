"""What goes wrong on purpose."""

from collections import Counter
from itertools import islice, pairwise
from random import Random
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onhook.cdr.call_details import CallDetails
from onhook.lib.errors import ParseError, UsageError
from onhook.pbx.yeastar.payload import PAYLOAD_FORMATS, Yeastar
from onhook.simulator.fault_injection import (
    DISPLAY_FORMATS,
    ApiFault,
    ApiFaultInjector,
    EventFaultInjector,
    Faults,
    SimulatedEvent,
    corrupt_body,
    parse_faults,
)
from onhook.simulator.office import Office, OfficePlan

SN = "3631A2124XXX"
LEGS = list(islice((leg for call in Office(1, ZoneInfo("UTC"), OfficePlan()).calls() for leg in call), 400))
shares = st.floats(0, 1)


def passed_on(faults: Faults, seed: int = 1) -> list[SimulatedEvent]:
    mischief = EventFaultInjector(faults, seed)
    return [sending for leg in LEGS for sending in mischief.inject(leg)] + mischief.drain()


@given(st.builds(Faults, late=shares, duplicated=shares, lost=shares, malformed=shares, reordered=st.integers(0, 50)))
@settings(max_examples=50)
def test_every_report_comes_out_once_and_perhaps_its_repeat(faults: Faults) -> None:
    """Nothing vanishes unmarked: each report comes out once, lost or not, and at most once more as its repeat."""
    out = passed_on(faults)
    assert Counter(str(one.details) for one in out if one.is_first) == Counter(map(str, LEGS))
    repeats = [str(one.details) for one in out if not one.is_first]
    assert len(set(repeats)) == len(repeats)
    assert not any("lost" in one.faults and not one.is_first for one in out)


def test_the_same_seed_does_the_same_mischief() -> None:
    """A run can be had again to the letter, and another seed does other mischief."""
    faults = Faults(late=0.2, duplicated=0.2, lost=0.2, malformed=0.1, reordered=5)
    assert passed_on(faults) == passed_on(faults)
    assert passed_on(faults) != passed_on(faults, seed=2)


def test_without_faults_reports_come_as_they_were_made() -> None:
    """No fault is the default, and then nothing is held back."""
    assert [fault.details for fault in passed_on(Faults())] == LEGS


@pytest.mark.parametrize("name", ["late", "duplicated", "lost", "malformed"])
def test_a_share_is_about_that_share(name: str) -> None:
    """A third means about a third, and all means all."""
    marked = [fault for fault in passed_on(Faults(**{name: 1 / 3})) if name in fault.faults]  # type: ignore[arg-type]
    assert 90 < len(marked) < 180
    assert len([fault for fault in passed_on(Faults(**{name: 1})) if name in fault.faults]) == len(LEGS)


def moved(out: list[SimulatedEvent]) -> list[int]:
    at = {id(leg): n for n, leg in enumerate(LEGS)}
    return [n - at[id(one.details)] for n, one in enumerate(out)]


def test_reordered_reports_are_overtaken_by_so_many_at_most() -> None:
    """With reordered=5 no report moves by more than five places, either way, and most do move."""
    places = moved(passed_on(Faults(reordered=5)))
    assert {-3, -2, -1, 0, 1, 2, 3} <= set(places) <= set(range(-5, 6))


def test_a_late_report_comes_after_many_later_ones() -> None:
    """Late is twenty places and more, as long as there are later reports."""
    out = passed_on(Faults(late=0.01))
    late = [places for places, one in zip(moved(out), out, strict=True) if "late" in one.faults]
    assert late
    assert all(places >= 19 for places in late[:-1])


@pytest.mark.parametrize("profile", sorted(PAYLOAD_FORMATS))
def test_a_malformed_report_says_whose_it_is_and_no_call(profile: str) -> None:
    """However it is spoilt, the receiver knows the sender, takes it for a call's report, and can read none from it."""
    bodies = [corrupt_body(Yeastar().format(leg, SN, profile), Random(n)) for n, leg in enumerate(LEGS)]
    for body in bodies:
        glance = Yeastar().peek(body)
        assert (glance.sn, glance.kind in ("details", "unparsable")) == (SN, True)
        with pytest.raises(ParseError):
            Yeastar().parse(body)
    assert len(set(bodies)) == len(bodies)


def test_faults_are_read_as_people_write_them() -> None:
    """Names and values in any order, blanks around them; nothing at all is no fault."""
    assert parse_faults(" late=0.1, reordered=5 ,wrong_clock=-90") == Faults(late=0.1, reordered=5, wrong_clock=-90)
    assert parse_faults("") == Faults()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("lat=0.1", f"there is no fault 'lat': use some of {', '.join(Faults.__struct_fields__)}"),
        ("late", "the fault late has no value '': write late= and a share from 0 to 1"),
        ("reordered=0.5", "the fault reordered has no value '0.5': write reordered= and a whole number"),
        ("late=2", "late cannot be 2.0: write a share from 0 to 1"),
        ("lost=nan", "lost cannot be nan: write a share from 0 to 1"),
        ("reordered=-1", "reordered cannot be -1: write 0 to 10,000"),
        ("silent_socket=1.5", "silent_socket cannot be 1.5: write a share from 0 to 1"),
        ("slow_response=601", "slow_response cannot be 601: write 0 to 600"),
        ("expired_token=-1", "expired_token cannot be -1: write 0 to 1,800"),
        (
            "changing_display=x",
            "the fault changing_display has no value 'x': write changing_display= and a whole number",
        ),
        ("wrong_clock=99999999", "wrong_clock cannot be 99999999: write seconds, at most a year"),
    ],
)
def test_a_fault_that_cannot_be_is_told_in_one_sentence(text: str, says: str) -> None:
    """An unknown name, a missing value or an impossible one: what is wrong and what to write instead."""
    with pytest.raises(UsageError) as caught:
        parse_faults(text)
    assert str(caught.value) == says


def test_details_are_passed_on_as_they_are() -> None:
    """Mischief never alters what a report says; it only moves, repeats and drops."""
    known: dict[int, CallDetails] = {id(leg): leg for leg in LEGS}
    assert all(id(fault.details) in known for fault in passed_on(Faults(late=0.3, duplicated=0.3, reordered=9)))


ALL_OF_THE_FACE = Faults(
    silent_socket=0.5,
    failing_login=0.5,
    garbage_response=0.5,
    refused_seconds=0.5,
    refused_display=0.5,
    zero_rows=0.5,
    slow_response=3,
    expired_token=60,
    changing_display=4,
)


def test_the_face_of_one_seed_is_the_same() -> None:
    """The same questions in the same order get the same answers; another seed others."""

    def told(seed: int) -> list[object]:
        face = ApiFaultInjector(ALL_OF_THE_FACE, seed)
        return [
            (face.response_fault(), face.rejects_login(), face.silent_after(), face.token_seconds()) for _ in range(50)
        ]

    assert told(1) == told(1)
    assert told(1) != told(2)


def test_the_face_without_faults_is_never_spoilt() -> None:
    """As the store's own."""
    face = ApiFaultInjector(Faults(), 1)
    for _ in range(20):
        assert (face.response_fault(), face.rejects_login(), face.silent_after(), face.token_seconds()) == (
            *(ApiFault(), False),
            *(None, None),
        )


def test_a_display_format_changes_after_so_many_answers() -> None:
    """Each time into one with another order of day and month, and round again."""
    face = ApiFaultInjector(Faults(changing_display=2), 1)
    shown = [face.response_fault().display for _ in range(2 * len(DISPLAY_FORMATS) + 1)]
    assert shown == [display for display in DISPLAY_FORMATS for _ in range(2)] + [DISPLAY_FORMATS[0]]
    assert all(one[0] != other[0] for one, other in pairwise([*DISPLAY_FORMATS, DISPLAY_FORMATS[0]]))
