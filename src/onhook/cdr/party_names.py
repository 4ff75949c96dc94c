"""Records with the names of their parties, for what is made of them for people: templates and files. Pure."""

from onhook.cdr.directory import NameDirectory
from onhook.cdr.record import NamedRecord, Record


def name_record(record: Record, directory: NameDirectory) -> NamedRecord:
    """Return a record with names."""
    call_from_name, call_to_name = find_names(record, directory)
    members = {field: getattr(record, field) for field in Record.__struct_fields__}
    return NamedRecord(**members, call_from_name=call_from_name, call_to_name=call_to_name)


def find_names(record: Record, directory: NameDirectory) -> tuple[str, str]:
    """Return the names of caller and called party; empty where none is known."""
    return (
        directory.find_shown_name(record.sn, record.call_from, is_outside=bool(record.src_trunk_name)),
        directory.find_shown_name(record.sn, record.call_to, is_outside=bool(record.dst_trunk_name)),
    )
