"""Erasure of a number from the details of calls: by content, without the number, and again without effect."""

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onhook.cdr.call_details import CallDetails
from onhook.cdr.erasure import (
    CallErasure,
    NumberPattern,
    erase_details,
    has_erased_party,
    next_label,
    reduce_kept,
)
from onhook.cdr.number_plan import NumberPlan
from onhook.cdr.phone_numbers import number_variants
from tests.counts import examples

NUMBER = "+49 30 901820"
PATTERN = NumberPattern(number_variants(NUMBER, [NumberPlan()], ["DE"]), is_internal=False)
EXTENSION = NumberPattern(["1001"], is_internal=True)


def leg(**changes: Any) -> CallDetails:
    members: dict[str, Any] = {
        "call_id": "1700000000.12",
        "time_start": "2026-04-27 19:04:36",
        "call_from": "Alice Smith<030901820>",
        "call_to": "Bob<1001>",
        "status": "ANSWERED",
        "type": "Inbound",
        "src_trunk_name": "SIP 4930",
        "uid": "20260427190436-1",
    }
    return CallDetails(**members | changes)


def erasure_of(*legs: CallDetails, pattern: NumberPattern = PATTERN) -> CallErasure:
    return CallErasure(label=next_label(legs), digits_min=pattern.digits_min, kept_texts=pattern.find_kept(legs))


@pytest.mark.parametrize(
    "text",
    [
        *("+4930901820", "004930901820", "4930901820", "030901820", "030 / 90 18-20", "+49 (0)30 901820"),
        *("9030901820", "20260427-030901820-1001.wav", "SIP/030901820-00000001", "Alice<+49.30.901820>"),
    ],
)
def test_number_pattern_any_notation_is_found(text: str) -> None:
    assert PATTERN.occurs_in(text)


@pytest.mark.parametrize("text", ["030901821", "0309018201", "901820", "30 9018", "", "Alice"])
def test_number_pattern_other_number_is_not_found(text: str) -> None:
    assert not PATTERN.occurs_in(text)


def test_number_pattern_extension_is_found_as_a_party_alone() -> None:
    assert EXTENSION.is_in_call(leg())
    assert not EXTENSION.is_in_call(leg(call_to="Desk 1001<2000>", extra={"channel": "SIP/1001-1"}))
    assert not EXTENSION.is_in_call(leg(call_to="11001"))
    assert EXTENSION.occurs_in("SIP/1001-1")


def test_number_pattern_text_of_other_leg_has_number_is_found() -> None:
    assert PATTERN.is_in_call(leg(call_from="anonymous", extra={"call_note": "call 030/901820 back"}))
    assert PATTERN.is_in_call(leg(call_from="anonymous", recording="030901820-1001.wav"))
    assert not PATTERN.is_in_call(leg(call_from="anonymous"))


def test_erase_details_members_without_text_stay() -> None:
    details = leg(extra={"is_new": True, "count": 3, "nothing": None})
    assert erase_details(details, erasure_of(details)).extra == {"is_new": True, "count": 3}


def test_erase_details_offset_of_the_clock_stays() -> None:
    """An extension may have the same digits, and without the offset the call would move in time."""
    details = leg(extra={"utc_offset_seconds": 3600})
    erasure = CallErasure(digits_min=4, kept_texts=frozenset())
    assert erase_details(details, erasure).extra == {"utc_offset_seconds": 3600}


def test_erase_details_number_name_and_texts_leave_the_leg() -> None:
    extra = {
        "channel": "SIP/4930901820-00000001",
        "dst_channel": "SIP/1001-00000002",
        "call_note": "Alice Smith called",
        "raw": {"clid": '"Alice" <030901820>', "billsec": 30, "tags": ["030 901820", "new"]},
        "callee_kind": "extension",
    }
    details = leg(recording="030901820-1001.wav", did_number="0309018-0", did_name="Sales", extra=extra)
    erased = erase_details(details, erasure_of(details))
    assert (erased.call_from, erased.call_to, erased.did_number) == ("erased", "Bob<1001>", "0309018-0")
    assert (erased.recording, erased.did_name, erased.src_trunk_name) == ("", "Sales", "SIP 4930")
    assert (erased.uid, erased.status, erased.type) == (details.uid, "ANSWERED", "Inbound")
    assert erased.extra == {
        "dst_channel": "SIP/1001-00000002",
        "raw": {"billsec": 30, "tags": ["new"]},
        "callee_kind": "extension",
    }


