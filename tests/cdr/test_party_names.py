"""Records with the names of their parties."""

import msgspec

from onhook.cdr.directory import NO_NAMES, DirectoryEntry, NameDirectory
from onhook.cdr.party_names import find_names, name_record
from onhook.cdr.record import NAME_COLUMNS, Record
from tests.factories import SN, record

DIRECTORY = NameDirectory(
    [
        DirectoryEntry(sn=SN, number="1001", name="Alice Smith"),
        DirectoryEntry(number="+49 30 901820", kind="contact", name="Carol", company="ACME"),
    ]
)


def test_find_names_prefers_the_name_of_the_pbx() -> None:
    """As the console shows parties."""
    assert find_names(record(call_from="Al<1001>", call_to="1001"), DIRECTORY) == ("Al", "Alice Smith")
    assert find_names(record(call_from="1001<1001>", call_to="1002"), DIRECTORY) == ("Alice Smith", "")
    outside = record(call_from="030901820", call_to="1001", src_trunk_name="in", dst_trunk_name="out")
    assert find_names(outside, DIRECTORY) == ("Carol, ACME", "")
    assert find_names(record(call_from="1001", call_to=""), NO_NAMES) == ("", "")


def test_name_record_adds_names_alone() -> None:
    original = record(call_from="1001")
    named = name_record(original, DIRECTORY)
    assert (named.call_from_name, named.call_to_name) == ("Alice Smith", "Bob")
    assert {field: getattr(named, field) for field in Record.__struct_fields__} == msgspec.structs.asdict(original)
    assert list(msgspec.to_builtins(named))[-2:] == list(NAME_COLUMNS)
