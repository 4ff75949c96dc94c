"""Injected faults."""

from collections import Counter
from itertools import islice, pairwise
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onhook.appdb.api_behaviour import ApiBehaviour
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
from tests.counts import examples

SN = "3631A2124XXX"
LEGS = list(islice((leg for call in Office(1, ZoneInfo("UTC"), OfficePlan()).calls() for leg in call), 400))
shares = st.floats(0, 1)


def inject_all(faults: Faults, seed: int = 1) -> list[SimulatedEvent]:
    injector = EventFaultInjector(faults, seed)
    return [sending for leg in LEGS for sending in injector.inject(leg)] + injector.drain()


@given(st.builds(Faults, late=shares, duplicated=shares, lost=shares, malformed=shares, reordered=st.integers(0, 50)))
@settings(max_examples=examples(50))
def test_event_faults_every_event_is_returned_once_and_maybe_its_repeat(faults: Faults) -> None:
    """Lost ones too, which are marked."""
    events = inject_all(faults)
    assert Counter(str(event.details) for event in events if event.is_first) == Counter(map(str, LEGS))
    repeats = [str(event.details) for event in events if not event.is_first]
    assert len(set(repeats)) == len(repeats)
    assert not any("lost" in event.faults and not event.is_first for event in events)


def test_event_faults_same_seed_gives_same_faults() -> None:
    """And another seed others."""
    faults = Faults(late=0.2, duplicated=0.2, lost=0.2, malformed=0.1, reordered=5)
    assert inject_all(faults) == inject_all(faults)
    assert inject_all(faults) != inject_all(faults, seed=2)


def test_event_faults_default_changes_nothing() -> None:
    """And holds nothing back."""
    assert [fault.details for fault in inject_all(Faults())] == LEGS


@pytest.mark.parametrize("name", ["late", "duplicated", "lost", "malformed"])
def test_event_faults_share_is_about_that_share(name: str) -> None:
    """A third means about a third, and 1 means all."""
    marked = [fault for fault in inject_all(Faults(**{name: 1 / 3})) if name in fault.faults]  # type: ignore[arg-type]
    assert 90 < len(marked) < 180
    assert len([fault for fault in inject_all(Faults(**{name: 1})) if name in fault.faults]) == len(LEGS)


def list_displacements(events: list[SimulatedEvent]) -> list[int]:
    positions = {id(leg): n for n, leg in enumerate(LEGS)}
    return [n - positions[id(event.details)] for n, event in enumerate(events)]


def test_event_faults_reordered_moves_at_most_so_many_places() -> None:
    """With reordered=5 no event moves by more than five places, either way, and most do move."""
    places = list_displacements(inject_all(Faults(reordered=5)))
    assert {-3, -2, -1, 0, 1, 2, 3} <= set(places) <= set(range(-5, 6))


def test_event_faults_late_event_comes_after_many_later_ones() -> None:
    """Twenty places and more, as long as there are later events."""
    events = inject_all(Faults(late=0.01))
    late = [places for places, event in zip(list_displacements(events), events, strict=True) if "late" in event.faults]
    assert late
    assert all(places >= 19 for places in late[:-1])


@pytest.mark.parametrize("profile", sorted(PAYLOAD_FORMATS))
def test_event_faults_malformed_event_names_its_pbx_and_no_call(profile: str) -> None:
    """However it is corrupted, the receiver identifies the sender and the event type, and cannot parse a call."""
    bodies = [corrupt_body(Yeastar().format(leg, SN, profile), Random(n)) for n, leg in enumerate(LEGS)]
    for body in bodies:
        glance = Yeastar().peek(body)
        assert (glance.sn, glance.kind in ("details", "unparsable")) == (SN, True)
        with pytest.raises(ParseError):
            Yeastar().parse(body)
    assert len(set(bodies)) == len(bodies)


def test_parse_faults_accepts_any_order_and_blanks() -> None:
    """An empty text is no fault."""
    assert parse_faults(" late=0.1, reordered=5 ,wrong_clock=-90") == Faults(late=0.1, reordered=5, wrong_clock=-90)
    assert parse_faults("") == Faults()


@pytest.mark.parametrize(
    ("text", "expected_text"),
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
def test_parse_faults_invalid_fault_is_one_sentence(text: str, expected_text: str) -> None:
    """An unknown name, a missing value or an impossible one: what is wrong and what to write instead."""
    with pytest.raises(UsageError) as caught:
        parse_faults(text)
    assert str(caught.value) == expected_text


def test_event_faults_details_are_unchanged() -> None:
    """Events are only moved, repeated and dropped."""
    legs_by_id: dict[int, CallDetails] = {id(leg): leg for leg in LEGS}
    assert all(id(fault.details) in legs_by_id for fault in inject_all(Faults(late=0.3, duplicated=0.3, reordered=9)))


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


def test_api_faults_same_seed_gives_same_faults() -> None:
    """And another seed others."""

    def expected(seed: int) -> list[object]:
        face = ApiFaultInjector(ALL_OF_THE_FACE, seed)
        return [
            (face.response_fault(), face.rejects_login(), face.silent_after(), face.token_seconds()) for _ in range(50)
        ]

    assert expected(1) == expected(1)
    assert expected(1) != expected(2)


def test_api_faults_default_is_none() -> None:
    face = ApiFaultInjector(Faults(), 1)
    for _ in range(20):
        assert (face.response_fault(), face.rejects_login(), face.silent_after(), face.token_seconds()) == (
            *(ApiFault(), False),
            *(None, None),
        )


def test_api_faults_display_format_changes_after_so_many_responses() -> None:
    """Each time to another order of day and month, and round again."""
    face = ApiFaultInjector(Faults(changing_display=2), 1)
    formats = [face.response_fault().display for _ in range(2 * len(DISPLAY_FORMATS) + 1)]
    assert formats == [display for display in DISPLAY_FORMATS for _ in range(2)] + [DISPLAY_FORMATS[0]]
    assert all(current[0] != other[0] for current, other in pairwise([*DISPLAY_FORMATS, DISPLAY_FORMATS[0]]))


@pytest.mark.parametrize(
    ("fault", "time_forms", "expected"),
    [
        (ApiFault(), ("seconds", "display"), ("seconds", "display")),
        (ApiFault(refused_forms=frozenset({"seconds"})), ("seconds", "display"), ("display",)),
        (ApiFault(refused_forms=frozenset({"seconds"})), ("display", "no-rows-for-seconds"), ("display",)),
        (ApiFault(refused_forms=frozenset({"seconds", "display"})), ("seconds", "display"), ()),
        (ApiFault(matches_nothing=True), ("seconds", "display"), ("no-rows-for-seconds", "display")),
        (ApiFault(matches_nothing=True), ("display",), ("display",)),
        (ApiFault(matches_nothing=True, refused_forms=frozenset({"seconds"})), ("seconds", "display"), ("display",)),
    ],
)
def test_api_fault_changes_the_accepted_forms_of_time(fault: ApiFault, time_forms: Any, expected: Any) -> None:
    """And nothing else of the behaviour."""
    behaviour = ApiBehaviour(time_forms=time_forms, firmware="37.1", versions=("v1.0",))
    assert fault.apply_to(behaviour) == msgspec.structs.replace(behaviour, time_forms=expected)


def test_api_fault_changes_the_display_format() -> None:
    changed = ApiFault(display=("DD/MM/YYYY", "12")).apply_to(ApiBehaviour())
    assert changed == ApiBehaviour(date_format="DD/MM/YYYY", time_format="12")
