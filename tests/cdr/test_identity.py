"""Identity of records."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onhook.cdr.call_details import CallDetails, fold_word
from onhook.cdr.csv_injection import escape_formula, unescape_formula
from onhook.cdr.identity import RecordKey, extract_name, extract_number, record_id, record_key


@pytest.mark.parametrize(
    ("party", "name", "number"),
    [
        ("1002", "", "1002"),
        ("Bob<1002>", "Bob", "1002"),
        ('Bob "B" \\ <1002> ', 'Bob "B" \\', "1002"),
        ("a<b><1002>", "a<b>", "1002"),
        ("5550100<5550100>", "5550100", "5550100"),
        ("Satisfaction Survey", "", "Satisfaction Survey"),
        ("1002>", "", "1002>"),
        ("+49 30 1", "", "+49 30 1"),
        ("<1002>", "", "1002"),
        ("B<1002>", "B", "1002"),
        ("Bob<1002", "", "Bob<1002"),
    ],
)
def test_extract_number_and_name_of_party(party: str, name: str, number: str) -> None:
    """The last `<…>` at the end is the number; the text before it is the name (yeastar-p-series.md 2.6)."""
    assert (extract_name(party), extract_number(party)) == (name, number)


def test_record_key_ignores_name_of_party() -> None:
    """The event says `1002`, the PBX's list `Bob<1002>`: one record."""
    bare = CallDetails(call_id="1.1", time_start="2026-01-01 00:00:00", call_from="1001", call_to="1002")
    named = CallDetails(call_id="1.1", time_start="2026-01-01 00:00:00", call_from="Alice<1001>", call_to="Bob<1002>")
    assert record_key("SN", bare) == record_key("SN", named)
    assert record_id(record_key("SN", bare)) != record_id(record_key("OTHER", bare))


@pytest.mark.parametrize("extra", [{"callee_kind": "conference"}, {"identified_by": "channel"}])
def test_record_key_contains_the_channel_of_a_leg_with_a_start_and_number_of_several(extra: dict[str, str]) -> None:
    """In a conference always, else where the PBX's dialect says so."""

    def key(**members: str) -> RecordKey:
        start = "2026-01-01 00:00:00"
        leg = CallDetails(call_id="1.1", time_start=start, call_from="1001", call_to="Team<6500>", extra=members)
        return record_key("SN", leg)

    first, second = (key(**extra, channel=name) for name in ("PJSIP/1001-00000001", "PJSIP/1002-00000002"))
    assert first == ("SN", "1.1", "2026-01-01 00:00:00", "6500\x1ePJSIP/1001-00000001")
    assert first != second
    assert key(channel="PJSIP/1001-00000001") == key(**extra) == ("SN", "1.1", "2026-01-01 00:00:00", "6500")


def test_record_id_is_md5_of_key_joined_by_unit_separators() -> None:
    """Receivers and databases compute the same id: `printf 'SN\\x1f1.1\\x1f2026-01-01 00:00:00\\x1f1002' | md5sum`."""
    assert record_id(("SN", "1.1", "2026-01-01 00:00:00", "1002")) == "9b96f87e94d922e53c3ae5fe671d00b1"


@given(st.text(alphabet="=+-@'\t\r1a: ", max_size=8))
def test_escape_formula_is_safe_and_reversible(text: str) -> None:
    cell = escape_formula(text)
    assert unescape_formula(cell) == text
    assert not cell.startswith(("=", "@", "\t", "\r"))
    assert not cell.startswith(("+", "-")) or cell[1:].replace(":", "").isdigit()


def test_fold_word_ignores_case_spaces_and_underscores() -> None:
    assert len({fold_word(text) for text in ("NO ANSWER", "no_answer", "NoAnswer", "NO  ANSWER ")}) == 1


@pytest.mark.parametrize(
    ("party", "number"),
    [
        ('"Bob" <sip:1002@pbx.example;user=phone>', "1002"),
        ("sips:1002@pbx.example", "1002"),
        ("tel:+15550100", "+15550100"),
        ("sip:", "sip:"),
        ("Team: Sales", "Team: Sales"),
        ("1002>", "1002>"),
    ],
)
def test_extract_number_of_an_address_is_its_user(party: str, number: str) -> None:
    assert extract_number(party) == number


def test_record_key_of_named_leg_has_its_channel() -> None:
    """Two telephones of one extension ring in the same second: two records (as a FreeSWITCH's legs, by uuid)."""
    first, second, unmarked = (
        CallDetails(
            call_id="c",
            time_start="2026-01-01 00:00:00",
            call_from="1001",
            call_to="1002",
            extra={"channel": "a", "dst_channel": channel} | mark,
        )
        for channel, mark in (
            ("b", {"identified_by": "dst_channel"}),
            ("c", {"identified_by": "dst_channel"}),
            ("b", {"identified_by": "other"}),
        )
    )
    assert record_key("SN", first)[3] == "1002\x1eb"
    assert record_key("SN", first) != record_key("SN", second)
    assert record_key("SN", unmarked)[3] == "1002"