def test_erase_details_name_alone_in_other_leg_is_erased() -> None:
    legs = leg(), leg(call_from="Alice Smith", call_to="Queue<6400>")
    assert [erase_details(each, erasure_of(*legs)).call_from for each in legs] == ["erased", "erased"]


def test_erase_details_later_event_loses_numbers_that_are_not_known() -> None:
    """As a row of the PBX's list with another notation, and a further leg."""
    erasure = erasure_of(leg())
    row = leg(call_from="+4930901820", call_to="1001", extra={"call_note": "is Alice"}, recording="a.wav")
    assert erase_details(row, erasure) == leg(call_from="erased", call_to="1001")
    assert erase_details(leg(call_from="1001", call_to="Carol<1003>"), erasure).call_to == "1003"
    assert erase_details(leg(call_to="+4940111222"), erasure).call_to == "erased"


def test_erase_details_name_that_has_the_extension_loses_the_name_alone() -> None:
    legs = leg(), leg(call_to="Desk 1001<2000>")
    erasure = erasure_of(*legs, pattern=EXTENSION)
    assert [erase_details(each, erasure).call_to for each in legs] == ["erased", "2000"]
    assert erase_details(legs[0], erasure).call_from == "Alice Smith<030901820>"


def test_next_label_second_number_of_a_call_has_another_label() -> None:
    first = leg(call_to="030901820")
    once = erase_details(first, erasure_of(first))
    other = NumberPattern(["0401234567"], is_internal=False)
    mobile = leg(call_to="0401234567")
    erasure = CallErasure(
        label=next_label([once, mobile]), digits_min=other.digits_min, kept_texts=other.find_kept([once, mobile])
    )
    assert [erase_details(each, erasure).call_to for each in (once, mobile)] == ["erased", "erased a"]


PARTIES = st.sampled_from(
    ["1001", "Bob<1001>", "030901820", "Alice Smith<+4930901820>", "Alice Smith", "0401234567", "erased", "", "Desk 12"]
)
TEXTS = st.one_of(PARTIES, st.sampled_from(["SIP/030901820-1", "SIP/1001-2", "12", "Trunk 0401234567"]))
EXTRAS = st.dictionaries(st.sampled_from(["channel", "note", "030901820"]), st.one_of(TEXTS, st.integers(0, 10**10)))
LEGS = st.builds(
    leg, call_from=PARTIES, call_to=PARTIES, did_number=PARTIES, did_name=TEXTS, src_trunk_name=TEXTS, extra=EXTRAS
)


@settings(max_examples=examples(200))
@given(st.lists(LEGS, min_size=1, max_size=3), LEGS)
def test_erase_details_again_changes_nothing_and_no_number_is_left(legs: list[CallDetails], later: CallDetails) -> None:
    erasure = erasure_of(*legs)
    for details in (*legs, later):
        erased = erase_details(details, erasure)
        assert erase_details(erased, erasure) == erased
        assert not PATTERN.is_in_call(erased)


@settings(max_examples=examples(200))
@given(st.lists(LEGS, min_size=1, max_size=3), LEGS, st.permutations([PATTERN, EXTENSION]))
def test_reduce_kept_both_erasures_together_do_the_same(
    legs: list[CallDetails], later: CallDetails, patterns: list[NumberPattern]
) -> None:
    first = erasure_of(*legs, pattern=patterns[0])
    once = [erase_details(details, first) for details in legs]
    second = erasure_of(*once, pattern=patterns[1])
    reduced = reduce_kept(first, second)
    for details, earlier in itertools.product((*legs, later), (first, reduced)):
        expected = erase_details(erase_details(details, second), first)
        assert erase_details(erase_details(details, second), earlier) == expected
    assert not any(patterns[1].occurs_in(text) for text in reduced.kept_texts)


def test_number_pattern_bytes_may_have_the_number_in_any_notation() -> None:
    bodies = (b'{"call_from": "+49 30/90 18-20"}', b'{"call_from": "030901821"}')
    assert [PATTERN.may_occur_in(body) for body in bodies] == [True, False]


def test_has_erased_party_is_true_of_an_erased_leg_alone() -> None:
    whole = leg()
    assert [has_erased_party(details) for details in (whole, erase_details(whole, erasure_of(whole)))] == [False, True]
