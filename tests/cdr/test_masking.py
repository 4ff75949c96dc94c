"""Masking of external parties in records and calls."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onhook.cdr.call_details import DETAIL_FIELDS
from onhook.cdr.number_masking import (
    HIDDEN,
    MASKS,
    Mask,
    canonical_digits,
    has_number,
    is_masked,
    mask_known,
    mask_number,
    mask_unknown,
    parse_mask,
)
from onhook.cdr.number_plan import NumberPlan
from onhook.cdr.record_masking import Masking, external_sides, is_external_number
from onhook.lib.errors import UsageError
from tests.factories import call as make_call
from tests.factories import record as make_record

KEY = b"k" * 32
ACTIVE_MASKS: tuple[Mask, ...] = ("last3", "hash")


def masking(mask: Mask = "last3", key: bytes = KEY) -> Masking:
    return Masking(mask, key)


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("+49 30 1234567", "+49 30 1234***"),
        ("+49301234567", "+49301234***"),
        ("(030) 1234-567", "(030) 1234-***"),
        ("030123456,,99", "030123***"),
        ("0301234567;ext=12", "0301234***"),
        ("\u0660\u0663\u0660\u0661\u0662\u0663\u0664\u0665\u0666", "\u0660\u0663\u0660\u0661\u0662\u0663***"),
        ("22833", "***"),
        ("112", "***"),
        ("alice", "***"),
        ("Bob <0301234567", "0301234***"),
        ("anonymous", "anonymous"),
        ("", ""),
    ],
)
def test_mask_number_last3_hides_three_digits(number: str, expected: str) -> None:
    assert mask_number(number, "last3", KEY) == expected
    assert mask_number(expected, "last3", KEY) == expected


@pytest.mark.parametrize(
    ("text", "is_found"),
    [
        ("", False),
        ("no digits", False),
        ("7", False),
        ("at 10:30, ticket 4711", False),
        ("12345", True),
        ("12 34-5", True),
        ("ticket 4711, number 030 1234567", True),
        ("\u0660\u0663\u0660\u0661\u0662", True),
    ],
)
def test_has_number_finds_digits_that_are_joined(text: str, is_found: bool) -> None:
    assert has_number(text) is is_found


def test_mask_number_hash_is_keyed_and_has_no_digits() -> None:
    hashed = mask_number("+49 30 1234567", "hash", KEY)
    assert re.fullmatch("anon-[a-p]{14}", hashed)
    assert {mask_number(other, "hash", KEY) for other in ("+49301234567", "0049 30 1234567", "4930 1234567")} == {
        hashed
    }
    assert mask_number("+49301234567", "hash", b"other") != hashed
    assert mask_number("+49301234568", "hash", KEY) != hashed
    assert mask_number(hashed, "hash", KEY) == hashed
    assert mask_number("anonymous", "hash", KEY) == "anonymous"


def test_parse_mask_unknown_name_is_rejected() -> None:
    assert [parse_mask(mask) for mask in MASKS] == ["none", "last3", "hash"]
    with pytest.raises(UsageError, match="no mask 'all'"):
        parse_mask("all")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("20260427-190436-1001-0301234567.wav", "20260427-190436-1001-0301234***.wav"),
        ("20260427190436-00493012345\u2010 67-1001", "20260427190436-0049301234***-1001"),
        ("Local/01751234567@from-internal-0000000a;1", "Local/01751234***@from-internal-0000000a;1"),
        ("PJSIP/1001-00000012", "PJSIP/1001-00000012"),
        ("1777287876.45", "1777287876.45"),
        ("called 34567 back", "called 34*** back"),
        ("3f2504e0-4f89-11d3-9a0c-0305e82c3301", "3f2504e0-4f89-11d3-9a0c-0305e82c3301"),
        ("DID 49301111111", "DID 49301111111"),
        ("by MAX MUSTER himself", "by *** himself"),
    ],
)
def test_mask_text_finds_numbers_and_names(text: str, expected: str) -> None:
    without_parties = mask_known(text, ["+49 30 1234567"], ["Max Muster"], "last3", KEY)
    masked = mask_unknown(without_parties, "last3", KEY, "+49301111111")
    assert masked == expected
    assert mask_unknown(masked, "last3", KEY, "+49301111111") == masked


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3 apples 4567", "3 apples 4567"),
        ("934567", "934567"),
        ("92 34567", "9{hashed}"),
        ("2 apples, 34567", "2 apples, {hashed}"),
    ],
)
def test_mask_text_parts_of_a_number_stand_together(text: str, expected: str) -> None:
    """The end of a longer number is another one."""
    hashed = mask_number("+49301234567", "hash", KEY)
    assert mask_known(text, ["+49301234567"], [], "hash", KEY) == expected.format(hashed=hashed)


def test_mask_record_caller_without_digits_is_masked_in_texts() -> None:
    record = make_record(
        call_from="erika.muster",
        src_trunk_name="sip",
        recording="erika.muster-1.wav",
        extra={"is_new": True, "n": None},
    )
    masked = masking().mask_record(record)
    assert (masked.call_from, masked.recording, masked.extra) == ("***", "***-1.wav", {"is_new": True, "n": None})


def test_mask_text_hash_replaces_the_whole_number() -> None:
    hashed = mask_number("+49301234567", "hash", KEY)
    assert mask_known("x-+49301234567.wav", ["+49 30 1234567"], [], "hash", KEY) == f"x-{hashed}.wav"
    assert mask_known("0301234567", ["+49301234567"], [], "hash", KEY) == f"0{hashed}"


@pytest.mark.parametrize(
    ("number", "is_external"),
    [("1001", False), ("6400", False), ("+49301234567", True), ("alice", False), ("*43", False), ("22833", False),
     ("*7203012345678", True), ("alice-03012345678", True), ("030 ***", True), ("anon-abcdefghijklmn", True)],
)  # fmt: skip
def test_is_external_number_is_decided_by_the_plan(number: str, is_external: bool) -> None:
    assert is_external_number(number, NumberPlan()) is is_external


def test_mask_record_masks_the_side_with_a_trunk_and_leaves_the_extension() -> None:
    record = make_record(
        call_from="Max Muster<22833>", call_to="Agent<1002>", src_trunk_name="sip", did_number="+49301111111",
        recording="in-22833-1002.wav", extra={"caller_name": "Max Muster", "ani": "22833", "n": [{"22833": 22833}]},
    )  # fmt: skip
    masked = masking().mask_record(record)
    assert (masked.call_from, masked.call_to, masked.did_number) == ("***", "Agent<1002>", "+49301111111")
    assert masked.recording == "in-***-1002.wav"
    assert masked.extra == {"caller_name": "***", "ani": "***", "n": [{"***": 22833}]}
    assert masked.record_id != record.record_id
    assert (masked.call_id, masked.time_start, masked.seq) == (record.call_id, record.time_start, record.seq)


def test_mask_record_own_did_is_not_masked() -> None:
    record = make_record(call_from="+4917212345678", call_to="+4930 111 1111", did_number="+49301111111")
    assert external_sides(record, NumberPlan()) == (True, False)
    assert masking().mask_record(record).call_to == "+4930 111 1111"
    outbound = make_record(call_to="+49301111111", dst_trunk_name="sip", did_number="+49301111111")
    assert masking().mask_record(outbound).call_to == "+49301111***"


def test_mask_call_masks_a_number_in_every_leg_and_keeps_recordings_in_place() -> None:
    first = make_record(call_from="Max<0301234567>", call_to="6400", src_trunk_name="sip", recording="q-0301234567.wav")
    second = make_record(call_from="1001", call_to="Transfer from 0301234567<1002>", recording="t-030-1234-567.wav")
    call = make_call(first, second)
    masked = masking().mask_call(call)
    assert masked.call_from == masked.legs[0].call_from == "0301234***"
    assert masked.legs[1].call_to == "Transfer from 0301234***<1002>"
    assert masked.recordings == ("q-0301234***.wav", "t-030-1234-***.wav")
    assert masking().mask_note("rang 030 1234567 again", call) == "rang 030 1234*** again"


def test_masking_repr_does_not_show_the_key() -> None:
    assert "k" * 8 not in repr(masking())


def texts_of(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, member in value.items():
            yield str(name)
            yield from texts_of(member)
    elif isinstance(value, (list, tuple)):
        for member in value:
            yield from texts_of(member)
    else:
        yield str(value)


SEPARATORS = ["", "", "", " ", "-", ".", "/", ") "]


@st.composite
def numbers_and_spellings(draw: st.DrawFn) -> tuple[str, list[str]]:
    subscriber = draw(st.integers(10**8, 10**9 - 1).map(str).filter(lambda text: len({*text[-6:]}) > 3))
    country = draw(st.sampled_from(["49", "1", "386"]))
    spellings = []
    for prefix in ("+" + country, "00" + country, "0", "", country):
        separated = "".join(digit + draw(st.sampled_from(SEPARATORS)) for digit in subscriber)
        spellings.append((prefix + separated).strip(" -./)"))
    number = draw(st.sampled_from(["+" + country + subscriber, "00" + country + subscriber, "0" + subscriber]))
    return number, spellings


@given(numbers_and_spellings(), st.sampled_from(ACTIVE_MASKS), st.booleans(), st.text(alphabet="abcXYZ_. ", max_size=6))
def test_masked_record_has_no_spelling_of_the_number(
    drawn: tuple[str, list[str]], mask: Mask, is_inbound: bool, word: str
) -> None:
    number, spellings = drawn
    sides: dict[str, Any] = {"call_from": f"Max Muster<{number}>", "call_to": "1001", "src_trunk_name": "sip"}
    if not is_inbound:
        sides = {"call_from": "1001", "call_to": f"Max Muster<{number}>", "dst_trunk_name": "sip"}
    record = make_record(
        **sides,
        recording=f"20260427-{word}{spellings[0]}{word}.wav",
        did_name=spellings[1],
        extra={"channel": f"SIP/{spellings[2]}-0000000a", "call_note": f"{word} {spellings[3]} Max Muster",
               "deep": [{spellings[4]: spellings[0]}], "number": int(canonical_digits(number))},
    )  # fmt: skip
    masked = masking(mask).mask_record(record)
    subscriber = canonical_digits(number)[-9:]
    for name in (*DETAIL_FIELDS, "extra"):
        if name in ("call_id", "time_start", "uid"):
            continue
        for text in texts_of(getattr(masked, name)):
            # What follows the hidden digits is not a part of the number.
            digits = "".join(char for char in text.replace(HIDDEN, "|") if char in "0123456789|")
            assert subscriber not in digits, (name, text)
            assert "Muster" not in text
    assert masking(mask).mask_record(masked) == masked
    assert masking(mask).mask_record(record) == masked


@given(st.text(max_size=30), st.sampled_from(ACTIVE_MASKS))
def test_mask_number_any_text_is_masked_once(text: str, mask: Mask) -> None:
    masked = mask_number(text, mask, KEY)
    assert mask_number(masked, mask, KEY) == masked
    assert masked == text or is_masked(masked)


@given(st.text(max_size=60), st.sampled_from(ACTIVE_MASKS))
def test_mask_text_any_text_is_masked_once(text: str, mask: Mask) -> None:
    masked = mask_unknown(text, mask, KEY)
    assert mask_unknown(masked, mask, KEY) == masked


def test_mask_text_without_its_call_has_no_number() -> None:
    assert masking().mask_text("Front desk 030901820") == "Front desk 030901***"


@pytest.mark.parametrize(
    ("sn", "is_outside", "is_shown"),
    [("wide", False, True), ("wide", True, False), ("narrow", False, False), (None, False, False)],
)
def test_mask_party_without_its_call_is_external_if_one_of_the_pbxs_has_it_so(
    sn: str | None, is_outside: bool, is_shown: bool
) -> None:
    plans = {"wide": NumberPlan(extension_digits_max=9), "narrow": NumberPlan(extension_digits_max=4)}
    reader = Masking("last3", KEY, plans)
    expected = "Desk<20182055>" if is_shown else "20182***"
    assert reader.mask_party("Desk<20182055>", sn, is_outside=is_outside) == expected
