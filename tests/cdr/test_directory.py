"""Names of numbers: what beats what, and notations of numbers outside."""

from typing import Any

import pytest

from onhook.cdr.directory import DirectoryEntry, LearntName, NameDirectory, PbxName, check_entry
from onhook.lib.errors import UsageError
from tests.factories import SN, call, record

OTHER_SN = "3631A2124YYY"
EXTENSION = DirectoryEntry(sn=SN, number="1001", name="Alice Smith", department="Sales", site="Berlin")
CONTACT = DirectoryEntry(number="+49 30 901820", kind="contact", name="Carol", company="City of Berlin")


def learnt(number: str, name: str, sn: str = SN) -> LearntName:
    return LearntName(sn=sn, number=number, name=name)


def test_name_that_was_set_beats_the_learnt_one() -> None:
    directory = NameDirectory([EXTENSION], [learnt("1001", "A. Smith"), learnt("1002", "Bob")])
    assert [directory.find_name(SN, number) for number in ("1001", "1002", "1003")] == ["Alice Smith", "Bob", ""]


@pytest.mark.parametrize(
    "number", ["+4930901820", "004930901820", "030901820", "030 / 90 18 20", "0030901820", "30901820"]
)
def test_contact_is_found_by_each_notation(number: str) -> None:
    assert NameDirectory([CONTACT]).find_contact(number) == "Carol, City of Berlin"


@pytest.mark.parametrize("number", ["901820", "+4940901820", "1001", "", "+4930901***", "Anonymous"])
def test_contact_is_not_found_by_another_number(number: str) -> None:
    assert NameDirectory([CONTACT]).find_contact(number) == ""


def test_contact_with_equal_digits_comes_first() -> None:
    numbers = {"30901820": "national", "+4930901820": "Berlin", "+130901820": "America", "112": "emergency"}
    contacts = [DirectoryEntry(number=number, kind="contact", name=name) for number, name in numbers.items()]
    directory = NameDirectory(contacts)
    assert [directory.find_contact(number) for number in numbers] == list(numbers.values())
    assert directory.find_contact("0112") == ""


def test_contact_with_its_company_as_name_has_it_once() -> None:
    assert DirectoryEntry(number="1234", kind="contact", name="ACME", company="ACME").shown_name == "ACME"


def test_find_name_in_is_empty_where_pbxs_have_different_names() -> None:
    directory = NameDirectory(
        [EXTENSION, CONTACT],
        [learnt("1001", "Other", OTHER_SN), learnt("1002", "Bob"), learnt("1002", "Bob", OTHER_SN)],
    )
    assert [directory.find_name_in(None, number) for number in ("1001", "1002")] == ["", "Bob"]
    assert directory.find_name_in([OTHER_SN], "1001") == "Other"
    assert directory.find_name_in([SN], "030901820") == "Carol, City of Berlin"
    assert directory.find_name_in([], "1002") == ""


def test_name_party_keeps_the_name_that_the_pbx_sent() -> None:
    directory = NameDirectory([EXTENSION, CONTACT])
    parties = ("1001", "A<1001>", "1001<1001>", "1009", "", "+4930901820")
    assert [directory.name_party(SN, party, is_outside=False) for party in parties] == [
        *("Alice Smith<1001>", "A<1001>", "Alice Smith<1001>", "1009", "", "Carol, City of Berlin<+4930901820>"),
    ]
    assert directory.name_party(SN, "1001", is_outside=True) == "1001"
    assert directory.name_party(OTHER_SN, "1001", is_outside=False) == "1001"


def test_find_name_prefers_what_was_set_then_the_pbx_then_events() -> None:
    learnt_names = [learnt(number, "Learnt") for number in ("1001", "1002", "1003")]
    pbx_names = [PbxName(sn=SN, number=number, kind="extension", name="Listed") for number in ("1001", "1002")]
    directory = NameDirectory([EXTENSION], learnt_names, pbx_names)
    assert [directory.find_name(SN, number) for number in ("1001", "1002", "1003")] == [
        "Alice Smith",
        "Listed",
        "Learnt",
    ]


def test_name_call_names_parties_and_leaves_legs_alone() -> None:
    legs = [
        record(call_id="1.1", call_from="030901820", call_to="6400", src_trunk_name="line", talk_duration=0),
        record(call_id="1.1", call_from="030901820", call_to="1001", src_trunk_name="line"),
    ]
    queue = DirectoryEntry(sn=SN, number="6400", kind="queue", name="Support")
    original = call(*legs)
    named = NameDirectory([EXTENSION, CONTACT, queue]).name_call(original)
    assert (named.call_from, named.call_to, named.answered_by) == (
        "Carol, City of Berlin<030901820>",
        "Support<6400>",
        "Alice Smith<1001>",
    )
    assert named.legs == original.legs


def test_name_call_names_its_did_and_no_contact_of_that_number() -> None:
    did = DirectoryEntry(sn=SN, number="+4930555000", kind="did", name="Hotline")
    original = call(record(did_number="+4930555000"))
    assert NameDirectory([did]).name_call(original).did_number == "Hotline<+4930555000>"
    contact = DirectoryEntry(number="+4930555000", kind="contact", name="Carol")
    assert NameDirectory([contact]).name_call(original).did_number == "+4930555000"


def test_name_call_number_outside_is_not_the_extension() -> None:
    named = NameDirectory([EXTENSION]).name_call(
        call(record(call_from="1001", call_to="1001", src_trunk_name="in", dst_trunk_name="out"))
    )
    assert (named.call_from, named.call_to, named.answered_by) == ("1001", "1001", "1001")


def test_name_call_unanswered_has_no_name_of_who_answered() -> None:
    named = NameDirectory([EXTENSION]).name_call(call(record(status="NO ANSWER", talk_duration=0, call_to="")))
    assert (named.call_to, named.answered_by) == ("", "")


def test_check_entry_trims_texts() -> None:
    entry = DirectoryEntry(sn=f" {SN}", number=" 1001 ", name=" Alice\u00a0")
    assert check_entry(entry) == DirectoryEntry(sn=SN, number="1001", name="Alice")
    assert check_entry(CONTACT) == CONTACT


@pytest.mark.parametrize(
    ("changes", "parameter"),
    [
        ({"number": ""}, "number"),
        ({"name": " "}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"number": "1" * 41}, "number"),
        ({"site": "a\nb"}, "site"),
        ({"sn": ""}, "pbx"),
        ({"company": "ACME"}, "company"),
        ({"kind": "contact"}, "kind"),
        ({"kind": "contact", "sn": "", "department": ""}, "kind"),
        ({"kind": "contact", "sn": "", "department": "", "site": "", "number": "12"}, "number"),
    ],
)
def test_check_entry_invalid_is_rejected(changes: dict[str, str], parameter: str) -> None:
    values: dict[str, Any] = {"sn": SN, "number": "1001", "name": "Alice", "department": "Sales", "site": "Berlin"}
    with pytest.raises(UsageError) as error:
        check_entry(DirectoryEntry(**values | changes))
    assert error.value.parameter == parameter
